//! Pure decisions: whether a failed try is its target's fault, or perhaps the trace's; and how long a try may take.
//!
//! No trace may block its target. A failure before any trace is involved is the target's at once. A failure
//! while the target takes a trace is decided by the results of the next traces.

use super::job::DeliveryJob;
use crate::queue::spool::retry::EntryTries;
use mlflow_store::exporter::ExportError;
use std::path::PathBuf;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The target pauses.
    Target,
    /// Perhaps the trace: it waits. The try counts against it once the target takes another trace, or shows this one.
    Trace,
    /// The trace is quarantined.
    TraceForGood,
    /// The session continues in another trace.
    Archive,
    /// The trace waits for its experiment; other traces are not affected.
    Experiment,
    Nothing,
}

/// What a drain knows of a target from its tries.
#[derive(Default)]
pub(super) struct TargetHealth {
    /// Why it is not tried again in this drain: each further try would wait as long.
    pub(super) down: Option<String>,
    /// It took a trace in this drain.
    pub(super) has_taken: bool,
    /// Number of traces that failed since, without those that failed alone before.
    pub(super) failed_in_a_row: u32,
    /// Failed traces whose cause is not known yet.
    pub(super) undecided: Vec<Undecided>,
    /// Entries whose cause earlier drains could not decide.
    pub(super) left_undecided: Vec<PathBuf>,
}

/// A trace that failed, through its own fault or its target's.
pub(super) struct Undecided {
    pub(super) job: DeliveryJob,
    pub(super) reason: String,
    /// It had enough time.
    pub(super) is_fair: bool,
    /// The target shows it when asked.
    pub(super) is_shown: bool,
}

impl TargetHealth {
    /// Counts a failure of a trace with these earlier tries, and blames it on the trace or the target.
    pub(super) fn blame(&mut self, error: &ExportError, before: Option<&EntryTries>) -> Blame {
        let (own, alone) = before.map_or((0, 0), |tries| (tries.own, tries.alone));
        // If the target takes others, a trace that failed before proves nothing new.
        let is_witness = own == 0 || (!self.has_taken && alone == 0);
        match error {
            ExportError::Stopped => Blame::Nothing,
            ExportError::Experiment(_) => Blame::Experiment,
            ExportError::Archived(_) => Blame::Archive,
            ExportError::Trace(_) => Blame::TraceForGood,
            // No trace was involved: no connection, or the user has to change credentials, an address, a version.
            ExportError::Transient { .. } | ExportError::Target(_) => Blame::Target,
            // An export gives no `Gone`.
            ExportError::Unclear { .. } | ExportError::Gone(_) => {
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(u32::from(is_witness));
                if self.failed_in_a_row >= MOST_IN_A_ROW { Blame::Target } else { Blame::Trace }
            }
        }
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
