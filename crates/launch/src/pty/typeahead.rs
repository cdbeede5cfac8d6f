//! Holds back keys typed shortly before the command ends: the command's terminal would discard them, and the
//! next reader needs them.
//!
//! A full-screen program restores its terminal's modes just before it ends or stops, and may discard unread input
//! with that. Keys typed from then on stay on the user's terminal for a moment.

use super::pair::Master;
use std::time::{Duration, Instant};

/// A program needs 50 ms (measured) from the change of modes to its end, more on a busy machine. The price: after a
/// full-screen program, the first key for one that reads lines waits for this time.
const HOLD: Duration = Duration::from_millis(300);

/// A program may restore its modes for a moment only.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(super) struct Typeahead {
    mode: InputMode,
    /// No key is passed on before this time.
    held_until: Option<Instant>,
}

/// How the command reads its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputMode {
    /// In lines; it has never been raw.
    Lines,
    Raw,
    /// It was raw and is in lines since then.
    Restored(Instant),
}

impl InputMode {
    fn seen(self, is_raw: bool, now: Instant) -> InputMode {
        match self {
            _ if is_raw => InputMode::Raw,
            InputMode::Raw => InputMode::Restored(now),
            InputMode::Lines | InputMode::Restored(_) => self,
        }
    }

    /// Whether a key is for the next reader and not for the command.
    fn holds(self, now: Instant) -> bool {
        matches!(self, InputMode::Restored(since) if now.saturating_duration_since(since) < HOLD)
    }
}

impl Typeahead {
    pub(super) fn new() -> Typeahead {
        Typeahead { mode: InputMode::Lines, held_until: None }
    }

    /// Call it when a key can be read.
    pub(super) fn holds_key(&mut self, master: &Master) -> bool {
        let now = Instant::now();
        self.mode = self.mode.seen(master.is_raw(), now);
        self.held_until = self.mode.holds(now).then(|| now + LOOK_AGAIN);
        self.held_until.is_some()
    }

    pub(super) fn holds_for(&self) -> Option<Duration> {
        self.held_until?.checked_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_for_a_moment_after_the_modes_were_restored() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        // Time in ms, raw or not, and whether a key is held then.
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
            let mut mode = InputMode::Lines;
            for (time, is_raw, held) in moments {
                mode = mode.seen(*is_raw, at(*time));
                assert_eq!(mode.holds(at(*time)), *held, "{time} of {moments:?}");
            }
        }
    }
}
