//! Running a command on our own streams: it has the terminal, the pipes, the group; we wait.

use super::exit::ChildExit;
use super::program::{Program, StartError};
use super::signals::{Arrived, Sender, SignalPipe, stop_as_by};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::time::Duration;

/// Something to look after while the command runs. It must never block: signals wait meanwhile.
pub trait Companion {
    /// Wakes `attend` when readable; None when there is nothing to wait for.
    fn wakes(&self) -> Option<BorrowedFd<'_>>;
    /// The command has started as this process.
    fn began(&mut self, child: u32);
    /// The command has ended; nothing wakes any more.
    fn ended(&mut self);
    /// Called when the descriptor is readable or the time that the last call asked for is over.
    /// Returns the time after which it wants to be called again.
    fn attend(&mut self) -> Option<Duration>;
}

/// Runs the command to its end. An error means that it never ran.
pub fn run(program: &Program, companion: &mut dyn Companion) -> Result<ChildExit, StartError> {
    let failed = |error| StartError { file: program.file.clone(), error };
    let (signals, inherited) = SignalPipe::open().map_err(failed)?;
    let mut command = program.command();
    #[expect(unsafe_code, reason = "std empties the child's signal mask; only pre_exec can restore it")]
    // SAFETY: `restore` makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || inherited.restore());
    }
    let child = command.spawn().map_err(failed)?;
    companion.began(child.id());
    let exit = wait(Pid::from_raw(child.id().cast_signed()), &signals, companion);
    companion.ended();
    Ok(exit)
}

fn wait(child: Pid, signals: &SignalPipe, companion: &mut dyn Companion) -> ChildExit {
    let mut again = companion.attend();
    loop {
        if let Some(exit) = reap(child) {
            return exit;
        }
        let woken = sleep(signals, companion, again);
        while let Some(arrived) = signals.next() {
            pass_on(arrived, child);
        }
        if woken.companion {
            again = companion.attend();
        }
    }
}

struct Woken {
    companion: bool,
}

fn sleep(signals: &SignalPipe, companion: &dyn Companion, again: Option<Duration>) -> Woken {
    let timeout =
        again.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    let wakes = companion.wakes();
    let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    watched.extend(wakes.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let ready = poll(&mut watched, timeout);
    let readable = watched.get(1).is_some_and(|fd| fd.any() == Some(true));
    Woken { companion: readable || ready == Ok(0) }
}

/// None while the child lives. A stopped child stops us too, so that the shell sees a stopped job.
fn reap(child: Pid) -> Option<ChildExit> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Some(ChildExit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Some(ChildExit::Signal(signal as i32)),
            Ok(WaitStatus::Stopped(_, signal)) => {
                stop_as_by(signal);
                // Whoever woke us may have woken only us.
                let _ = kill(child, Signal::SIGCONT);
            }
            Ok(_) => return None,
            Err(nix::errno::Errno::EINTR) => {}
            // Only possible if somebody else waited for our child; there is no status to be had.
            Err(_) => return Some(ChildExit::Code(1)),
        }
    }
}

fn pass_on(arrived: Arrived, child: Pid) {
    if arrived.signal != Signal::SIGCHLD && arrived.from == Sender::Process {
        let _ = kill(child, arrived.signal);
    }
}
