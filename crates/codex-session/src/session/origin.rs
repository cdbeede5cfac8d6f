//! The origin of a line: whether Codex copied it from another thread's file, and when it was written.

use crate::rollout::event::Event;
use crate::rollout::line::RolloutLine;
use crate::rollout::path::time_of;
use crate::rollout::rollout_item::RolloutItem;
use crate::rollout::session_meta::SessionMeta;
use crate::thread::ThreadId;
use jiff::{SignedDuration, Timestamp};

/// Copied lines follow each other within this time; the user's next prompt comes later.
const PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// Finds the lines that Codex copied from another thread's file.
///
/// A resume in 0.36 and a fork or sub-agent up to 0.149 begin with a copy of the other thread's file, its
/// `session_meta` second. Most copies are stamped with the time of copying, some keep their old times.
#[derive(Clone, Debug, Default)]
pub(super) enum Copied {
    /// The second line decides.
    #[default]
    NotYet,
    Until(Until),
    Over,
}

#[derive(Clone, Debug)]
pub(super) struct Until {
    /// The ordinal of the thread's own first line, where Codex records it (0.150 and later).
    ordinal: Option<u64>,
    /// When the thread was made.
    made: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Copied {
    /// Whether the line is copied. Takes the lines of a file in their order. `own` is the first `session_meta`, once
    /// there was one.
    pub(super) fn takes(&mut self, line: &RolloutLine, own: Option<&SessionMeta>) -> bool {
        let Some(own) = own else { return false };
        if let Copied::Until(until) = self
            && until.takes(line)
        {
            return true;
        }
        match (&*self, &line.item) {
            (Copied::NotYet, RolloutItem::SessionMeta(meta)) if meta.id != own.id => {
                *self = Copied::Until(Until {
                    ordinal: own.subagent_history_start_ordinal,
                    made: ThreadId::parse(&own.id)
                        .and_then(|thread| time_of(&thread))
                        .or_else(|| own.timestamp.as_ref()?.parse().ok()),
                    last: line.timestamp,
                });
                true
            }
            // Codex may repeat the same one, with a field more (0.140).
            (Copied::NotYet, RolloutItem::SessionMeta(_) | RolloutItem::Unknown { .. }) => false,
            _ => {
                *self = Copied::Over;
                false
            }
        }
    }
}

impl Until {
    fn takes(&mut self, line: &RolloutLine) -> bool {
        if let (Some(start), Some(ordinal)) = (self.ordinal, line.ordinal) {
            return ordinal < start;
        }
        if let RolloutItem::Event(Event::TaskStarted(started)) = &line.item
            && let Some(began) =
                started.turn_id.as_deref().and_then(ThreadId::parse).as_ref().and_then(time_of)
            && let Some(made) = self.made
        {
            // A turn's id holds when it really began.
            return began < made;
        }
        let (Some(at), Some(last)) = (line.timestamp, self.last) else { return true };
        let keeps_its_time = self.made.is_some_and(|made| at < made);
        if keeps_its_time {
            return true;
        }
        self.last = self.last.max(Some(at));
        at.duration_since(last) <= PAUSE
    }
}

/// Two concurrent writers may write out of order (81 ms measured); a smaller step back than this is no change of
/// the clock.
const OF_ONE_MOMENT: SignedDuration = SignedDuration::from_secs(1);

/// The times of lines on a clock that never goes back: Codex uses the system clock, which a user may set back.
///
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
    use serde_json::{Value, json};

    /// Made at 10:04:14.526.
    const OWN: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    /// Made an hour before.
    const PARENT: &str = "01a2027f-b8be-7ee3-8243-251c871b1d4f";

    fn line(at: &str, ordinal: Option<u64>, kind: &str, payload: Value) -> RolloutLine {
        let mut line = json!({"timestamp": format!("2026-11-22T{at}Z"), "type": kind, "payload": payload});
        if let Some(ordinal) = ordinal {
            line["ordinal"] = json!(ordinal);
        }
        RolloutLine::parse(line.to_string().as_bytes()).unwrap()
    }

    fn meta(at: &str, id: &str) -> RolloutLine {
        line(at, None, "session_meta", json!({"id": id}))
    }

    fn prompt(at: &str) -> RolloutLine {
        line(at, None, "event_msg", json!({"type": "user_message", "message": "go"}))
    }

    fn begun(at: &str, turn_id: &str) -> RolloutLine {
        line(at, None, "event_msg", json!({"type": "task_started", "turn_id": turn_id}))
    }

    fn copied(own: &SessionMeta, lines: &[RolloutLine]) -> Vec<bool> {
        let mut copied = Copied::default();
        lines.iter().map(|line| copied.takes(line, Some(own))).collect()
    }

    #[test]
    fn a_copy_ends_where_the_threads_own_begins() {
        let own = SessionMeta { id: OWN.into(), ..SessionMeta::default() };
        let table = [
            ("nothing copied", vec![prompt("10:04:15"), meta("10:04:15", PARENT)], vec![false, false]),
            ("its own again", vec![meta("10:04:15", OWN), meta("10:04:15", PARENT)], vec![false, true]),
            (
                "stamped anew, then a prompt",
                vec![
                    meta("10:04:15.000", PARENT),
                    prompt("10:04:15.090"),
                    prompt("10:04:15.150"),
                    prompt("10:04:17"),
                ],
                vec![true, true, true, false],
            ),
            (
                "its old times kept",
                vec![meta("09:04:15", PARENT), prompt("09:10:00"), prompt("10:03:00"), prompt("10:05:00")],
                vec![true, true, true, false],
            ),
            (
                "a turn of its own in the same moment",
                vec![
                    meta("10:04:15", PARENT),
                    begun("10:04:15", "01a20280-b8be-7ee3-8243-251c871b1d4f"),
                    prompt("10:04:15"),
                    begun("10:04:15", "01a202b6-a740-7ee3-8243-251c871b1d4f"),
                    prompt("10:04:15"),
                ],
                vec![true, true, true, false, false],
            ),
        ];
        for (name, lines, takes) in table {
            assert_eq!(copied(&own, &lines), takes, "{name}");
        }
    }

    #[test]
    fn a_recorded_start_of_a_sub_agents_own_history_ends_the_copy() {
        let own =
            SessionMeta { id: OWN.into(), subagent_history_start_ordinal: Some(3), ..SessionMeta::default() };
        let prompt = |at: &str, ordinal| {
            line(at, Some(ordinal), "event_msg", json!({"type": "error", "message": "x"}))
        };
        let parent = line("10:04:15", Some(1), "session_meta", json!({"id": PARENT}));
        let lines = [parent, prompt("10:09:00", 2), prompt("10:09:00", 3), prompt("10:09:00", 1)];
        assert_eq!(copied(&own, &lines), [true, true, false, false]);
    }

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
