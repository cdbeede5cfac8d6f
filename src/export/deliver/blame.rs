//! Pure decisions: whether a failed try is the trace's fault, its target's, or not known yet.
//!
//! No trace may block its target. A failure before any trace is involved is the target's at once. A failure
//! while the target takes a trace is decided by the results of the next traces.

use crate::export::{ExportError, Sign};
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

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connecting to the target, or looking up the experiment: no trace was involved.
    Greeting,
    /// Searching for this trace, or sending it.
    Taking,
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No answer, a broken connection, a server error, or an unknown answer.
    Trouble,
    /// The same, from a target that shows this trace when asked.
    TroubleButShown,
    /// Credentials, an address, a version: the user has to change something.
    Denied,
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

pub(super) fn blame(step: Step, kind: Kind, others: Others) -> Blame {
    match (step, kind, others) {
        (_, Kind::Stopped, _) => Blame::Nobody,
        (_, Kind::Experiment, _) => Blame::Experiment,
        (_, Kind::Archived, _) => Blame::Archive,
        (_, Kind::Refused, _) => Blame::TraceForGood,
        (Step::Greeting, _, _) | (_, Kind::Denied, _) => Blame::Target,
        (Step::Taking, Kind::Trouble | Kind::TroubleButShown, Others::FailedInARow(MOST_IN_A_ROW..)) => {
            Blame::Target
        }
        (Step::Taking, Kind::TroubleButShown, _) | (Step::Taking, Kind::Trouble, Others::Taken) => {
            Blame::Trace
        }
        (Step::Taking, Kind::Trouble, Others::FailedInARow(_)) => Blame::Open,
    }
}

/// The step and kind of an exporter's failure.
pub(super) fn of(error: &ExportError) -> (Step, Kind) {
    match error {
        ExportError::Transient { .. } => (Step::Greeting, Kind::Trouble),
        ExportError::Unclear { sign: Sign::None, .. } => (Step::Taking, Kind::Trouble),
        ExportError::Unclear { sign: Sign::ShowsTrace, .. } => (Step::Taking, Kind::TroubleButShown),
        ExportError::Target(_) => (Step::Greeting, Kind::Denied),
        ExportError::Experiment(_) => (Step::Taking, Kind::Experiment),
        ExportError::Trace(_) => (Step::Taking, Kind::Refused),
        ExportError::Archived(_) => (Step::Taking, Kind::Archived),
        ExportError::Stopped => (Step::Taking, Kind::Stopped),
    }
}

/// The position of a trace among those to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
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
pub(super) fn allotted(turn: Turn, left: Duration, bytes: u64) -> Duration {
    let share = match turn {
        Turn::BeforeOthers => (left / SHARE).min(LONGEST_BEFORE_OTHERS),
        Turn::Last => left.min(LONGEST_ALONE),
        Turn::Again { waiting } => (left / waiting.max(1)).min(LONGEST_AT_LAST),
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
            (Step::Greeting, Kind::Trouble, FailedInARow(1), Blame::Target),
            (Step::Greeting, Kind::Trouble, Taken, Blame::Target),
            (Step::Greeting, Kind::Denied, Taken, Blame::Target),
            (Step::Taking, Kind::Denied, Taken, Blame::Target),
            (Step::Taking, Kind::Trouble, FailedInARow(1), Blame::Open),
            (Step::Taking, Kind::Trouble, FailedInARow(ENOUGH - 1), Blame::Open),
            (Step::Taking, Kind::Trouble, FailedInARow(ENOUGH), Blame::Target),
            (Step::Taking, Kind::Trouble, FailedInARow(u32::MAX), Blame::Target),
            (Step::Taking, Kind::Trouble, Taken, Blame::Trace),
            (Step::Taking, Kind::TroubleButShown, FailedInARow(1), Blame::Trace),
            (Step::Taking, Kind::TroubleButShown, FailedInARow(ENOUGH), Blame::Target),
            (Step::Taking, Kind::TroubleButShown, Taken, Blame::Trace),
            (Step::Taking, Kind::Refused, FailedInARow(1), Blame::TraceForGood),
            (Step::Taking, Kind::Refused, Taken, Blame::TraceForGood),
            (Step::Taking, Kind::Archived, FailedInARow(ENOUGH), Blame::Archive),
            (Step::Taking, Kind::Experiment, FailedInARow(ENOUGH), Blame::Experiment),
            (Step::Greeting, Kind::Experiment, Taken, Blame::Experiment),
            (Step::Greeting, Kind::Stopped, FailedInARow(1), Blame::Nobody),
            (Step::Taking, Kind::Stopped, Taken, Blame::Nobody),
        ];
        for (step, kind, others, expected) in table {
            assert_eq!(blame(step, kind, others), expected, "{step:?} {kind:?} {others:?}");
        }
    }

    #[test]
    fn a_hanging_trace_leaves_most_of_the_time_to_others() {
        let seconds = |turn, left, bytes| allotted(turn, Duration::from_secs(left), bytes).as_secs_f64();
        let table = [
            (Turn::BeforeOthers, 20, 0, 5.0),
            (Turn::BeforeOthers, 300, 0, 10.0),
            (Turn::BeforeOthers, 0, 0, 1.0),
            (Turn::BeforeOthers, 20, 64 << 20, 1029.0),
            (Turn::Last, 20, 0, 20.0),
            (Turn::Last, 900, 0, 30.0),
            (Turn::Last, 0, 0, 1.0),
            (Turn::Again { waiting: 1 }, 900, 0, 120.0),
            (Turn::Again { waiting: 4 }, 20, 0, 5.0),
        ];
        for (turn, left, bytes, expected) in table {
            assert_eq!(seconds(turn, left, bytes), expected, "{turn:?} {left} {bytes}");
        }
        let mut left = Duration::from_secs(20);
        for _ in 0..5 {
            left -= allotted(Turn::BeforeOthers, left, 0);
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
