//! Was a signal sent to us alone, or to our whole group? Nothing that comes with it tells.
//!
//! So a second process stands beside us in the group and does nothing but receive: what came to it as well was sent
//! to the group, and the command, which is in the group too, has got it. The kernel tells the youngest of a group
//! first, so by the time we hear of a signal the witness has heard of it.

use super::before_main;
use super::detached::become_nobody;
use super::signals::{self, Arrived, Sender};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// It answers within a few system calls, unless somebody has stopped it.
const PATIENCE_MS: u8 = 200;

/// Not ours: who sends signals to all processes of our name means us, and would reach it as well.
const NAME: &CStr = c"codex-witness";

/// Whom a signal reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    UsAlone,
    Group,
}

/// None when there is no process to be had: then whatever a process sends counts as sent to us alone.
pub(super) struct Witness(Option<Standing>);

struct Standing {
    id: Pid,
    link: UnixStream,
}

impl Witness {
    /// Call it while there is one thread. The process ends with us, however we end.
    pub(super) fn call() -> Witness {
        let standing = stand();
        if let Err(error) = &standing {
            tracing::warn!("cannot tell signals for us from signals for all: {error}");
        }
        Witness(standing.ok())
    }

    /// To be asked about every signal that arrives: what it has seen it forgets with that.
    pub(super) fn reach_of(&mut self, arrived: Arrived) -> Reach {
        let seen = self.0.as_mut().map(|standing| standing.has_seen(arrived.signal));
        if let Some(Err(error)) = &seen {
            tracing::warn!("the witness of signals does not answer: {error}");
            self.dismiss();
        }
        match (seen, arrived) {
            (Some(Ok(true)), _) => Reach::Group,
            // When a window closes, the kernel tells the session's leader alone; a key is for all.
            (Some(Ok(false)), Arrived { from: Sender::Kernel, signal: libc::SIGHUP }) => Reach::UsAlone,
            (_, Arrived { from: Sender::Kernel, .. }) => Reach::Group,
            (_, Arrived { from: Sender::Process, .. }) => Reach::UsAlone,
        }
    }

    fn dismiss(&mut self) {
        if let Some(standing) = self.0.take() {
            // Not by closing its link: it may be stopped.
            let _ = signals::send(standing.id.as_raw(), libc::SIGKILL);
            while waitpid(standing.id, None) == Err(Errno::EINTR) {}
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.dismiss();
    }
}

impl Standing {
    fn has_seen(&mut self, signal: i32) -> io::Result<bool> {
        self.link.write_all(&[signal as u8])?;
        let mut watched = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        // Both of us may be stopped and woken meanwhile, and then the time is over and nothing was waited for.
        for _ in 0..2 {
            while poll(&mut watched, PollTimeout::from(PATIENCE_MS)) == Err(Errno::EINTR) {}
            if watched[0].any() == Some(true) {
                break;
            }
        }
        if watched[0].any() != Some(true) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = [0];
        self.link.read_exact(&mut answer)?;
        Ok(answer[0] == 1)
    }
}

fn stand() -> io::Result<Standing> {
    let (link, its) = UnixStream::pair()?;
    // With its first breath it only receives.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    #[expect(unsafe_code, reason = "fork; nix offers no safe form")]
    // SAFETY: this process has one thread, so its copy may do all that we may.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_name(NAME);
        before_main::show_as(NAME);
        let _ = become_nobody(OwnedFd::from(its)).map(testify);
        #[expect(unsafe_code, reason = "_exit; std's exit would run what is the launcher's to run")]
        // SAFETY: it only ends this process.
        unsafe {
            libc::_exit(0)
        }
    }
    mask.thread_set_mask()?;
    let ForkResult::Parent { child: id } = forked? else { unreachable!("the witness never comes here") };
    Ok(Standing { id, link })
}

/// Until nobody asks any more.
fn testify(mut link: impl Read + Write) {
    let mut asked = [0];
    while link.read_exact(&mut asked).is_ok() {
        let seen = is_waiting(asked[0].into());
        if link.write_all(&[u8::from(seen)]).is_err() {
            return;
        }
    }
}

/// Whether this blocked signal has come; it waits no more.
fn is_waiting(signal: i32) -> bool {
    let mut taken = 0;
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    #[expect(unsafe_code, reason = "nix has no names for signals of real time")]
    // SAFETY: every set is one of ours, and initialised by the call before it is read.
    unsafe {
        libc::sigpending(set.as_mut_ptr());
        if libc::sigismember(set.as_ptr(), signal) != 1 {
            return false;
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::sigwait(set.as_ptr(), &raw mut taken) == 0
    }
}
