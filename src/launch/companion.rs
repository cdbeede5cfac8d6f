//! What is looked after while the command runs, whatever way it runs.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Something to look after while the command runs. It must never block: signals wait meanwhile, and on a
/// terminal every key.
pub trait Companion {
    /// Wakes `attend` when readable; None when there is nothing to wait for.
    fn wakes(&self) -> Option<BorrowedFd<'_>>;
    /// The command has started as this process.
    fn began(&mut self, child: u32);
    /// The command has ended; nothing wakes any more.
    fn ended(&mut self);
    /// Called when the descriptor is readable or the time that the last call asked for is over.
    /// Returns the time after which it wants to be called again.
    fn attend(&mut self) -> Option<Duration>;
}

/// A companion and when it wants to be called again, however often other things wake us before.
pub(super) struct Attended<'a> {
    companion: &'a mut dyn Companion,
    due: Option<Instant>,
}

impl<'a> Attended<'a> {
    pub(super) fn began(companion: &'a mut dyn Companion, child: u32) -> Attended<'a> {
        companion.began(child);
        let mut attended = Attended { companion, due: None };
        attended.attend();
        attended
    }

    pub(super) fn ended(self) {
        self.companion.ended();
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.companion.wakes()
    }

    /// How long nobody need look.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    pub(super) fn attend_if(&mut self, readable: bool) {
        if readable || self.patience() == Some(Duration::ZERO) {
            self.attend();
        }
    }

    fn attend(&mut self) {
        self.due = self.companion.attend().map(|time| Instant::now() + time);
    }
}
