//! Signal dispositions: reading and setting what a process does with a signal.
//!
//! Signals are plain numbers: real-time signals have no names in nix.

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::mem::MaybeUninit;

pub(super) type Action = libc::sigaction;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

pub(super) fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut found = MaybeUninit::<Action>::uninit();
    #[expect(unsafe_code, reason = "sigaction; nix knows no signals of real time")]
    // SAFETY: a null action changes nothing; the kernel fills `found` when it returns 0.
    let found = unsafe {
        if libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(ignores(&found))
}

pub(super) fn ignores(action: &Action) -> bool {
    action.sa_sigaction == libc::SIG_IGN
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
    let mut action = action(handler as *const () as usize, flags);
    // No signal interrupts a handler. The kernel pushes one frame per pending signal before the first handler runs:
    // with AVX-512 a frame takes 3.4 KiB, so three overflow that stack (8 KiB in std), and the kernel kills the process.
    #[expect(unsafe_code, reason = "nix has no names for signals of real time")]
    // SAFETY: it fills a set that this function owns.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
    }
    set(signal, &action)
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
