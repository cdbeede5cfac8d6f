//! Messages between launcher and monitor: a kind and a number, always of the same length.

use crate::exit::ChildExit;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// So short that a socket writes and reads it in one piece.
type Message = [u8; 5];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToLauncher {
    /// The command runs as this process.
    Began(u32),
    /// The command could not be started: the system's error number.
    Failed(i32),
    /// The monitor could not become the leader of a session on the terminal.
    NoTerminal,
    Stopped(i32),
    /// The command has the signal that `HangUp` asked for.
    HungUp,
    Ended(ChildExit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToMonitor {
    Deliver(SignalTarget, i32),
    /// The user's terminal is gone: SIGHUP for the command's group, and an answer.
    HangUp,
    /// All output is read: the monitor gives up the terminal and ends.
    Bye,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalTarget {
    Command,
    ItsGroup,
}

impl ToLauncher {
    pub(super) fn send(self, link: &mut UnixStream) -> io::Result<()> {
        let (kind, number) = match self {
            ToLauncher::Began(child) => (b'B', child.cast_signed()),
            ToLauncher::Failed(error) => (b'F', error),
            ToLauncher::NoTerminal => (b'N', 0),
            ToLauncher::Stopped(signal) => (b'S', signal),
            ToLauncher::HungUp => (b'H', 0),
            ToLauncher::Ended(ChildExit::Code(code)) => (b'C', code),
            ToLauncher::Ended(ChildExit::Signal(signal)) => (b'K', signal),
        };
        write(link, kind, number)
    }

    /// None when the monitor is gone.
    pub(super) fn receive(link: &mut UnixStream) -> Option<ToLauncher> {
        let (kind, number) = read(link)?;
        Some(match kind {
            b'B' => ToLauncher::Began(number.cast_unsigned()),
            b'F' => ToLauncher::Failed(number),
            b'S' => ToLauncher::Stopped(number),
            b'H' => ToLauncher::HungUp,
            b'C' => ToLauncher::Ended(ChildExit::Code(number)),
            b'K' => ToLauncher::Ended(ChildExit::Signal(number)),
            _ => ToLauncher::NoTerminal,
        })
    }
}

impl ToMonitor {
    pub(super) fn send(self, link: &mut UnixStream) -> io::Result<()> {
        match self {
            ToMonitor::Deliver(SignalTarget::Command, signal) => write(link, b'D', signal),
            ToMonitor::Deliver(SignalTarget::ItsGroup, signal) => write(link, b'G', signal),
            ToMonitor::HangUp => write(link, b'H', 0),
            ToMonitor::Bye => write(link, b'Y', 0),
        }
    }

    /// None when the launcher is gone.
    pub(super) fn receive(link: &mut UnixStream) -> Option<ToMonitor> {
        Some(match read(link)? {
            (b'D', signal) => ToMonitor::Deliver(SignalTarget::Command, signal),
            (b'G', signal) => ToMonitor::Deliver(SignalTarget::ItsGroup, signal),
            (b'H', _) => ToMonitor::HangUp,
            _ => ToMonitor::Bye,
        })
    }
}

fn write(link: &mut UnixStream, kind: u8, number: i32) -> io::Result<()> {
    let [a, b, c, d] = number.to_ne_bytes();
    link.write_all(&[kind, a, b, c, d])
}

fn read(link: &mut UnixStream) -> Option<(u8, i32)> {
    let mut message = Message::default();
    link.read_exact(&mut message).ok()?;
    let [kind, number @ ..] = message;
    Some((kind, i32::from_ne_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        for message in [
            ToLauncher::Began(4_000_000),
            ToLauncher::Failed(2),
            ToLauncher::NoTerminal,
            ToLauncher::Stopped(20),
            ToLauncher::HungUp,
            ToLauncher::Ended(ChildExit::Code(255)),
            ToLauncher::Ended(ChildExit::Signal(64)),
        ] {
            message.send(&mut here).unwrap();
            assert_eq!(ToLauncher::receive(&mut there), Some(message));
        }
        for message in [
            ToMonitor::Deliver(SignalTarget::Command, 64),
            ToMonitor::Deliver(SignalTarget::ItsGroup, 18),
            ToMonitor::HangUp,
            ToMonitor::Bye,
        ] {
            message.send(&mut there).unwrap();
            assert_eq!(ToMonitor::receive(&mut here), Some(message));
        }
        drop(here);
        assert_eq!(ToMonitor::receive(&mut there), None);
    }
}
