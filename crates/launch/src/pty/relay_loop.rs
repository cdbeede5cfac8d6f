//! The launcher's loop while the command runs: bytes both ways, window size, signals, and the end.

mod arrivals;
mod parting;
mod stops;

use super::backchannel::{ToLauncher, ToMonitor};
use super::pair::{Master, SlaveSide};
use super::ready::{Ready, can_read, is_invalid, is_ready, wanted};
use super::relay::{Flow, Side};
use super::terminal::UserTerminal;
use super::typeahead::Typeahead;
use crate::companion::Attended;
use crate::ended::Ended;
use crate::exit::ChildExit;
use crate::mode::Interface;
use crate::signal_probe::SignalProbe;
use crate::signals::SignalPipe;
use nix::libc;
use nix::poll::PollFlags;
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long after the command's end the launcher waits for output of other processes on its terminal. The
/// command's own output is there by then, and there is no wait when the terminal closed with the command.
const DRAIN: Duration = Duration::from_millis(60);

/// How long the launcher keeps the command's terminal open for the monitor's SIGHUP to arrive first.
const HANG_UP: Duration = Duration::from_secs(2);

pub(super) struct RelayLoop {
    terminal: UserTerminal,
    user: UserSide,
    /// None once the user's terminal is gone: dropping it hangs up the command's terminal too.
    master: Option<Master>,
    command: SlaveSide,
    signals: SignalPipe,
    link: UnixStream,
    monitor: Pid,
    interface: Interface,
    keys: Flow,
    typeahead: Typeahead,
    output: Flow,
    end: Option<(ChildExit, Instant)>,
    /// What remains of `DRAIN`.
    drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserSide {
    There,
    Gone,
}

impl RelayLoop {
    pub(super) fn new(
        terminal: UserTerminal,
        master: Master,
        signals: SignalPipe,
        (link, monitor): (UnixStream, Pid),
        interface: Interface,
    ) -> RelayLoop {
        RelayLoop {
            terminal,
            user: UserSide::There,
            master: Some(master),
            command: SlaveSide::Open,
            signals,
            link,
            monitor,
            interface,
            keys: Flow::new(),
            typeahead: Typeahead::new(),
            output: Flow::new(),
            end: None,
            drain: DRAIN,
        }
    }

    pub(super) fn first_message(&mut self) -> io::Result<ToLauncher> {
        ToLauncher::receive(&mut self.link).ok_or_else(|| io::Error::other("the monitor ended at once"))
    }

    pub(super) fn run(mut self, mut probe: SignalProbe, attended: &mut Attended) -> Ended {
        self.resize();
        let (exit, at) = loop {
            if let Some(end) = self.end
                && self.is_drained()
            {
                break end;
            }
            let drains = self.is_draining();
            let began = Instant::now();
            let ready = self.wait(attended);
            if drains {
                self.drain = self.drain.saturating_sub(began.elapsed());
            }
            self.relay(&ready);
            if can_read(ready.master) {
                attended.output_came();
            }
            if ready.signals {
                while let Some(arrived) = self.signals.next() {
                    self.act_on(arrived, &mut probe);
                }
            }
            if ready.message {
                self.receive(&mut probe);
            }
            attended.attend_if(ready.companion);
        };
        // Only a raw terminal is reset: on a dumb terminal the interface first asks in lines.
        let is_raw = self.master.as_ref().is_some_and(Master::is_raw);
        if matches!(exit, ChildExit::Signal(_)) && self.interface == Interface::FullScreen && is_raw {
            self.terminal.undo_full_screen();
        }
        Ended { exit, at, signals: self.finish() }
    }

    /// The limit counts only while no output waits to be written: a slow terminal gets all of it.
    fn is_draining(&self) -> bool {
        self.end.is_some() && !self.output.is_waiting()
    }

    fn is_drained(&self) -> bool {
        let nothing_comes = self.master.is_none() || self.command != SlaveSide::Open || self.drain.is_zero();
        self.is_draining() && nothing_comes
    }

    fn wait(&self, attended: &Attended) -> Ready {
        let link = self.end.is_none().then(|| self.link.as_fd());
        let master = self.master.as_ref().map(AsFd::as_fd);
        Ready::wait(
            [
                (Some(self.signals.as_fd()), PollFlags::POLLIN),
                (link, PollFlags::POLLIN),
                (attended.wakes(), PollFlags::POLLIN),
                (Some(self.terminal.as_fd()), self.wanted_of_user()),
                (master, self.wanted_of_master()),
            ],
            self.patience(attended),
        )
    }

