//! The leader of the session on the new terminal: it starts the command, reports its stops and its end, and ends.

use super::backchannel::{SignalTarget, ToLauncher, ToMonitor};
use crate::child::{ChildState, poll_child};
use crate::entry_state::Inherited;
use crate::exit::ChildExit;
use crate::fork;
use crate::program::Image;
use crate::signals::{SignalPipe, send};
use crate::spawn::spawn;
use crate::streams;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, getpid, getppid, setpgid, setsid, tcsetpgrp};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) struct Monitor {
    link: UnixStream,
    inherited: Inherited,
    launcher: Pid,
    command: CommandState,
}

/// What the launcher knows of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandState {
    Running,
    Stopped,
}

impl Monitor {
    /// Call it with every signal blocked.
    pub(super) fn new(link: UnixStream, inherited: Inherited) -> Monitor {
        Monitor { link, inherited, launcher: getppid(), command: CommandState::Running }
    }

    pub(super) fn run(mut self, slave: OwnedFd, image: Image) -> ! {
        // No panic may unwind into the launcher's code, of which this process is a copy.
        let _ = catch_unwind(AssertUnwindSafe(|| self.run_session(slave, image)));
        fork::end(0)
    }

    fn run_session(&mut self, slave: OwnedFd, image: Image) -> io::Result<()> {
        let ready = lead(&slave).and_then(|()| SignalPipe::open([]));
        let Ok((signals, _)) = ready else {
            return ToLauncher::NoTerminal.send(&mut self.link);
        };
        let child = match start(slave, image, self.inherited) {
            Ok(child) => child,
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
                return ToLauncher::Failed(number).send(&mut self.link);
            }
        };
        // The user's terminal must be able to close while the monitor lives; and the last process that closes the new
        // terminal ends the relay, which must not be the monitor.
        let null = fork::null();
        let _ = null.as_ref().map(|null| fork::set_streams(null, null, null));
        let _ = ToLauncher::Began(child.as_raw().cast_unsigned()).send(&mut self.link);
        let _ = null.as_ref().map(streams::give_up_inherited);
        self.watch(child, &signals);
        Ok(())
    }

    fn watch(&mut self, child: Pid, signals: &SignalPipe) {
        let mut running = true;
        loop {
            while signals.next().is_some() {}
            if running && let Some(exit) = self.reap(child) {
                running = false;
                let _ = ToLauncher::Ended(exit).send(&mut self.link);
                self.wake_launcher();
            }
            let mut watched =
                [signals.as_fd(), self.link.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut watched, PollTimeout::NONE);
            if watched[1].any() != Some(true) {
                continue;
            }
            match ToMonitor::receive(&mut self.link) {
                Some(ToMonitor::Deliver(target, signal)) if running => {
                    if signal == libc::SIGCONT {
                        self.command = CommandState::Running;
                    }
                    deliver(child, target, signal);
                }
                Some(ToMonitor::Deliver(..)) => {}
                Some(ToMonitor::HangUp) => {
                    if running {
                        hang_up(child);
                        self.command = CommandState::Running;
                    }
                    let _ = ToLauncher::HungUp.send(&mut self.link);
                }
                Some(ToMonitor::Bye) => return give_up_terminal(),
                // The launcher is gone, and with it the user's terminal. Only the command's parent can wait for it.
                None if running => {
                    hang_up(child);
                    while let Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) = waitpid(child, None) {}
                    return;
                }
                None => return,
            }
        }
    }

    /// The shell drops a stopped job that is killed, so the launcher must wake to report it. The message must
    /// be there first, or the launcher would stop again.
    fn wake_launcher(&self) {
        if self.command == CommandState::Stopped && getppid() == self.launcher {
            let _ = send(self.launcher.as_raw(), libc::SIGCONT);
        }
    }

    /// None while the command lives.
    fn reap(&mut self, child: Pid) -> Option<ChildExit> {
        loop {
            match poll_child(child) {
                ChildState::Ended(exit) => return Some(exit),
                ChildState::Stopped(signal) if self.command == CommandState::Running => {
                    self.command = CommandState::Stopped;
                    let _ = ToLauncher::Stopped(signal).send(&mut self.link);
                }
                // Already reported: a second report would stop the launcher again when it wakes.
                ChildState::Stopped(_) => {}
                ChildState::None => return None,
            }
        }
    }
}

/// Makes this process the leader of a session on this terminal.
fn lead(slave: &OwnedFd) -> io::Result<()> {
    setsid()?;
    #[expect(unsafe_code, reason = "TIOCSCTTY; nix offers no safe form")]
    // SAFETY: it takes a number and accesses no memory of this process.
    let answer = unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Starts the command in a group of its own, in the terminal's foreground.
fn start(slave: OwnedFd, image: Image, inherited: Inherited) -> io::Result<Pid> {
    let prepare = || -> io::Result<()> {
        fork::set_streams(&slave, &slave, &slave)?;
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // Not in the foreground yet: `tcsetpgrp` would stop this process if SIGTTOU was not blocked.
        tcsetpgrp(&slave, getpid())?;
        inherited.restore()
    };
    spawn(|| prepare().map_or_else(|error| error, |()| image.exec()))
}

fn deliver(child: Pid, target: SignalTarget, signal: i32) {
    // The command may have moved to another group.
    if target == SignalTarget::Command || send(-child.as_raw(), signal).is_err() {
        let _ = send(child.as_raw(), signal);
    }
}

/// When a session's leader ends, the kernel hangs up the terminal, and background processes of the command with
/// it. So the session first gives up its terminal. macOS refuses that to the leader (EINVAL): there
/// those processes lose their terminal without a signal.
fn give_up_terminal() {
    // Without waiting: XNU would wait for a carrier when the master is closed.
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let Ok(terminal) = open("/dev/tty", flags, Mode::empty()) else { return };
    if tcsetpgrp(&terminal, getpgrp()).is_ok() {
        #[expect(unsafe_code, reason = "TIOCNOTTY; nix offers no safe form")]
        // SAFETY: it takes no argument and accesses no memory of this process.
        let _ = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY as _) };
    }
}

/// As the kernel does where a terminal closes. A stopped command takes the hang-up only when it continues.
fn hang_up(child: Pid) {
    deliver(child, SignalTarget::ItsGroup, libc::SIGHUP);
    deliver(child, SignalTarget::ItsGroup, libc::SIGCONT);
}
