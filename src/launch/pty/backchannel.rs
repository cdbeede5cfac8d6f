//! Messages between launcher and monitor: a kind and a number, always of the same length.

use crate::launch::exit::ChildExit;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// So short that a socket writes and reads it in one piece.
type Word = [u8; 5];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToLauncher {
    /// The command runs as this process.
    Began(u32),
    /// The command could not be started: the system's error number.
    Failed(i32),
    /// The monitor could not become the leader of a session on the terminal.
    NoTerminal,
    Stopped(i32),
    Ended(ChildExit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToMonitor {
    Deliver(Whom, i32),
    /// All output is read: the monitor gives up the terminal and ends.
    Bye,
}

/// Receiver of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Command,
    ItsGroup,
}

impl ToLauncher {
    pub(super) fn say(self, link: &mut UnixStream) -> io::Result<()> {
        let (kind, number) = match self {
            ToLauncher::Began(child) => (b'B', child.cast_signed()),
            ToLauncher::Failed(error) => (b'F', error),
            ToLauncher::NoTerminal => (b'N', 0),
            ToLauncher::Stopped(signal) => (b'S', signal),
            ToLauncher::Ended(ChildExit::Code(code)) => (b'C', code),
            ToLauncher::Ended(ChildExit::Signal(signal)) => (b'K', signal),
        };
        write(link, kind, number)
    }

    /// None when the monitor is gone.
    pub(super) fn hear(link: &mut UnixStream) -> Option<ToLauncher> {
        let (kind, number) = read(link)?;
        Some(match kind {
            b'B' => ToLauncher::Began(number.cast_unsigned()),
            b'F' => ToLauncher::Failed(number),
            b'S' => ToLauncher::Stopped(number),
            b'C' => ToLauncher::Ended(ChildExit::Code(number)),
            b'K' => ToLauncher::Ended(ChildExit::Signal(number)),
            _ => ToLauncher::NoTerminal,
        })
    }
}

impl ToMonitor {
    pub(super) fn say(self, link: &mut UnixStream) -> io::Result<()> {
        match self {
            ToMonitor::Deliver(Whom::Command, signal) => write(link, b'D', signal),
            ToMonitor::Deliver(Whom::ItsGroup, signal) => write(link, b'G', signal),
            ToMonitor::Bye => write(link, b'Y', 0),
        }
    }

    /// None when the launcher is gone.
    pub(super) fn hear(link: &mut UnixStream) -> Option<ToMonitor> {
        Some(match read(link)? {
            (b'D', signal) => ToMonitor::Deliver(Whom::Command, signal),
            (b'G', signal) => ToMonitor::Deliver(Whom::ItsGroup, signal),
            _ => ToMonitor::Bye,
        })
    }
}

fn write(link: &mut UnixStream, kind: u8, number: i32) -> io::Result<()> {
    let [a, b, c, d] = number.to_ne_bytes();
    link.write_all(&[kind, a, b, c, d])
}

fn read(link: &mut UnixStream) -> Option<(u8, i32)> {
    let mut word = Word::default();
    link.read_exact(&mut word).ok()?;
    let [kind, number @ ..] = word;
    Some((kind, i32::from_ne_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        for word in [
            ToLauncher::Began(4_000_000),
            ToLauncher::Failed(2),
            ToLauncher::NoTerminal,
            ToLauncher::Stopped(20),
            ToLauncher::Ended(ChildExit::Code(255)),
            ToLauncher::Ended(ChildExit::Signal(64)),
        ] {
            word.say(&mut here).unwrap();
            assert_eq!(ToLauncher::hear(&mut there), Some(word));
        }
        for word in
            [ToMonitor::Deliver(Whom::Command, 64), ToMonitor::Deliver(Whom::ItsGroup, 18), ToMonitor::Bye]
        {
            word.say(&mut there).unwrap();
            assert_eq!(ToMonitor::hear(&mut here), Some(word));
        }
        drop(here);
        assert_eq!(ToMonitor::hear(&mut there), None);
    }
}
