//! Records two facts before `main`: whether SIGPIPE was ignored, and which standard streams were closed. Rust's
//! runtime then ignores SIGPIPE and opens closed streams as /dev/null. The command must get both as the launcher did.

use super::dispositions::is_ignored;
use nix::libc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

static PIPE_SIGNAL_IGNORED: AtomicBool = AtomicBool::new(false);

/// A bit for each of stdin, stdout and stderr.
static CLOSED_STREAMS: AtomicU8 = AtomicU8::new(0);

#[expect(unsafe_code, reason = "the loader's list of what runs before main")]
// SAFETY: the loader calls each entry as a C function; `look` takes none of the arguments that some loaders pass.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn() = look;

/// Uses only system calls and atomics: Rust's runtime is not initialised yet.
extern "C" fn look() {
    PIPE_SIGNAL_IGNORED.store(is_ignored(libc::SIGPIPE).unwrap_or(false), Ordering::Relaxed);
    let closed = (0..=2).filter(|stream| is_closed(*stream)).map(|stream| 1 << stream).sum();
    CLOSED_STREAMS.store(closed, Ordering::Relaxed);
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
