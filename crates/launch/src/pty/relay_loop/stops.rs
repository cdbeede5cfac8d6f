//! Stops and continues the launcher with the command.

use super::{RelayLoop, UserSide, is_ready};
use crate::pty::backchannel::SignalTarget;
use crate::pty::pair::SlaveSide;
use crate::signal_probe::SignalProbe;
use crate::signals::{Stops, stop_by};
use nix::libc;
use nix::poll::PollFlags;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The last output of a stopped command arrives within this time.
const LAST_OUTPUT: Duration = Duration::from_millis(5);

/// How long a stop waits for a user's terminal that takes no output.
const SLOW_TERMINAL: Duration = Duration::from_secs(1);

impl RelayLoop {
    /// Stops the launcher too: the shell sees a stopped job, and the terminal has its own modes.
    pub(super) fn stop_too(&mut self, signal: i32, probe: &mut SignalProbe) {
        self.show_last_output();
        if self.user == UserSide::Gone {
            // The window closed during the stop: the command has its hang-up, and no shell waits for a stop.
            return;
        }
        self.terminal.restore();
        let who = if signal == libc::SIGSTOP { Stops::Us } else { Stops::Job };
        stop_by(signal, who);
        let mut woken = self.signals.woken();
        // `bg` continues the launcher too, and the command would then stop at its first terminal access.
        while woken.by_cont && woken.others.is_empty() && !self.has_message() && !self.terminal.is_ours() {
            stop_by(libc::SIGTTOU, Stops::Job);
            woken = self.signals.woken();
        }
        for arrived in woken.others {
            self.act_on(arrived, probe);
        }
        if !self.has_message() {
            self.take_terminal_again();
        }
    }

    pub(super) fn take_terminal_again(&mut self) {
        // In the background the kernel would stop the launcher here, and it could not forward signals.
        if self.terminal.is_ours() {
            self.terminal.raw_again();
        }
        self.resize();
        self.deliver(SignalTarget::ItsGroup, libc::SIGCONT);
    }

    fn has_message(&self) -> bool {
        is_ready(self.link.as_fd(), PollFlags::POLLIN, Duration::ZERO)
    }

    fn show_last_output(&mut self) {
        let until = Instant::now() + SLOW_TERMINAL;
        while Instant::now() < until {
            if self.output.is_waiting() {
                is_ready(self.terminal.as_fd(), PollFlags::POLLOUT, SLOW_TERMINAL);
                self.show_output();
                continue;
            }
            let Some(master) = self.master.as_ref().filter(|_| self.command == SlaveSide::Open) else {
                return;
            };
            if !is_ready(master.as_fd(), PollFlags::POLLIN, LAST_OUTPUT) {
                return;
            }
            self.read_output();
        }
    }
}
