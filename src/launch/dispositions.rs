//! What a process does by default with each signal, and what of it the command is to find as we found it.
//!
//! Signals are numbers here: those of real time have no names.

use super::before_main;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) type Action = libc::sigaction;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Whether SIGXFSZ is ours to give back.
static FILE_SIZE_SIGNAL_TAKEN: AtomicBool = AtomicBool::new(false);

/// Under a limit of file sizes (`ulimit -f`) a write of ours shall fail, not kill us.
pub fn fail_writes_instead_of_dying() {
    if is_ignored(libc::SIGXFSZ).is_ok_and(|ignored| !ignored) && ignore(libc::SIGXFSZ).is_ok() {
        FILE_SIZE_SIGNAL_TAKEN.store(true, Ordering::Relaxed);
    }
}

/// Whether it was ignored when we were started (nohup): then it stays so, for us and for the command.
pub(super) fn was_ignored(signal: i32) -> io::Result<bool> {
    match signal {
        libc::SIGPIPE => Ok(before_main::ignored_the_pipe_signal()),
        libc::SIGXFSZ if FILE_SIZE_SIGNAL_TAKEN.load(Ordering::Relaxed) => Ok(false),
        _ => is_ignored(signal),
    }
}

/// What Rust's runtime or we have changed: SIGPIPE (std's `Command` changes it once more), SIGXFSZ.
pub(super) fn give_back() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        let _ = match was_ignored(signal) {
            Ok(true) => ignore(signal),
            _ => default(signal),
        };
    }
}

/// What the command must find as we found it, and our own handlers would hide.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    pub(super) mask: SigSet,
    pub(super) child_ignored: bool,
    pub(super) alarm: Alarm,
}

impl Inherited {
    /// For the command, between fork and exec: only calls that are safe there.
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

/// The time until a SIGALRM: exec hands it on, and fork does not (`perl -e 'alarm 9; exec @ARGV' …`).
#[derive(Clone, Copy)]
pub(super) struct Alarm(libc::itimerval);

impl Alarm {
    pub(super) fn running() -> Alarm {
        let mut found = MaybeUninit::<libc::itimerval>::zeroed();
        #[expect(unsafe_code, reason = "getitimer; nix offers no safe form")]
        // SAFETY: the kernel writes into our own variable, and all zeros is a timer that does not run.
        unsafe {
            libc::getitimer(libc::ITIMER_REAL, found.as_mut_ptr());
            Alarm(found.assume_init())
        }
    }

    /// Once the command has it.
    pub(super) fn stop() {
        nix::unistd::alarm::cancel();
    }

    fn set(&self) {
        if self.0.it_value.tv_sec == 0 && self.0.it_value.tv_usec == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "setitimer; nix offers no safe form")]
        // SAFETY: it reads a timer that the kernel has given us.
        unsafe {
            libc::setitimer(libc::ITIMER_REAL, &raw const self.0, std::ptr::null_mut());
        }
    }
}

pub(super) fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut found = MaybeUninit::<Action>::uninit();
    #[expect(unsafe_code, reason = "sigaction; nix knows no signals of real time")]
    // SAFETY: a null action only asks; the kernel fills `found` when it answers 0.
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

/// The only handler that there is anywhere: `signals::tell`.
pub(super) fn handle(signal: i32, handler: Handler) -> io::Result<Action> {
    // On the stack that Rust's runtime has made for it: ours may be what has overflowed.
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
    // SAFETY: the only handler ever set does nothing that is not safe in one; the kernel fills `before` when it
    // answers 0.
    unsafe {
        Errno::result(libc::sigaction(signal, action, before.as_mut_ptr()))?;
        Ok(before.assume_init())
    }
}
