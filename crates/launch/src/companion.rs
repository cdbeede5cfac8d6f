//! Work that the launcher does while the command runs, in either launch mode.

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Work to do while the command runs. It must never block: signals, and on a terminal every key, wait for it.
pub trait Companion {
    /// Wakes `attend` when readable; None when there is nothing to wait for.
    fn wakes(&self) -> Option<BorrowedFd<'_>>;
    /// The command has started as this process.
    fn began(&mut self, child: u32);
    /// The command has ended; nothing wakes any more.
    fn ended(&mut self);
    /// How soon it wants to be called after the command has shown something on its terminal; None: output does not matter.
    fn after_output(&self) -> Option<Duration> {
        None
    }
    /// Called when the descriptor is readable or the time that the last call asked for is over.
    /// Returns the time after which it wants to be called again.
    fn attend(&mut self) -> Option<Duration>;
}

/// A companion and the time of its next call, however often other events wake the launcher before.
pub(super) struct Attended<'a> {
    /// None once it has panicked: a defect there must not cost the command its terminal.
    companion: Option<&'a mut dyn Companion>,
    due: Option<Instant>,
}

impl<'a> Attended<'a> {
    pub(super) fn began(companion: &'a mut dyn Companion, child: u32) -> Attended<'a> {
        let mut attended = Attended { companion: Some(companion), due: None };
        attended.call(|companion| companion.began(child));
        attended.attend();
        attended
    }

    pub(super) fn ended(mut self) {
        self.call(|companion| companion.ended());
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.companion.as_ref()?.wakes()
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Output that follows before that call changes nothing.
    pub(super) fn output_came(&mut self) {
        let Some(soon) = self.companion.as_ref().and_then(|companion| companion.after_output()) else {
            return;
        };
        let soon = Instant::now() + soon;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    pub(super) fn attend_if(&mut self, readable: bool) {
        if readable || self.patience() == Some(Duration::ZERO) {
            self.attend();
        }
    }

    fn attend(&mut self) {
        let again = self.call(|companion| companion.attend()).flatten();
        self.due = again.map(|time| Instant::now() + time);
    }

    fn call<T>(&mut self, what: impl FnOnce(&mut dyn Companion) -> T) -> Option<T> {
        let companion = self.companion.take()?;
        let answer = catch_unwind(AssertUnwindSafe(|| what(&mut *companion))).ok()?;
        self.companion = Some(companion);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is attended to for the second time.
    struct Faulty(u32);

    impl Companion for Faulty {
        fn wakes(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn began(&mut self, _: u32) {}

        fn ended(&mut self) {
            unreachable!("it has panicked before");
        }

        fn attend(&mut self) -> Option<Duration> {
            self.0 += 1;
            assert!(self.0 < 2, "on purpose");
            Some(Duration::from_secs(60))
        }
    }

    /// Wants to be called after output, and seldom without.
    struct Reader;

    impl Companion for Reader {
        fn wakes(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn began(&mut self, _: u32) {}

        fn ended(&mut self) {}

        fn after_output(&self) -> Option<Duration> {
            Some(Duration::from_secs(60))
        }

        fn attend(&mut self) -> Option<Duration> {
            Some(Duration::from_secs(3600))
        }
    }

    #[test]
    fn output_brings_the_next_call_forward_once() {
        let mut reader = Reader;
        let mut attended = Attended::began(&mut reader, 1);
        let quiet = attended.due.unwrap();
        attended.output_came();
        let soon = attended.due.unwrap();
        assert!(quiet - soon > Duration::from_secs(3000));
        attended.output_came();
        assert_eq!(attended.due, Some(soon));
    }

    #[test]
    fn a_companion_that_panics_is_left_alone() {
        let mut faulty = Faulty(0);
        let mut attended = Attended::began(&mut faulty, 1);
        attended.attend_if(false);
        assert!(attended.patience().is_some());
        attended.attend_if(true);
        attended.attend_if(true);
        assert_eq!(attended.patience(), None);
        attended.ended();
        assert_eq!(faulty.0, 2);
    }
}
