//! Signals that arrive at the launcher while the command runs, and the window's size.

use super::RelayLoop;
use crate::pty::backchannel::{SignalTarget, ToMonitor};
use crate::pty::pair::Resized;
use crate::signal_probe::{Reach, SignalProbe};
use crate::signals::{Arrived, Sender};
use nix::libc;
use std::time::Duration;

impl RelayLoop {
    pub(super) fn act_on(&mut self, arrived: Arrived, probe: &mut SignalProbe) {
        let target = match probe.reach_of(arrived) {
            Reach::UsAlone => SignalTarget::Command,
            Reach::Group => SignalTarget::ItsGroup,
        };
        let is_kernels = match arrived.from {
            Sender::Kernel => true,
            Sender::Unknown => target == SignalTarget::ItsGroup,
            Sender::Process => false,
        };
        match arrived.signal {
            libc::SIGCHLD if is_kernels => {}
            // Resizing makes the kernel signal the command. Where the window has its old size, a process may have sent the
            // signal to the whole group.
            libc::SIGWINCH if is_kernels => {
                if self.resize() == Resized::No && arrived.from == Sender::Unknown {
                    self.deliver(target, libc::SIGWINCH);
                }
            }
            // Only the launcher was stopped, not the command, and the shell has had the terminal since.
            libc::SIGCONT => self.take_terminal_again(),
            // The command has ended, and the launcher must end soon.
            _ if self.end.is_some() => {
                self.drain = Duration::ZERO;
                self.output.forget();
            }
            signal => self.deliver(target, signal),
        }
    }

    pub(super) fn resize(&self) -> Resized {
        match (&self.master, self.terminal.size()) {
            (Some(master), Ok(size)) => master.resize(size),
            _ => Resized::No,
        }
    }

    pub(super) fn deliver(&mut self, target: SignalTarget, signal: i32) {
        let _ = ToMonitor::Deliver(target, signal).send(&mut self.link);
    }
}
