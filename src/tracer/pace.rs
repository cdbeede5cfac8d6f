//! When a target gets the next update.

use std::time::{Duration, Instant};

/// The shortest time from one update to the next.
const USUAL: Duration = Duration::from_secs(1);

/// How many times as long as the work for an update the tracer leaves the CPU to others: 5 % of a core at most.
const REST: u32 = 20;

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub due: Instant,
    /// Failures since the last success.
    failures: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { due: now, failures: 0 }
    }

    /// An update began at this time, and its preparation took so long.
    pub(super) fn began(&mut self, at: Instant, work: Duration) {
        self.due = at + USUAL.max(work * REST);
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2_u32.pow(self.failures.min(8));
        self.failures += 1;
        self.due = self.due.max(now + pause.min(LONGEST_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_comes_once_a_second_and_later_after_much_work_and_after_failures() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let due = |pace: &Pace| (pace.due - start).as_millis();
        assert_eq!(due(&pace), 0);
        pace.began(start, Duration::from_millis(10));
        assert_eq!(due(&pace), 1000);
        pace.began(start, Duration::from_millis(200));
        assert_eq!(due(&pace), 4000);
        let pauses = [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
        let mut pace = Pace::new(start);
        for expected in pauses {
            pace.failed(start);
            assert_eq!(due(&pace), expected);
        }
        pace = Pace { due: start, ..pace };
        pace.succeeded();
        pace.failed(start);
        assert_eq!(due(&pace), 2000);
    }
}
