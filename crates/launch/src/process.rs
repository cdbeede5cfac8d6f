//! A process, identified by its number and its start: the kernel reuses numbers.

#[cfg_attr(target_os = "linux", path = "process/linux.rs")]
#[cfg_attr(target_os = "macos", path = "process/macos.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos")), path = "process/unsupported.rs")]
mod system;

use common::portable;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub id: u32,
    /// When it started: clock ticks since boot on Linux, microseconds since 1970 on macOS. None where the system does not
    /// report it.
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
        Process { id, born: system::facts(id).map(|facts| facts.born), namespace: system::own_namespace() }
    }

    pub fn current() -> Process {
        Process::from_id(std::process::id())
    }

    pub fn life(&self) -> Life {
        if self.namespace != system::own_namespace() {
            return Life::Unknown;
        }
        let alive = match self.born {
            // The kernel may have reused the number; the start time shows it.
            Some(born) => system::facts(self.id).is_some_and(|facts| facts.born == born && !facts.is_zombie),
            None => kill(Pid::from_raw(self.id.cast_signed()), None) != Err(Errno::ESRCH),
        };
        if alive { Life::Alive } else { Life::Gone }
    }

    pub fn is_alive(&self) -> bool {
        self.life() == Life::Alive
    }

    /// Becomes readable when the process ends. None where the system has no such descriptor (Linux before 5.3), and for a
    /// process that is gone.
    pub fn ending(&self) -> Option<OwnedFd> {
        let ending = (!portable::is_wanted()).then(|| system::ending(self.id))??;
        // The kernel may have reused the number before.
        self.is_alive().then_some(ending)
    }
}

/// What the system reports of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub parent: u32,
    /// As `Process::born`.
    pub born: u64,
    pub is_zombie: bool,
}

/// None for a process that is gone, and where the system does not report it.
pub fn parent_of(id: u32) -> Option<u32> {
    Some(system::facts(id)?.parent)
}

#[cfg(test)]
mod tests {
    use super::*;

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