    fn wanted_of_user(&self) -> PollFlags {
        let takes_keys = !self.keys.is_waiting()
            && self.end.is_none()
            && self.master.is_some()
            && self.command == SlaveSide::Open
            && self.typeahead.holds_for().is_none();
        match self.user {
            UserSide::There => wanted(takes_keys, self.output.is_waiting()),
            UserSide::Gone => PollFlags::empty(),
        }
    }

    fn wanted_of_master(&self) -> PollFlags {
        match self.command.unpolled_for() {
            Some(_) => PollFlags::empty(),
            None => wanted(!self.output.is_waiting(), self.keys.is_waiting()),
        }
    }

    fn patience(&self, attended: &Attended) -> Option<Duration> {
        let drain = self.is_draining().then_some(self.drain);
        let looks = [self.command.unpolled_for(), self.typeahead.holds_for()];
        [attended.patience(), drain].into_iter().chain(looks).flatten().min()
    }

    fn relay(&mut self, ready: &Ready) {
        if is_invalid(ready.user) {
            return self.hang_up();
        }
        if is_invalid(ready.master) {
            self.command = SlaveSide::Closed(Instant::now());
        }
        if can_read(ready.master) && !self.output.is_waiting() {
            self.read_output();
        } else if !ready.user.is_empty() && self.output.is_waiting() {
            self.show_output();
        }
        let has_keys = can_read(ready.user) && !self.keys.is_waiting() && self.end.is_none();
        if has_keys && !self.master.as_ref().is_some_and(|master| self.typeahead.holds_key(master)) {
            let side = self.keys.take_from(&self.terminal);
            // An empty read alone may be a Ctrl-D while another process has set the modes.
            let hung_up = side == Side::Empty && ready.user.contains(PollFlags::POLLHUP);
            if hung_up || side == Side::HungUp {
                return self.hang_up();
            }
            self.pass_keys();
        } else if !ready.master.is_empty() && self.keys.is_waiting() {
            self.pass_keys();
        }
    }

    fn read_output(&mut self) {
        let Some(master) = &self.master else { return };
        match self.output.take_from(master) {
            Side::Open => self.command = SlaveSide::Open,
            Side::HungUp | Side::Empty => self.command = SlaveSide::Closed(Instant::now()),
        }
        if self.output.is_waiting() {
            self.show_output();
        }
    }

    fn show_output(&mut self) {
        if self.user == UserSide::Gone {
            self.output.forget();
        } else if self.output.give_to(&self.terminal) == Side::HungUp {
            self.hang_up();
        }
    }

    fn pass_keys(&mut self) {
        match &self.master {
            Some(master) if self.keys.is_waiting() => drop(self.keys.give_to(master)),
            Some(_) => {}
            None => self.keys.forget(),
        }
    }

    /// The window was closed: the command gets a hang-up, as on that terminal itself.
    fn hang_up(&mut self) {
        self.user = UserSide::Gone;
        if self.end.is_none() {
            let _ = ToMonitor::HangUp.send(&mut self.link);
            self.await_hang_up();
        }
        self.master = None;
        self.output.forget();
        self.keys.forget();
    }

    /// A command that finds its terminal closed before it has the signal ends by an error of its own: Codex 0.171
    /// aborts. On the user's terminal the signal comes first.
    fn await_hang_up(&mut self) {
        let until = Instant::now() + HANG_UP;
        let left = || until.saturating_duration_since(Instant::now());
        while self.end.is_none() && is_ready(self.link.as_fd(), PollFlags::POLLIN, left()) {
            match ToLauncher::receive(&mut self.link) {
                Some(ToLauncher::HungUp) => return,
                Some(ToLauncher::Ended(exit)) => self.command_ended(exit),
                // The monitor continues a stopped command, so the launcher does not stop too.
                Some(_) => {}
                None => self.command_ended(ChildExit::Signal(libc::SIGHUP)),
            }
        }
    }

    fn receive(&mut self, probe: &mut SignalProbe) {
        match ToLauncher::receive(&mut self.link) {
            Some(ToLauncher::Stopped(signal)) => self.stop_too(signal, probe),
            Some(ToLauncher::Ended(exit)) => self.command_ended(exit),
            Some(_) => {}
            // The monitor was killed, so the command's exit is unknown; the kernel hangs up its terminal.
            None => self.command_ended(ChildExit::Signal(libc::SIGHUP)),
        }
    }

    fn command_ended(&mut self, exit: ChildExit) {
        self.end = Some((exit, Instant::now()));
        self.keys.forget();
        // Poll the master again: it may have been closed before.
        self.command = SlaveSide::Open;
    }
}
