//! Copies of this process: made with all signals blocked, and ended without the launcher's cleanup.

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::Mode;
use nix::unistd::{self, ForkResult, Pid};
use std::io;
use std::os::fd::OwnedFd;

/// The copy's id; None in the copy, where all signals stay blocked. Call it while the process has one thread.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    #[expect(unsafe_code, reason = "fork; nix offers no safe form")]
    // SAFETY: this process has one thread, so the fork may call any function.
    let forked = unsafe { unistd::fork() };
    if let Ok(ForkResult::Child) = forked {
        return Ok(None);
    }
    mask.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

pub(super) fn end(code: i32) -> ! {
    #[expect(unsafe_code, reason = "_exit; std's exit would run what is the launcher's to run")]
    // SAFETY: it only ends this process.
    unsafe {
        libc::_exit(code)
    }
}

pub(super) fn null() -> io::Result<OwnedFd> {
    Ok(open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?)
}

pub(super) fn set_streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    unistd::dup2_stdin(stdin)?;
    unistd::dup2_stdout(stdout)?;
    unistd::dup2_stderr(stderr)?;
    Ok(())
}
