//! Records two facts before `main`: whether SIGPIPE was ignored, and which standard streams were closed. Rust's
//! runtime then ignores SIGPIPE and opens closed streams as /dev/null. The command must get both as the launcher did.

use super::dispositions::is_ignored;
use nix::libc::{self, c_char, c_int};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

static PIPE_SIGNAL_IGNORED: AtomicBool = AtomicBool::new(false);

/// A bit for each of stdin, stdout and stderr.
static CLOSED_STREAMS: AtomicU8 = AtomicU8::new(0);

#[expect(unsafe_code, reason = "the loader's list of what runs before main")]
// SAFETY: the loader calls each entry as a C function; `look` ignores arguments that a loader does not pass.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn(c_int, *const *mut c_char) = look;

/// Address of this process's arguments in memory, where other processes read them, and their size in bytes.
static ARGS: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static ARGS_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Uses only system calls and atomics: Rust's runtime is not initialised yet.
extern "C" fn look(count: c_int, args: *const *mut c_char) {
    // Only GNU's loader passes arguments to such functions.
    if cfg!(target_env = "gnu") && count > 0 {
        note_args(count.unsigned_abs() as usize, args);
    }
    PIPE_SIGNAL_IGNORED.store(is_ignored(libc::SIGPIPE).unwrap_or(false), Ordering::Relaxed);
    let closed = (0..=2).filter(|stream| is_closed(*stream)).map(|stream| 1 << stream).sum();
    CLOSED_STREAMS.store(closed, Ordering::Relaxed);
}

fn note_args(count: usize, args: *const *mut c_char) {
    #[expect(unsafe_code, reason = "the arguments as the kernel laid them out")]
    // SAFETY: the loader passes `count` pointers, each to a text that lives as long as the process; the kernel
    // puts the texts one after the other.
    unsafe {
        let (first, last) = (*args, *args.add(count - 1));
        ARGS.store(first, Ordering::Relaxed);
        ARGS_LENGTH.store(last.add(libc::strlen(last)).offset_from_unsigned(first), Ordering::Relaxed);
    }
}

/// Overwrites the arguments of this process. Call it only in a fork that reads them no more: `ps` and senders
/// of signals by name find the process under this name.
pub(super) fn show_as(name: &CStr) {
    let (args, length) = (ARGS.load(Ordering::Relaxed), ARGS_LENGTH.load(Ordering::Relaxed));
    if !args.is_null() {
        let shown = name.count_bytes().min(length);
        #[expect(unsafe_code, reason = "the arguments of this process, where other processes see them")]
        // SAFETY: it writes exactly the bytes that the arguments took; this memory is writable and nothing
        // reads it any more.
        unsafe {
            std::ptr::write_bytes(args, 0, length);
            std::ptr::copy_nonoverlapping(name.as_ptr(), args, shown);
        }
    }
}

fn is_closed(stream: i32) -> bool {
    #[expect(unsafe_code, reason = "a descriptor that may not be open has only a number")]
    // SAFETY: F_GETFD changes nothing.
    unsafe {
        libc::fcntl(stream, libc::F_GETFD) < 0
    }
}

pub(super) fn ignored_the_pipe_signal() -> bool {
    PIPE_SIGNAL_IGNORED.load(Ordering::Relaxed)
}

/// Call it last before exec: the next descriptor that is opened would become a standard stream.
pub(super) fn close_streams_again() {
    let closed = CLOSED_STREAMS.load(Ordering::Relaxed);
    for stream in (0..=2).filter(|stream| closed & (1 << stream) != 0) {
        #[expect(unsafe_code, reason = "std has no owner for standard streams that could close them")]
        // SAFETY: what runs next in this process is the command, or an error that needs none of them.
        unsafe {
            libc::close(stream);
        }
    }
}
