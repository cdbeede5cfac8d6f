//! Keys typed ahead of the command's end: passed on to its terminal they would be lost to whoever reads next.
//!
//! A full-screen program puts its terminal's modes right just before it ends or stops; Codex drops with that what it
//! has not read. What is typed from then on stays on the user's terminal for a moment.

use super::pair::Master;
use std::time::{Duration, Instant};

/// Codex takes a twentieth of a second from its modes to its end; more on a busy machine. Somebody who types to
/// a program that reads lines, after one that was full-screen, waits for this once.
const HOLD: Duration = Duration::from_millis(300);

/// A program may put its modes right for a moment only.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whether keys are passed on.
pub(super) struct Ahead {
    manner: Manner,
    /// No key is passed on before this.
    held_until: Option<Instant>,
}

/// How the command reads its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As a program that has never been full-screen.
    Lines,
    Raw,
    /// It was raw, and has been seen no more so since then.
    PutRight(Instant),
}

impl Manner {
    fn seen(self, is_raw: bool, now: Instant) -> Manner {
        match self {
            _ if is_raw => Manner::Raw,
            Manner::Raw => Manner::PutRight(now),
            Manner::Lines | Manner::PutRight(_) => self,
        }
    }

    /// Whether a key is the next reader's rather than the command's.
    fn holds(self, now: Instant) -> bool {
        matches!(self, Manner::PutRight(since) if now.saturating_duration_since(since) < HOLD)
    }
}

impl Ahead {
    pub(super) fn new() -> Ahead {
        Ahead { manner: Manner::Lines, held_until: None }
    }

    /// Asked when there is a key to be read.
    pub(super) fn holds_now(&mut self, master: &Master) -> bool {
        let now = Instant::now();
        self.manner = self.manner.seen(master.is_raw(), now);
        self.held_until = self.manner.holds(now).then(|| now + LOOK_AGAIN);
        self.held_until.is_some()
    }

    /// How long no key need be looked for.
    pub(super) fn holds_for(&self) -> Option<Duration> {
        self.held_until?.checked_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_for_a_moment_after_the_modes_were_put_right() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        // What was seen when, and whether a key is held then.
        let table: [&[(u64, bool, bool)]; 4] = [
            &[(0, false, false), (10, false, false)],
            &[(0, false, false), (10, true, false), (20, true, false)],
            &[
                (0, true, false),
                (10, false, true),
                (100, false, true),
                (311, false, false),
                (900, false, false),
            ],
            &[
                (0, true, false),
                (10, false, true),
                (20, true, false),
                (400, false, true),
                (701, false, false),
            ],
        ];
        for moments in table {
            let mut manner = Manner::Lines;
            for (time, is_raw, held) in moments {
                manner = manner.seen(*is_raw, at(*time));
                assert_eq!(manner.holds(at(*time)), *held, "{time} of {moments:?}");
            }
        }
    }
}
