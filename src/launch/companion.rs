//! What is looked after while the command runs, whatever way it runs.

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Something to look after while the command runs. It must never block: signals wait meanwhile, and on a
/// terminal every key.
pub trait Companion {
    /// Wakes `attend` when readable; None when there is nothing to wait for.
    fn wakes(&self) -> Option<BorrowedFd<'_>>;
    /// The command has started as this process.
    fn began(&mut self, child: u32);
    /// Called when the descriptor is readable or the time that the last call asked for is over.
    /// Returns the time after which it wants to be called again.
    fn attend(&mut self) -> Option<Duration>;
    /// The command has ended; nothing wakes any more.
    fn ended(&mut self);
}

/// A companion and when it wants to be called again, however often other things wake us before.
pub(super) struct Attended<'a> {
    /// None once it has panicked: the command goes on as without it.
    companion: Option<&'a mut dyn Companion>,
    due: Option<Instant>,
}

impl<'a> Attended<'a> {
    pub(super) fn began(companion: &'a mut dyn Companion, child: u32) -> Attended<'a> {
        let mut attended = Attended { companion: Some(companion), due: None };
        attended.guard(|companion| companion.began(child));
        attended.attend();
        attended
    }

    pub(super) fn ended(mut self) {
        self.guard(|companion| companion.ended());
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        let companion = self.companion.as_deref()?;
        catch_unwind(AssertUnwindSafe(|| companion.wakes())).ok().flatten()
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
        let again = self.guard(|companion| companion.attend()).flatten();
        self.due = again.map(|time| Instant::now() + time);
    }

    fn guard<T>(&mut self, work: impl FnOnce(&mut dyn Companion) -> T) -> Option<T> {
        let companion = self.companion.take()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(companion))).ok()?;
        self.companion = Some(companion);
        Some(done)
    }
}
