//! Running a command on our own streams: it has the terminal, the pipes, the group; we wait.

use super::companion::{Companion, Guarded};
use super::exit::ChildExit;
use super::program::{Program, StartError};
use super::signals::{Sender, SignalPipe, stop_as_by};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A command that ran.
pub struct Ended {
    pub exit: ChildExit,
    /// From now on, signals ask us to be quick; while this lives they change nothing else.
    pub signals: SignalPipe,
}

/// Runs the command to its end. An error means that it never ran.
pub fn run(program: &Program, companion: &mut dyn Companion) -> Result<Ended, StartError> {
    let failed = |error| StartError { file: program.file.clone(), error };
    let mut companion = Guarded::new(companion);
    let image = program.image().map_err(failed)?;
    let (signals, inherited) = SignalPipe::open().map_err(failed)?;
    let mut command = Command::new(&program.file);
    #[expect(unsafe_code, reason = "std empties the child's signal mask and sorts its environment")]
    // SAFETY: we have no threads, so the child may call anything; it execs, or returns the error.
    unsafe {
        command.pre_exec(move || {
            inherited.restore()?;
            Err(image.exec())
        });
    }
    let child = command.spawn().map_err(failed)?;
    companion.began(child.id());
    let exit = wait(Pid::from_raw(child.id().cast_signed()), &signals, &mut companion);
    companion.ended();
    Ok(Ended { exit, signals })
}

fn wait(child: Pid, signals: &SignalPipe, companion: &mut Guarded) -> ChildExit {
    let mut again = companion.attend();
    loop {
        if let Some(exit) = reap(child) {
            return exit;
        }
        let companion_woke = sleep(signals, companion, again);
        while let Some(arrived) = signals.next() {
            if arrived.signal != Signal::SIGCHLD && arrived.from == Sender::Process {
                let _ = kill(child, arrived.signal);
            }
        }
        if companion_woke {
            again = companion.attend();
        }
    }
}

/// Until a signal arrives, or the companion's turn comes: then true.
fn sleep(signals: &SignalPipe, companion: &Guarded, again: Option<Duration>) -> bool {
    let timeout =
        again.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    watched.extend(companion.wakes().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let ready = poll(&mut watched, timeout);
    ready == Ok(0) || watched.get(1).is_some_and(|fd| fd.any() == Some(true))
}

/// None while the child lives. A stopped child stops us too, so that the shell sees a stopped job.
fn reap(child: Pid) -> Option<ChildExit> {
    loop {
        let mut status = 0;
        #[expect(unsafe_code, reason = "nix's waitpid knows no real-time signals, and loses the status")]
        // SAFETY: the kernel writes the status into our own integer.
        let reaped =
            unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
        let status = ExitStatus::from_raw(status);
        match (reaped, status.stopped_signal()) {
            (0, _) => return None,
            (-1, _) if Errno::last() == Errno::EINTR => {}
            // Only possible if somebody else waited for our child; there is no status to be had.
            (-1, _) => return Some(ChildExit::Code(1)),
            (_, Some(signal)) => {
                stop_as_by(Signal::try_from(signal).unwrap_or(Signal::SIGSTOP));
                // Whoever woke us may have woken only us.
                let _ = kill(child, Signal::SIGCONT);
            }
            _ => return Some(status.into()),
        }
    }
}
