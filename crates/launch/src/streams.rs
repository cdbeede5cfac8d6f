//! The launcher's copies of the descriptors that the command uses. The launcher gives them up: the other end of a pipe
//! must see the command's end at that moment, however long the launcher still works.

use super::fork;
use nix::libc;
use nix::unistd;
use std::os::fd::{AsRawFd, OwnedFd};

/// Call it when the command runs, and no program can replace this process any more. stderr stays for notices.
pub(super) fn give_up() {
    // Without /dev/null the launcher keeps all: the next file that it opens would become a standard stream.
    let Ok(null) = fork::null() else { return };
    let _ = unistd::dup2_stdin(&null);
    let _ = unistd::dup2_stdout(&null);
    give_up_inherited(&null);
}

/// For a launcher that has nothing to print any more.
pub fn give_up_stderr() {
    if let Ok(null) = fork::null() {
        let _ = unistd::dup2_stderr(null);
    }
}

/// Replaces each descriptor above stderr that exec would keep. These are the user's: all of the launcher's own close
/// on exec, because Codex's daemon would keep them for its life.
pub(super) fn give_up_inherited(null: &OwnedFd) {
    for number in above_stderr().into_iter().filter(|number| outlives_exec(*number)) {
        #[expect(unsafe_code, reason = "an inherited descriptor has no owner here, only a number")]
        // SAFETY: no value of this process owns it, since it does not close on exec; the number stays in use.
        unsafe {
            libc::dup2(null.as_raw_fd(), number);
        }
    }
}

fn above_stderr() -> Vec<i32> {
    let entries = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number > libc::STDERR_FILENO).collect()
}

fn outlives_exec(number: i32) -> bool {
    #[expect(unsafe_code, reason = "a descriptor without an owner has only a number")]
    // SAFETY: F_GETFD changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}
