//! Pure decisions: whether a failed try is the trace's fault, its target's, or not known yet.
//!
//! No trace may block its target. A failure before any trace is involved is the target's at once. A failure
//! while the target takes a trace is decided by the results of the next traces.

use mlflow_store::exporter::{ExportError, Sign};
use std::time::Duration;

/// This many different traces in a row, none of which failed before, prove that the target is down. A server
/// that refuses one trace in ten at random is called down by this once in a hundred million traces.
pub(super) const MOST_IN_A_ROW: u32 = 8;

/// How long a drain without a budget may spend on failed tries before it shortens the next ones.
pub(super) const ALLOWANCE: Duration = Duration::from_secs(5 * 60);

/// One trace may take this fraction of the time left while others wait, so that a few hanging ones leave most
/// of it.
const SHARE: u32 = 4;

/// A server's first spans take MLflow 4 s with a network, and 11 s without one.
const LONGEST_BEFORE_OTHERS: Duration = Duration::from_secs(10);

/// For the last trace; another launch may put one at any time.
const LONGEST_ALONE: Duration = Duration::from_secs(30);

/// For a trace that was cut off and never failed before: the timeout of MLflow's own client.
const LONGEST_AT_LAST: Duration = Duration::from_secs(120);

/// A healthy server answers a small trace in less.
const SHORTEST: Duration = Duration::from_secs(1);

/// A timeout after less than this does not count as the trace's failure.
const FAIR: Duration = Duration::from_secs(3);

/// The slowest supported connection, in bytes per second.
const SLOWEST: u64 = 64 << 10;

/// The results of the target's other traces in this drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// The target took one, and fewer than `MOST_IN_A_ROW` failed since.
    Taken,
    /// Number of consecutive failures, including this one; traces that failed alone before do not count.
    FailedInARow(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The target pauses.
    Target,
    /// The trace waits, and the try counts against it.
    Trace,
    /// The trace is quarantined.
    TraceForGood,
    /// The session continues in another trace.
    Archive,
    /// Not known yet: the trace waits, and the result of the next trace decides.
    Open,
    /// The trace waits for its experiment; other traces are not affected.
    Experiment,
    Nobody,
}

pub(super) fn blame(error: &ExportError, others: Others) -> Blame {
    match (error, others) {
        (ExportError::Stopped, _) => Blame::Nobody,
        (ExportError::Experiment(_), _) => Blame::Experiment,
        (ExportError::Archived(_), _) => Blame::Archive,
        (ExportError::Trace(_), _) => Blame::TraceForGood,
        // No trace was involved: there is no connection, or the user has to change credentials, an address, a version.
        (ExportError::Transient { .. } | ExportError::Target(_), _) => Blame::Target,
        (ExportError::Unclear { .. }, Others::FailedInARow(MOST_IN_A_ROW..)) => Blame::Target,
        (ExportError::Unclear { sign: Sign::ShowsTrace, .. }, _)
        | (ExportError::Unclear { .. }, Others::Taken) => Blame::Trace,
        (ExportError::Unclear { sign: Sign::None, .. }, Others::FailedInARow(_)) => Blame::Open,
    }
}

/// The position of a trace among those to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Other traces for its target follow.
    BeforeOthers,
    Last,
    /// It was cut off before, and the others were tried since; `waiting` traces, this one included, get
    /// another try.
    Again {
        waiting: u32,
    },
}

/// One failed try.
#[derive(Clone, Copy)]
pub(super) struct Tried {
    pub(super) slot: Slot,
    pub(super) took: Duration,
    /// None without a limit.
    pub(super) allotted: Option<Duration>,
    pub(super) bytes: u64,
}

impl Tried {
    /// Whether the failure counts: the target answered in time, or the time allotted was long enough.
    pub(super) fn is_fair(&self) -> bool {
        let is_long = |allotted| allotted >= FAIR + for_size(self.bytes);
        self.allotted.is_none_or(|allotted| self.took < allotted || is_long(allotted))
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.allotted.is_some_and(|allotted| self.took >= allotted)
    }
}

