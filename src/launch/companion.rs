//! Something to look after while a command runs, and a wall around it.

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// It must never block: signals wait meanwhile.
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

/// A companion that panics is left behind, and the command goes on as without it.
pub(super) struct Guarded<'a>(Option<&'a mut dyn Companion>);

impl<'a> Guarded<'a> {
    pub(super) fn new(companion: &'a mut dyn Companion) -> Guarded<'a> {
        Guarded(Some(companion))
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        let companion = self.0.as_deref()?;
        catch_unwind(AssertUnwindSafe(|| companion.wakes())).ok().flatten()
    }

    pub(super) fn began(&mut self, child: u32) {
        self.guard(|companion| companion.began(child));
    }

    pub(super) fn attend(&mut self) -> Option<Duration> {
        self.guard(|companion| companion.attend()).flatten()
    }

    pub(super) fn ended(&mut self) {
        self.guard(|companion| companion.ended());
    }

    fn guard<T>(&mut self, work: impl FnOnce(&mut dyn Companion) -> T) -> Option<T> {
        let companion = self.0.take()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(companion))).ok()?;
        self.0 = Some(companion);
        Some(done)
    }
}
