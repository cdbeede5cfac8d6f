//! What Rust's runtime changes before `main`, seen before it does: it ignores SIGPIPE, and opens closed standard
//! streams as /dev/null. The command is to find both as we were given them.

use super::dispositions::is_ignored;
use nix::libc::{self, c_char, c_int};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

static PIPE_SIGNAL_IGNORED: AtomicBool = AtomicBool::new(false);

/// A bit for each of stdin, stdout and stderr.
static CLOSED_STREAMS: AtomicU8 = AtomicU8::new(0);

#[expect(unsafe_code, reason = "the loader's list of what runs before main")]
// SAFETY: the loader calls what stands here as a function; arguments that it does not pass are not looked at.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn(c_int, *const *mut c_char) = look;

/// Where our words stand in memory, as other processes see them, and how many bytes they take.
static WORDS: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static WORDS_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Only system calls and atomics: nothing of Rust's runtime is there yet.
extern "C" fn look(count: c_int, words: *const *mut c_char) {
    // Other loaders than GNU's pass nothing here.
    if cfg!(target_env = "gnu") && count > 0 {
        note_words(count.unsigned_abs() as usize, words);
    }
    PIPE_SIGNAL_IGNORED.store(is_ignored(libc::SIGPIPE).unwrap_or(false), Ordering::Relaxed);
    let closed = (0..=2).filter(|stream| is_closed(*stream)).map(|stream| 1 << stream).sum();
    CLOSED_STREAMS.store(closed, Ordering::Relaxed);
}

fn note_words(count: usize, words: *const *mut c_char) {
    #[expect(unsafe_code, reason = "the words as the kernel laid them out")]
    // SAFETY: the loader passes as many pointers as it says, each to a text that lives as long as the process; the
    // kernel puts the texts one behind the other.
    unsafe {
        let (first, last) = (*words, *words.add(count - 1));
        WORDS.store(first, Ordering::Relaxed);
        WORDS_LENGTH.store(last.add(libc::strlen(last)).offset_from_unsigned(first), Ordering::Relaxed);
    }
}

/// In a copy of us that looks at its words no more: `ps`, and who sends signals by name, find it under this one.
pub(super) fn show_as(name: &CStr) {
    let (words, length) = (WORDS.load(Ordering::Relaxed), WORDS_LENGTH.load(Ordering::Relaxed));
    if !words.is_null() {
        let shown = name.count_bytes().min(length);
        #[expect(unsafe_code, reason = "our own words, where other processes see them")]
        // SAFETY: as many bytes as the words took, in memory that is ours to write; nobody reads them any more.
        unsafe {
            std::ptr::write_bytes(words, 0, length);
            std::ptr::copy_nonoverlapping(name.as_ptr(), words, shown);
        }
    }
}

fn is_closed(stream: i32) -> bool {
    #[expect(unsafe_code, reason = "a descriptor that may not be open has only a number")]
    // SAFETY: it only asks.
    unsafe {
        libc::fcntl(stream, libc::F_GETFD) < 0
    }
}

pub(super) fn ignored_the_pipe_signal() -> bool {
    PIPE_SIGNAL_IGNORED.load(Ordering::Relaxed)
}

/// As the last thing before exec: whatever is opened next would be taken for a standard stream.
pub(super) fn close_streams_again() {
    let closed = CLOSED_STREAMS.load(Ordering::Relaxed);
    for stream in (0..=2).filter(|stream| closed & (1 << stream) != 0) {
        #[expect(unsafe_code, reason = "std owns no standard stream, so nobody can give it up")]
        // SAFETY: what runs next in this process is the command, or an error that needs none of them.
        unsafe {
            libc::close(stream);
        }
    }
}
