//! Who is at fault when a try fails: the trace, its target, or neither yet. Decisions only.
//!
//! No trace holds its target: only what fails before a trace has any part in it is the target's at once. What fails
//! while a trace is taken is judged by what becomes of the next ones.

use crate::export::{ExportError, Sign};
use std::time::Duration;

/// Traces that fail one after the other, none of which failed before, are as many witnesses against their target. A
/// server that refuses one in ten at random calls itself down by this once in a hundred million traces.
pub(super) const MOST_IN_A_ROW: u32 = 8;

/// How long one drain without a limit of its own may spend on tries that fail, and still begin others at leisure.
pub(super) const ALLOWANCE: Duration = Duration::from_secs(5 * 60);

/// What one trace may take of the time that is left while others wait behind it: a few that hang leave most of it.
const SHARE: u32 = 4;

/// MLflow's first spans take 4 s where its server has a network, and 11 s where it looks for one in vain.
const LONGEST_BEFORE_OTHERS: Duration = Duration::from_secs(10);

/// With no other trace behind it; another launch may put one at any time.
const LONGEST_ALONE: Duration = Duration::from_secs(30);

/// As long as MLflow's own client waits for an answer: for a trace that was cut off and never failed before.
const LONGEST_AT_LAST: Duration = Duration::from_secs(120);

/// A server that is well answers a small trace in less.
const SHORTEST: Duration = Duration::from_secs(1);

/// A trace that was given less did not fail: it was not waited for.
const FAIR: Duration = Duration::from_secs(3);

/// The slowest line that counts as one, in bytes per second.
const SLOWEST: u64 = 64 << 10;

/// What was done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The target was greeted, or asked for the experiment: no trace had a part in it.
    Greeting,
    /// This trace was looked for, or sent.
    Taking,
}

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No answer, a broken connection, an answer of a server in trouble, or one that means nothing.
    Trouble,
    /// The same, from a target that shows this very trace when asked.
    TroubleButShown,
    /// Credentials, an address, a version: a person has to change something.
    Denied,
    /// The experiment of this trace is gone or closed.
    Experiment,
    /// This trace is refused for good.
    Refused,
    Archived,
    /// The delivery was asked to end.
    Stopped,
}

/// What became of other traces of this target, in this drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// One was taken, and fewer failed since than are witnesses enough.
    Taken,
    /// So many failed in a row, this one included; those that failed alone before do not count.
    FailedInARow(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It is left alone for a while.
    Target,
    /// It waits, and tries of its own are counted against it.
    Trace,
    /// It is set aside.
    TraceForGood,
    /// Its session goes on in another trace.
    Archive,
    /// It waits; the next one is tried, and shows more.
    Open,
    /// It waits for its experiment, alone.
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

/// What an exporter's failure says.
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

/// The place of a trace among those that are to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Others for its target come after it.
    BeforeOthers,
    Last,
    /// It was cut off before, others were tried since, and as many wait for such a turn, this one included.
    Again {
        waiting: u32,
    },
}

/// How long a trace of this size may take, with so much left for tries that fail.
pub(super) fn allotted(turn: Turn, left: Duration, bytes: u64) -> Duration {
    let share = match turn {
        Turn::BeforeOthers => (left / SHARE).min(LONGEST_BEFORE_OTHERS),
        Turn::Last => left.min(LONGEST_ALONE),
        Turn::Again { waiting } => (left / waiting.max(1)).min(LONGEST_AT_LAST),
    };
    share.max(SHORTEST) + for_size(bytes)
}

/// Whether a failure counts: it came by itself, or was waited for long enough.
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
    fn only_what_fails_without_a_trace_or_with_many_is_the_targets() {
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
    fn a_trace_that_hangs_leaves_most_of_the_time_to_others() {
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
    fn a_trace_that_was_hardly_waited_for_did_not_fail() {
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
