//! When a followed session is read, shown, and asked whether it is over.

use std::time::{Duration, Instant};

/// The shortest time between two pictures.
const PACE: Duration = Duration::from_millis(250);

/// Between two pictures of something that runs, and between two questions whether the session is over.
const TICK: Duration = Duration::from_secs(1);

/// The pause after reading and drawing, as a multiple of their time: a large session takes a tenth of a core at most.
const PAUSE: u32 = 9;

/// The pause after the question whether the session is over, as a multiple of its time.
const LONG_PAUSE: u32 = 199;

#[derive(Debug)]
pub(super) struct Pacing {
    /// The session files were written to since they were read.
    is_stale: bool,
    /// The window has changed.
    needs_picture: bool,
    earliest: Instant,
    shown_at: Instant,
    ask_at: Instant,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) reading: bool,
    pub(super) picture: bool,
    pub(super) question: bool,
}

impl Pacing {
    /// Everything is due at once.
    pub(super) fn new(now: Instant) -> Pacing {
        Pacing { is_stale: true, needs_picture: true, earliest: now, shown_at: now, ask_at: now }
    }

    pub(super) fn files_changed(&mut self) {
        self.is_stale = true;
    }

    pub(super) fn window_changed(&mut self) {
        self.needs_picture = true;
    }

    /// `ticks`: the picture shows the seconds of something that runs.
    pub(super) fn due(&self, now: Instant, ticks: bool) -> Due {
        let may_show = now >= self.earliest;
        let picture = self.is_stale || self.needs_picture || (ticks && now >= self.shown_at + TICK);
        Due { reading: may_show && self.is_stale, picture: may_show && picture, question: now >= self.ask_at }
    }

    /// The time until something is due, if nothing changes.
    pub(super) fn patience(&self, now: Instant, ticks: bool) -> Duration {
        let tick = ticks.then_some(self.shown_at + TICK);
        let change = (self.is_stale || self.needs_picture).then_some(now);
        let picture = tick.into_iter().chain(change).min().map(|at| at.max(self.earliest));
        picture.map_or(self.ask_at, |at| at.min(self.ask_at)).saturating_duration_since(now)
    }

    pub(super) fn shown(&mut self, begun: Instant, ended: Instant) {
        (self.is_stale, self.needs_picture, self.shown_at) = (false, false, ended);
        self.earliest = ended + PACE.max((ended - begun) * PAUSE);
    }

    pub(super) fn asked(&mut self, begun: Instant, ended: Instant) {
        self.ask_at = ended + TICK.max((ended - begun) * LONG_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Due = Due { reading: false, picture: false, question: false };

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn changes_are_shown_four_times_a_second_and_what_runs_once() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        assert_eq!(pacing.due(start, false), Due { reading: true, picture: true, question: true });
        pacing.shown(start, start + millis(10));
        pacing.asked(start + millis(9), start + millis(10));
        let table = [
            // When, whether the files changed, whether something runs; what is due, and the time to the next.
            (100, false, false, NOTHING, 910),
            (100, false, true, NOTHING, 910),
            (100, true, false, NOTHING, 160),
            (260, true, false, Due { reading: true, picture: true, question: false }, 0),
            (1_010, false, false, Due { question: true, ..NOTHING }, 0),
            (1_010, false, true, Due { picture: true, question: true, ..NOTHING }, 0),
        ];
        for (at, has_changed, ticks, due, next) in table {
            pacing.is_stale = has_changed;
            let now = start + millis(at);
            assert_eq!((pacing.due(now, ticks), pacing.patience(now, ticks)), (due, millis(next)), "{at} ms");
        }
    }

    #[test]
    fn costly_work_is_followed_by_a_long_pause() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        pacing.shown(start, start + millis(100));
        pacing.asked(start, start + millis(20));
        pacing.files_changed();
        assert_eq!(pacing.patience(start + millis(100), false), millis(900));
        pacing.is_stale = false;
        assert_eq!(pacing.patience(start + millis(20), false), millis(20 * 199));
        pacing.window_changed();
        assert_eq!(pacing.due(start + millis(1_000), false), Due { picture: true, ..NOTHING });
    }
}
