//! Processes on Linux, from `/proc`.

use super::Facts;
use nix::libc;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};

pub(super) fn facts(id: u32) -> Option<Facts> {
    // A line has 200 to 400 bytes.
    let mut line = String::with_capacity(1024);
    File::open(format!("/proc/{id}/stat")).ok()?.take(4096).read_to_string(&mut line).ok()?;
    parse(&line)
}

/// The program's name is in brackets and may contain spaces and brackets: fields count from the last bracket.
fn parse(text: &str) -> Option<Facts> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Facts {
        parent: fields.get(1)?.parse().ok()?,
        born: fields.get(19)?.parse().ok()?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

/// A pidfd (Linux 5.3).
pub(super) fn ending(id: u32) -> Option<OwnedFd> {
    let id = i32::try_from(id).ok()?;
    #[expect(unsafe_code, reason = "pidfd_open; nix offers no safe form")]
    // SAFETY: the answer is a new descriptor that has no other owner, or an error. It closes on exec.
    unsafe {
        let answer = libc::syscall(libc::SYS_pidfd_open, id, 0);
        let descriptor = i32::try_from(answer).ok().filter(|answer| *answer >= 0)?;
        Some(OwnedFd::from_raw_fd(descriptor))
    }
}

pub(super) fn own_namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        let line = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 5";
        assert_eq!(parse(line), Some(Facts { parent: 7, born: 987_654, is_zombie: false }));
        assert_eq!(parse("42 (a"), None);
    }
}