/// How long a trace of this size may take, given the time `left` for failed tries.
pub(super) fn allotted(slot: Slot, left: Duration, bytes: u64) -> Duration {
    let share = match slot {
        Slot::BeforeOthers => (left / SHARE).min(LONGEST_BEFORE_OTHERS),
        Slot::Last => left.min(LONGEST_ALONE),
        Slot::Again { waiting } => (left / waiting.max(1)).min(LONGEST_AT_LAST),
    };
    share.max(SHORTEST) + for_size(bytes)
}

fn for_size(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_without_a_trace_or_with_many_are_the_targets_fault() {
        use Others::{FailedInARow, Taken};
        const ENOUGH: u32 = MOST_IN_A_ROW;
        let unclear = |sign| ExportError::Unclear { reason: "500".into(), after: None, sign };
        let (trouble, shown) = (unclear(Sign::None), unclear(Sign::ShowsTrace));
        let (target, refused) = (ExportError::Target("401".into()), ExportError::Trace("413".into()));
        let (archived, experiment) =
            (ExportError::Archived("archived".into()), ExportError::Experiment("gone".into()));
        let table = [
            (&ExportError::transient("away"), FailedInARow(1), Blame::Target),
            (&target, FailedInARow(1), Blame::Target),
            (&target, Taken, Blame::Target),
            (&trouble, FailedInARow(1), Blame::Open),
            (&trouble, FailedInARow(ENOUGH - 1), Blame::Open),
            (&trouble, FailedInARow(ENOUGH), Blame::Target),
            (&trouble, FailedInARow(u32::MAX), Blame::Target),
            (&trouble, Taken, Blame::Trace),
            (&shown, FailedInARow(1), Blame::Trace),
            (&shown, FailedInARow(ENOUGH), Blame::Target),
            (&shown, Taken, Blame::Trace),
            (&refused, FailedInARow(1), Blame::TraceForGood),
            (&refused, Taken, Blame::TraceForGood),
            (&archived, FailedInARow(ENOUGH), Blame::Archive),
            (&experiment, FailedInARow(ENOUGH), Blame::Experiment),
            (&experiment, Taken, Blame::Experiment),
            (&ExportError::Stopped, FailedInARow(1), Blame::Nobody),
            (&ExportError::Stopped, Taken, Blame::Nobody),
        ];
        for (error, others, expected) in table {
            assert_eq!(blame(error, others), expected, "{error:?} {others:?}");
        }
    }

    #[test]
    fn a_hanging_trace_leaves_most_of_the_time_to_others() {
        let seconds = |slot, left, bytes| allotted(slot, Duration::from_secs(left), bytes).as_secs_f64();
        let table = [
            (Slot::BeforeOthers, 20, 0, 5.0),
            (Slot::BeforeOthers, 300, 0, 10.0),
            (Slot::BeforeOthers, 0, 0, 1.0),
            (Slot::BeforeOthers, 20, 64 << 20, 1029.0),
            (Slot::Last, 20, 0, 20.0),
            (Slot::Last, 900, 0, 30.0),
            (Slot::Last, 0, 0, 1.0),
            (Slot::Again { waiting: 1 }, 900, 0, 120.0),
            (Slot::Again { waiting: 4 }, 20, 0, 5.0),
        ];
        for (slot, left, bytes, expected) in table {
            assert_eq!(seconds(slot, left, bytes), expected, "{slot:?} {left} {bytes}");
        }
        let mut left = Duration::from_secs(20);
        for _ in 0..5 {
            left -= allotted(Slot::BeforeOthers, left, 0);
        }
        assert!(left > Duration::from_secs(4), "{left:?}");
    }

    #[test]
    fn a_timeout_that_was_too_short_does_not_count_as_failure() {
        let second = Duration::from_secs;
        let table = [
            (second(0), second(1), 0, true),
            (second(1), second(1), 0, false),
            (second(3), second(3), 0, true),
            (second(9), second(5), 0, true),
            (second(9), second(5), 64 << 20, false),
        ];
        for (took, allotted, bytes, expected) in table {
            let tried = Tried { slot: Slot::Last, took, allotted: Some(allotted), bytes };
            assert_eq!(tried.is_fair(), expected, "{took:?} {allotted:?} {bytes}");
        }
    }
}
