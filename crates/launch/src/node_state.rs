//! The state of a process that Node.js starts, as measured with Node.js 20.20 and 24.9: what Node.js changes at its own
//! start and what its `spawn` and `execve` leave.

use super::dispositions::default;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;

/// Node.js resets these; it leaves signals of real time as they are.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=31;

/// libuv closes descriptors up to this one, and those that follow it without a gap.
const LAST_AFTER_A_GAP: i32 = if cfg!(target_os = "macos") { 1023 } else { 15 };

/// Where the hard limit is none, Node.js searches for the limit up to this.
const MOST_FILES: rlim_t = 1 << 20;

/// Runs between fork and exec: only calls that are safe there. What fails stays as it is, as in Node.js.
pub(super) fn enter() {
    for signal in SIGNALS {
        let _ = default(signal);
    }
    let _ = SigSet::empty().thread_set_mask();
    open_streams();
    close_other_descriptors();
    raise_file_limit();
}

/// A standard stream that is closed becomes /dev/null.
fn open_streams() {
    for stream in 0..=2 {
        #[expect(unsafe_code, reason = "a descriptor that may not be open has only a number")]
        // SAFETY: the path is a C text; the lowest free descriptor is this stream, because those below it are open.
        unsafe {
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}

/// At exec, as libuv's `uv_disable_stdio_inheritance` has it; on macOS libuv's `spawn` closes all. This process's own
/// descriptors close at exec already, so Node.js has none of their numbers.
fn close_other_descriptors() {
    for descriptor in 3.. {
        #[expect(unsafe_code, reason = "descriptors of the caller have only numbers")]
        // SAFETY: the flag matters at the exec that follows only.
        let is_inherited = unsafe {
            libc::fcntl(descriptor, libc::F_GETFD) == 0
                && libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) == 0
        };
        if !is_inherited && descriptor > LAST_AFTER_A_GAP {
            return;
        }
    }
}

/// As many files as the hard limit allows.
fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft == hard {
        return;
    }
    let (mut allowed, mut most) = if hard == libc::RLIM_INFINITY { (soft, MOST_FILES) } else { (hard, hard) };
    loop {
        let tried = allowed.saturating_add(most.saturating_sub(allowed) / 2);
        match setrlimit(Resource::RLIMIT_NOFILE, tried, hard) {
            Ok(()) => allowed = tried,
            Err(_) => most = tried,
        }
        if allowed.saturating_add(1) >= most {
            return;
        }
    }
}
