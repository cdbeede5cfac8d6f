//! When a target gets the next update.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::time::{Duration, Instant};

/// The shortest time from one update to the next.
const USUAL: Duration = Duration::from_secs(1);

/// How many times as long as the CPU time of an update the tracer leaves the CPU to others: 4 % of a core at most, and
/// below 5 % with the sender's work, for each target.
const REST: u32 = 25;

/// The same where a thread came into memory: its whole file is read and its whole trace is made, once.
const REST_AFTER_LOAD: u32 = 3;

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub due: Instant,
    /// Failures since the last success.
    failures: u32,
}

/// The CPU time that the preparation of an update took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Update(Duration),
    /// A thread came into memory.
    Load(Duration),
}

/// What this thread has had of the CPU. On a busy machine the time that passes is no measure of the work.
pub(super) fn cpu_time() -> Duration {
    #[cfg(target_os = "linux")]
    let who = UsageWho::RUSAGE_THREAD;
    #[cfg(not(target_os = "linux"))]
    let who = UsageWho::RUSAGE_SELF;
    let Ok(usage) = getrusage(who) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { due: now, failures: 0 }
    }

    /// An update began at this time.
    pub(super) fn began(&mut self, at: Instant, work: Work) {
        let rest = match work {
            Work::Update(time) => time * REST,
            Work::Load(time) => time * REST_AFTER_LOAD,
        };
        self.due = at + USUAL.max(rest);
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
        let table = [
            (Work::Update(Duration::from_millis(10)), 1000),
            (Work::Update(Duration::from_millis(200)), 5000),
            (Work::Load(Duration::from_millis(200)), 1000),
            (Work::Load(Duration::from_millis(900)), 2700),
        ];
        for (work, expected) in table {
            pace.began(start, work);
            assert_eq!(due(&pace), expected, "{work:?}");
        }
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
