//! Whether a failure is the trace's fault or its target's, and how long a try may take.

use super::super::blame::{Blame, MOST_IN_A_ROW, Slot, TargetHealth, Tried, allotted};
use crate::queue::spool::retry::{Against, EntryTries, FailedTry, Lane};
use jiff::Timestamp;
use mlflow_store::exporter::{ExportError, Sign};
use std::time::Duration;

#[test]
fn only_failures_without_a_trace_or_with_many_are_the_targets_fault() {
    const ENOUGH: u32 = MOST_IN_A_ROW;
    let unclear = |sign| ExportError::Unclear { reason: "500".into(), after: None, sign };
    let (trouble, shown) = (unclear(Sign::None), unclear(Sign::ShowsTrace));
    let (target, refused) = (ExportError::Target("401".into()), ExportError::Trace("413".into()));
    let (archived, experiment) =
        (ExportError::Archived("archived".into()), ExportError::Experiment("gone".into()));
    // The failures in a row, this one included, and whether the target took a trace.
    let table = [
        (&ExportError::transient("away"), 1, false, Blame::Target),
        (&target, 1, false, Blame::Target),
        (&target, 1, true, Blame::Target),
        (&trouble, 1, false, Blame::Trace),
        (&trouble, ENOUGH - 1, false, Blame::Trace),
        (&trouble, ENOUGH, false, Blame::Target),
        (&trouble, ENOUGH, true, Blame::Target),
        (&trouble, u32::MAX, false, Blame::Target),
        (&trouble, 1, true, Blame::Trace),
        (&trouble, ENOUGH - 1, true, Blame::Trace),
        (&shown, 1, false, Blame::Trace),
        (&shown, ENOUGH, false, Blame::Target),
        (&shown, 1, true, Blame::Trace),
        (&refused, 1, false, Blame::TraceForGood),
        (&refused, 1, true, Blame::TraceForGood),
        (&archived, ENOUGH, false, Blame::Archive),
        (&experiment, ENOUGH, false, Blame::Experiment),
        (&experiment, 1, true, Blame::Experiment),
        (&ExportError::Stopped, 1, false, Blame::Nothing),
        (&ExportError::Stopped, 1, true, Blame::Nothing),
    ];
    for (error, failed, has_taken, expected) in table {
        let mut health = TargetHealth { has_taken, failed_in_a_row: failed - 1, ..TargetHealth::default() };
        assert_eq!(health.blame(error, None), expected, "{error:?} {failed} {has_taken}");
    }
}

#[test]
fn a_trace_that_failed_before_proves_nothing_about_a_target_that_takes_others() {
    let (lane, at) = (Lane::from_target(&super::remote("http://a")), Timestamp::UNIX_EPOCH);
    let failed = FailedTry { lane, reason: "500".into(), asked: None, at, jitter: 1.0 };
    let once = EntryTries::after(None, Against::Trace, failed);
    let alone = EntryTries { alone: 1, ..once.clone() };
    let table = [
        (None, false, 1),
        (None, true, 1),
        (Some(&once), false, 1),
        (Some(&once), true, 0),
        (Some(&alone), false, 0),
        (Some(&alone), true, 0),
    ];
    for (before, has_taken, counted) in table {
        let mut health = TargetHealth { has_taken, ..TargetHealth::default() };
        health.blame(&ExportError::unclear("500"), before);
        assert_eq!(health.failed_in_a_row, counted, "{before:?} {has_taken}");
        health.blame(&ExportError::transient("away"), None);
        assert_eq!(health.failed_in_a_row, counted, "only failures with a trace count");
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
