//! Lets tests on Linux run the paths of systems that have less.

use std::io;
use std::sync::LazyLock;

/// The variable that a test sets.
pub const VARIABLE: &str = "CODEX_TRACED_TEST_PORTABLE";

/// Whether this process does without `/proc/locks`, inotify, descriptors of processes and the sender of a signal, as on
/// macOS. Debug builds only.
pub fn is_wanted() -> bool {
    static IS_WANTED: LazyLock<bool> =
        LazyLock::new(|| cfg!(debug_assertions) && std::env::var_os(VARIABLE).is_some());
    *IS_WANTED
}

/// An error where it is wanted.
pub fn refuse() -> io::Result<()> {
    if is_wanted() { Err(io::Error::from(io::ErrorKind::Unsupported)) } else { Ok(()) }
}
