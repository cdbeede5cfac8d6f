//! The times of lines on a clock that never goes back: Codex uses the system clock, which a user may set back.

use crate::rollout::event::Event;
use crate::rollout::line::RolloutLine;
use crate::rollout::rollout_item::RolloutItem;
use jiff::{SignedDuration, Timestamp};

/// Two concurrent writers may write out of order (81 ms measured); a smaller step back than this is no change of
/// the clock.
const OF_ONE_MOMENT: SignedDuration = SignedDuration::from_secs(1);

/// After the clock is put back, adds the difference to all times: the order of the file holds, and durations stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    last: Option<Timestamp>,
    put_back: SignedDuration,
}

impl Timeline {
    /// Sets when the thread was made: no line is older.
    pub(super) fn begin(&mut self, made: Option<Timestamp>) {
        self.last = self.last.max(made);
    }

    /// Corrects the times of one of the thread's own lines. Takes lines in the order of the file.
    pub(super) fn set(&mut self, line: &mut RolloutLine) {
        // The timestamp of an unknown kind may mean another time.
        if matches!(line.item, RolloutItem::Unknown { .. }) {
            return;
        }
        let Some(written) = line.timestamp else { return };
        let at = self.at(written);
        line.timestamp = Some(at);
        if let RolloutItem::Event(Event::ItemCompleted(completed)) = &mut line.item
            && self.put_back > SignedDuration::ZERO
        {
            let late = i64::try_from(self.put_back.as_millis()).unwrap_or(i64::MAX);
            let latest = written.as_millisecond().saturating_add(1000);
            // What began before the clock was put back has a time later than the line's.
            let set = |millis: i64| if millis <= latest { millis.saturating_add(late) } else { millis };
            completed.started_at_ms = completed.started_at_ms.map(set);
            completed.completed_at_ms = completed.completed_at_ms.map(set);
        }
    }

    fn at(&mut self, written: Timestamp) -> Timestamp {
        let last = self.last.unwrap_or(written);
        let mut at = written.checked_add(self.put_back).unwrap_or(written);
        if written >= last {
            // The clock has passed the last time again: the correction ends.
            (at, self.put_back) = (written, SignedDuration::ZERO);
        } else if last.duration_since(at) > OF_ONE_MOMENT {
            (at, self.put_back) = (last, last.duration_since(written));
        }
        self.last = Some(last.max(at));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_clock_that_is_put_back_goes_on_from_where_it_was() {
        let table = [
            ("as it is", vec![10, 11, 20], vec![10, 11, 20]),
            ("put back an hour", vec![10, 4000, 401, 410, 420], vec![10, 4000, 4000, 4009, 4019]),
            ("put back twice", vec![10, 5000, 1000, 1010, 500, 505], vec![10, 5000, 5000, 5010, 5010, 5015]),
            ("and taken up long after", vec![10, 4000, 401, 9000, 9001], vec![10, 4000, 4000, 9000, 9001]),
            ("before the session", vec![2, 3], vec![5, 6]),
        ];
        for (name, written, expected) in table {
            let mut timeline = Timeline::default();
            timeline.begin(Some(second(5)));
            let at: Vec<i64> = written.iter().map(|it| timeline.at(second(*it)).as_second()).collect();
            assert_eq!(at, expected, "{name}");
        }
    }

    #[test]
    fn concurrent_lines_keep_their_times() {
        let mut timeline = Timeline::default();
        for (written, millis) in [(0, 0), (-81, -81), (5, 5)] {
            let at = second(100).checked_add(SignedDuration::from_millis(written)).unwrap();
            assert_eq!(timeline.at(at).duration_since(second(100)), SignedDuration::from_millis(millis));
        }
    }
}
