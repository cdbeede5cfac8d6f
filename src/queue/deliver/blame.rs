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

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No trace was involved: there is no connection, or the user has to change credentials, an address, a version.
    Target,
    /// While this trace was searched for or sent: no answer, a broken connection, a server error, or an unknown
    /// answer.
    Trouble,
    /// The same, from a target that shows this trace when asked.
    TroubleButShown,
    /// The experiment of this trace is gone or not accessible.
    Experiment,
    /// The target refuses this trace for good.
    Refused,
    Archived,
    /// The delivery was asked to end.
    Stopped,
}

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

pub(super) fn blame(kind: FailureKind, others: Others) -> Blame {
    match (kind, others) {
        (FailureKind::Stopped, _) => Blame::Nobody,
        (FailureKind::Experiment, _) => Blame::Experiment,
        (FailureKind::Archived, _) => Blame::Archive,
        (FailureKind::Refused, _) => Blame::TraceForGood,
        (FailureKind::Target, _) | (_, Others::FailedInARow(MOST_IN_A_ROW..)) => Blame::Target,
        (FailureKind::TroubleButShown, _) | (FailureKind::Trouble, Others::Taken) => Blame::Trace,
        (FailureKind::Trouble, Others::FailedInARow(_)) => Blame::Open,
    }
}

/// The kind of an exporter's failure.
pub(super) fn classify(error: &ExportError) -> FailureKind {
    match error {
        ExportError::Transient { .. } | ExportError::Target(_) => FailureKind::Target,
        ExportError::Unclear { sign: Sign::None, .. } => FailureKind::Trouble,
        ExportError::Unclear { sign: Sign::ShowsTrace, .. } => FailureKind::TroubleButShown,
        ExportError::Experiment(_) => FailureKind::Experiment,
        ExportError::Trace(_) => FailureKind::Refused,
        ExportError::Archived(_) => FailureKind::Archived,
        ExportError::Stopped => FailureKind::Stopped,
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

/// How long a trace of this size may take, given the time `left` for failed tries.
pub(super) fn allotted(turn: Slot, left: Duration, bytes: u64) -> Duration {
    let share = match turn {
        Slot::BeforeOthers => (left / SHARE).min(LONGEST_BEFORE_OTHERS),
        Slot::Last => left.min(LONGEST_ALONE),
        Slot::Again { waiting } => (left / waiting.max(1)).min(LONGEST_AT_LAST),
    };
    share.max(SHORTEST) + for_size(bytes)
}

/// Whether a failure counts: the target answered in time, or the time allotted was long enough.
pub(super) fn is_fair(took: Duration, allotted: Duration, bytes: u64) -> bool {
    took < allotted || allotted >= FAIR + for_size(bytes)
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
        let table = [
            (FailureKind::Target, FailedInARow(1), Blame::Target),
            (FailureKind::Target, Taken, Blame::Target),
            (FailureKind::Trouble, FailedInARow(1), Blame::Open),
            (FailureKind::Trouble, FailedInARow(ENOUGH - 1), Blame::Open),
            (FailureKind::Trouble, FailedInARow(ENOUGH), Blame::Target),
            (FailureKind::Trouble, FailedInARow(u32::MAX), Blame::Target),
            (FailureKind::Trouble, Taken, Blame::Trace),
            (FailureKind::TroubleButShown, FailedInARow(1), Blame::Trace),
            (FailureKind::TroubleButShown, FailedInARow(ENOUGH), Blame::Target),
            (FailureKind::TroubleButShown, Taken, Blame::Trace),
            (FailureKind::Refused, FailedInARow(1), Blame::TraceForGood),
            (FailureKind::Refused, Taken, Blame::TraceForGood),
            (FailureKind::Archived, FailedInARow(ENOUGH), Blame::Archive),
            (FailureKind::Experiment, FailedInARow(ENOUGH), Blame::Experiment),
            (FailureKind::Experiment, Taken, Blame::Experiment),
            (FailureKind::Stopped, FailedInARow(1), Blame::Nobody),
            (FailureKind::Stopped, Taken, Blame::Nobody),
        ];
        for (kind, others, expected) in table {
            assert_eq!(blame(kind, others), expected, "{kind:?} {others:?}");
        }
    }

    #[test]
    fn a_hanging_trace_leaves_most_of_the_time_to_others() {
        let seconds = |turn, left, bytes| allotted(turn, Duration::from_secs(left), bytes).as_secs_f64();
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
        for (turn, left, bytes, expected) in table {
            assert_eq!(seconds(turn, left, bytes), expected, "{turn:?} {left} {bytes}");
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
            assert_eq!(is_fair(took, allotted, bytes), expected, "{took:?} {allotted:?} {bytes}");
        }
    }
}
