//! The signal state at the launcher's start, which the command must get back.

use super::before_main;
use super::dispositions::{Action, default, ignore, ignores, is_ignored};
use nix::libc;
use nix::sys::signal::SigSet;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the launcher changed SIGXFSZ and has to restore it for the command.
static FILE_SIZE_SIGNAL_TAKEN: AtomicBool = AtomicBool::new(false);

/// Under a limit of file sizes (`ulimit -f`) a write of the launcher fails instead of killing it.
pub fn fail_writes_instead_of_dying() {
    if is_ignored(libc::SIGXFSZ).is_ok_and(|ignored| !ignored) && ignore(libc::SIGXFSZ).is_ok() {
        FILE_SIZE_SIGNAL_TAKEN.store(true, Ordering::Relaxed);
    }
}

/// Whether the signal was ignored at start (nohup): then it stays ignored, for the launcher and for the command. `found` is
/// the action that it had before the launcher's handler.
pub(super) fn was_ignored(signal: i32, found: &Action) -> bool {
    match signal {
        libc::SIGPIPE => before_main::ignored_the_pipe_signal(),
        libc::SIGXFSZ if FILE_SIZE_SIGNAL_TAKEN.load(Ordering::Relaxed) => false,
        _ => ignores(found),
    }
}

/// Restores what Rust's runtime or the launcher has made ignored: SIGPIPE and SIGXFSZ. Exec resets handlers by itself.
pub(super) fn restore_dispositions() {
    let is_taken = FILE_SIZE_SIGNAL_TAKEN.load(Ordering::Relaxed);
    for (signal, was_ignored) in
        [(libc::SIGPIPE, before_main::ignored_the_pipe_signal()), (libc::SIGXFSZ, !is_taken)]
    {
        if !was_ignored {
            let _ = default(signal);
        }
    }
}

/// Inherited state that the launcher's own handlers replace and the command must get back.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    pub(super) mask: SigSet,
    pub(super) child_ignored: bool,
    pub(super) alarm: Alarm,
}

impl Inherited {
    /// Runs between fork and exec: only calls that are safe there.
    pub(super) fn restore(&self) -> io::Result<()> {
        if self.child_ignored {
            ignore(libc::SIGCHLD)?;
        }
        self.alarm.set();
        self.mask.thread_set_mask()?;
        before_main::close_streams_again();
        Ok(())
    }
}

/// The time until a SIGALRM: exec keeps it, fork does not (`perl -e 'alarm 9; exec @ARGV' …`).
#[derive(Clone, Copy)]
pub(super) struct Alarm(libc::itimerval);

impl Alarm {
    pub(super) fn running() -> Alarm {
        let mut found = MaybeUninit::<libc::itimerval>::zeroed();
        #[expect(unsafe_code, reason = "getitimer; nix offers no safe form")]
        // SAFETY: the kernel writes into a local variable, and all zeros is a timer that does not run.
        unsafe {
            libc::getitimer(libc::ITIMER_REAL, found.as_mut_ptr());
            Alarm(found.assume_init())
        }
    }

    /// Call it when the command has the timer.
    pub(super) fn stop() {
        nix::unistd::alarm::cancel();
    }

    fn set(&self) {
        if self.0.it_value.tv_sec == 0 && self.0.it_value.tv_usec == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "setitimer; nix offers no safe form")]
        // SAFETY: the kernel reads a timer that `getitimer` has filled.
        unsafe {
            libc::setitimer(libc::ITIMER_REAL, &raw const self.0, std::ptr::null_mut());
        }
    }
}
