//! A process, identified by its number and its start: the kernel reuses numbers.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub id: u32,
    /// Start time in clock ticks since boot; None where the system does not report it (elsewhere than on Linux).
    pub born: Option<u64>,
    /// The namespace of its number: a container has its own numbers (Linux).
    pub namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    /// Gone, or a zombie, which does nothing any more.
    Gone,
    /// In another namespace: cannot be seen from here.
    Unknown,
}

impl Process {
    pub fn from_id(id: u32) -> Process {
        Process { id, born: stat(id).map(|stat| stat.born), namespace: own_namespace() }
    }

    pub fn current() -> Process {
        Process::from_id(std::process::id())
    }

    pub fn life(&self) -> Life {
        if self.namespace != own_namespace() {
            return Life::Unknown;
        }
        let alive = match self.born {
            // The kernel may have reused the number; the start time shows it.
            Some(born) => stat(self.id).is_some_and(|stat| stat.born == born && !stat.is_zombie),
            None => kill(Pid::from_raw(self.id.cast_signed()), None) != Err(nix::errno::Errno::ESRCH),
        };
        if alive { Life::Alive } else { Life::Gone }
    }

    pub fn is_alive(&self) -> bool {
        self.life() == Life::Alive
    }

    /// Becomes readable when the process ends. None where the kernel has no pidfd (elsewhere than on Linux 5.3
    /// and later), and for a process that is gone.
    pub fn ending(&self) -> Option<OwnedFd> {
        #[cfg(target_os = "linux")]
        {
            use nix::libc;
            use std::os::fd::FromRawFd;
            let id = i32::try_from(self.id).ok()?;
            #[expect(unsafe_code, reason = "pidfd_open; nix offers no safe form")]
            // SAFETY: the answer is a new descriptor that has no other owner, or an error. It closes on exec.
            let ending = unsafe {
                let answer = libc::syscall(libc::SYS_pidfd_open, id, 0);
                let descriptor = i32::try_from(answer).ok().filter(|answer| *answer >= 0)?;
                OwnedFd::from_raw_fd(descriptor)
            };
            // The kernel may have reused the number before `pidfd_open`.
            self.is_alive().then_some(ending)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }
}

fn own_namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.into_os_string().into_string().ok()
}

/// Fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub parent: u32,
    pub born: u64,
    pub is_zombie: bool,
}

pub fn stat(id: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The program's name is in brackets and may contain spaces and brackets: fields count from the last bracket.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        born: fields.get(19)?.parse().ok()?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        let line = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 5";
        assert_eq!(parse(line), Some(Stat { parent: 7, born: 987_654, is_zombie: false }));
        assert_eq!(parse("42 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_end_of_a_process_makes_its_descriptor_readable() {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::from_id(child.id());
        let ending = process.ending().unwrap();
        let ready = |patience| poll(&mut [PollFd::new(ending.as_fd(), PollFlags::POLLIN)], patience);
        assert_eq!(ready(PollTimeout::ZERO), Ok(0));
        child.kill().unwrap();
        assert_eq!(ready(PollTimeout::from(60_000_u16)), Ok(1));
        child.wait().unwrap();
        assert!(process.ending().is_none());
    }

    #[test]
    fn a_process_with_another_start_time_is_gone() {
        let us = Process::current();
        assert_eq!(us.life(), Life::Alive);
        if us.born.is_some() {
            assert_eq!(Process { born: Some(1), ..us.clone() }.life(), Life::Gone);
        }
        assert_eq!(Process { namespace: Some("pid:[1]".into()), ..us }.life(), Life::Unknown);
    }
}
