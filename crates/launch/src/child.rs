//! State changes of a child process: none, stopped, ended.

use super::exit::ChildExit;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildState {
    None,
    Stopped(i32),
    Ended(ChildExit),
}

/// Polls the child without blocking: what happened since the last call.
pub(super) fn poll_child(child: Pid) -> ChildState {
    loop {
        let mut status = 0;
        #[expect(unsafe_code, reason = "nix's waitpid knows no real-time signals, and loses the status")]
        // SAFETY: the kernel writes the status into a local integer.
        let reaped =
            unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
        let status = ExitStatus::from_raw(status);
        return match (reaped, status.stopped_signal()) {
            (0, _) => ChildState::None,
            (-1, _) if Errno::last() == Errno::EINTR => continue,
            // Only possible if other code already reaped the child; its status is lost.
            (-1, _) => ChildState::Ended(ChildExit::Code(1)),
            (_, Some(signal)) => ChildState::Stopped(signal),
            _ => ChildState::Ended(status.into()),
        };
    }
}
