//! Signal dispositions: reading and setting them, and restoring for the command what the launcher inherited.
//!
//! Signals are plain numbers: real-time signals have no names in nix.

use super::before_main;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) type Action = libc::sigaction;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Whether the launcher changed SIGXFSZ and has to restore it for the command.
static FILE_SIZE_SIGNAL_TAKEN: AtomicBool = AtomicBool::new(false);

/// Under a limit of file sizes (`ulimit -f`) a write of the launcher fails instead of killing it.
pub fn fail_writes_instead_of_dying() {
    if is_ignored(libc::SIGXFSZ).is_ok_and(|ignored| !ignored) && ignore(libc::SIGXFSZ).is_ok() {
        FILE_SIZE_SIGNAL_TAKEN.store(true, Ordering::Relaxed);
    }
}

/// Whether the signal was ignored at start (nohup): then it stays ignored, for the launcher and for the
/// command.
pub(super) fn was_ignored(signal: i32) -> io::Result<bool> {
    match signal {
        libc::SIGPIPE => Ok(before_main::ignored_the_pipe_signal()),
        libc::SIGXFSZ if FILE_SIZE_SIGNAL_TAKEN.load(Ordering::Relaxed) => Ok(false),
        _ => is_ignored(signal),
    }
}

/// Restores what Rust's runtime or the launcher has changed: SIGPIPE (std's `Command` changes it again) and
/// SIGXFSZ.
pub(super) fn give_back() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        let _ = match was_ignored(signal) {
            Ok(true) => ignore(signal),
            _ => default(signal),
        };
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

pub(super) fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut found = MaybeUninit::<Action>::uninit();
    #[expect(unsafe_code, reason = "sigaction; nix knows no signals of real time")]
    // SAFETY: a null action changes nothing; the kernel fills `found` when it returns 0.
    let handler = unsafe {
        if libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init().sa_sigaction
    };
    Ok(handler == libc::SIG_IGN)
}

pub(super) fn ignore(signal: i32) -> io::Result<Action> {
    set(signal, &action(libc::SIG_IGN, 0))
}

pub(super) fn default(signal: i32) -> io::Result<Action> {
    set(signal, &action(libc::SIG_DFL, 0))
}

/// Installs a handler; `signals::on_signal` is the only one.
pub(super) fn handle(signal: i32, handler: Handler) -> io::Result<Action> {
    // On the alternate stack that Rust's runtime provides: the normal one may have overflowed.
    let flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    set(signal, &action(handler as *const () as usize, flags))
}

fn action(handler: libc::sighandler_t, flags: libc::c_int) -> Action {
    #[expect(unsafe_code, reason = "a C structure whose hidden fields differ from system to system")]
    // SAFETY: all zeros is the default action with an empty mask.
    let mut action: Action = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

pub(super) fn set(signal: i32, action: &Action) -> io::Result<Action> {
    let mut before = MaybeUninit::<Action>::uninit();
    #[expect(unsafe_code, reason = "sigaction; nix knows no signals of real time")]
    // SAFETY: the only handler ever set makes only async-signal-safe calls; the kernel fills `before` when it
    // returns 0.
    unsafe {
        Errno::result(libc::sigaction(signal, action, before.as_mut_ptr()))?;
        Ok(before.assume_init())
    }
}
