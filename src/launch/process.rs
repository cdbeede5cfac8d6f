//! A process by name and birth: a number alone may belong to another one tomorrow.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub id: u32,
    /// Clock ticks since boot, where the system tells (Linux).
    pub born: Option<u64>,
}

impl Process {
    pub fn of(id: u32) -> Process {
        Process { id, born: stat(id).map(|stat| stat.born) }
    }

    pub fn ourselves() -> Process {
        Process::of(std::process::id())
    }

    /// After a restart of the machine a number may be taken again; the birth tells.
    pub fn is_alive(&self) -> bool {
        match self.born {
            Some(born) => stat(self.id).is_some_and(|stat| stat.born == born),
            None => kill(Pid::from_raw(self.id.cast_signed()), None) != Err(nix::errno::Errno::ESRCH),
        }
    }
}

/// What `/proc/<pid>/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub parent: u32,
    pub born: u64,
}

pub fn stat(id: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The program's name stands in brackets and may hold spaces and brackets: count from the last one.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, born: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        let line = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 5";
        assert_eq!(parse(line), Some(Stat { parent: 7, born: 987_654 }));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn we_are_alive_and_one_born_at_another_time_is_not_us() {
        let us = Process::ourselves();
        assert!(us.is_alive());
        assert!(!Process { born: Some(1), ..us }.is_alive() || us.born.is_none());
    }
}
