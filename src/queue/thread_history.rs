//! What was sent of a thread, and where to: by its record and by receipts.

use super::receipts;
use crate::base::paths::Paths;
use crate::claim::launch_record::Destination;
use crate::claim::thread_record::ThreadRecord;
use crate::claim::unclaimed::{self, Unclaimed};
use crate::queue::receipts::{Receipts, newest};
use crate::settings::further_targets::TargetRoles;
use crate::settings::modes::Granularity;
use crate::trace::ids::{trace_of_continuation, trace_of_thread, trace_of_turn};
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::lost_traces::SentTrace;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::{Experiment, Target};
use std::fs;

/// An upper bound for the traces that continue a session. MLflow archives traces that are days old.
pub const MOST_PARTS: usize = 100;

/// How many receipts are looked at for one that is no further target's.
const LOOKED_AT: usize = 100;

/// Where a thread's trace was first put, or else first taken by a target that is not only a further one; None if it
/// never was.
pub fn first_destination(
    record: &ThreadRecord,
    thread: &ThreadId,
    receipts: &Receipts,
    roles: TargetRoles,
) -> Option<Destination> {
    let taken = || {
        let traces = [trace_of_thread(thread.as_str()), trace_of_turn(thread.as_str(), 1)];
        let Receipt { target, experiment_id, .. } =
            traces.into_iter().find_map(|trace| receipts.first(trace, roles))?;
        Some(Destination { target, experiment: Experiment::Id(experiment_id) })
    };
    record.destination.clone().or_else(taken)
}

/// That of the thread's first trace; as asked where there is none.
pub fn granularity_of(
    record: &ThreadRecord,
    thread: &ThreadId,
    asked: Granularity,
    receipts: &Receipts,
    roles: TargetRoles,
) -> Granularity {
    // A collector has traces of turns in any case.
    let says = |receipt: &Receipt| !receipt.target.is_append_only() && !roles.is_further(&receipt.target);
    let sent = |trace| receipts.all(trace).iter().any(says);
    match record.granularity {
        Some(granularity) => granularity,
        None if record.destination.is_some() => Granularity::Session,
        None if sent(trace_of_thread(thread.as_str())) => Granularity::Session,
        None if sent(trace_of_turn(thread.as_str(), 1)) => Granularity::Turn,
        None => asked,
    }
}

/// What targets took of the thread: the session's one trace, the traces that continue it, and those of its turns.
pub fn taken(thread: &ThreadId, paths: &Paths) -> Vec<(Target, SentTrace)> {
    let receipts = receipts(paths);
    let numbered = |id: fn(&str, usize) -> TraceId| {
        let all = (1..).map(move |number| id(thread.as_str(), number));
        all.take_while(|trace| receipts.file_of(*trace).exists())
    };
    let traces = std::iter::once(trace_of_thread(thread.as_str()))
        .chain(numbered(trace_of_continuation))
        .chain(numbered(trace_of_turn));
    let sent = |trace| {
        let sent = move |receipt: Receipt| {
            let Receipt { target, experiment_id, delivered_at: at, .. } = receipt;
            (target, SentTrace { trace, experiment_id, at })
        };
        receipts.all(trace).into_iter().map(sent)
    };
    traces.flat_map(sent).collect()
}

/// What the thread's present targets took of it, not those that it was sent to once.
pub fn taken_by(roles: TargetRoles, thread: &ThreadId, paths: &Paths) -> Vec<(Target, SentTrace)> {
    let record = ThreadRecord::load(&paths.threads(), thread).unwrap_or_default();
    let first = first_destination(&record, thread, &receipts(paths), roles);
    let is_first = |target: &Target| first.as_ref().is_some_and(|first| first.target == *target);
    let mut taken = taken(thread, paths);
    taken.retain(|(target, _)| is_first(target) || roles.is_further(target));
    taken
}

/// The trace that holds the thread's last turns, as far as receipts show.
pub fn newest_part(thread: &ThreadId, paths: &Paths) -> TraceId {
    let receipts = receipts(paths);
    let mut id = trace_of_thread(thread.as_str());
    for number in 1..=MOST_PARTS {
        let next = trace_of_continuation(thread.as_str(), number);
        if receipts.archived(id).is_none() || !receipts.file_of(next).exists() {
            break;
        }
        id = next;
    }
    id
}

/// The threads that were worked in last, the last one first.
pub fn recent_threads(paths: &Paths, at_most: usize) -> Vec<ThreadId> {
    newest(&paths.threads(), at_most, ThreadId::from_meta)
}

/// The trace that was worked on last, of those that are not only in further targets.
pub fn last_trace(paths: &Paths, roles: TargetRoles) -> Option<TraceId> {
    let recent = receipts(paths).recent(1 + LOOKED_AT.saturating_mul(usize::from(!roles.further.is_empty())));
    let taken = recent.into_iter().find(|(_, receipt)| !roles.is_further(&receipt.target));
    let taken = taken.map(|(trace, receipt)| (receipt.delivered_at, trace));
    let worked = recent_threads(paths, 1).pop().and_then(|thread| {
        let written = fs::metadata(paths.threads().join(format!("{thread}.json"))).ok()?.modified().ok()?;
        Some((Timestamp::try_from(written).ok()?, newest_part(&thread, paths)))
    });
    taken.into_iter().chain(worked).max().map(|(_, trace)| trace)
}

/// Sessions that no launch claims, though one may have written them; the newest last. A session that was imported
/// since is left out. Empty where a later codex-traced wrote the list; the log has the reason.
pub fn unclaimed_sessions(paths: &Paths) -> Vec<Unclaimed> {
    let all = unclaimed::all(&paths.unclaimed());
    let mut all = all.inspect_err(|later| tracing::warn!("{later}")).unwrap_or_default();
    all.retain(|one| {
        let is_recorded =
            ThreadRecord::load(&paths.threads(), &one.thread).is_ok_and(|record| !record.launches.is_empty());
        !is_recorded && receipts(paths).all(trace_of_thread(one.thread.as_str())).is_empty()
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::paths::CodexHome;
    use crate::base::world::World;
    use crate::queue::receipts::StoredReceipt;
    use crate::queue::spool::entry::Rank;

    #[test]
    fn every_trace_of_a_session_counts_as_sent() {
        let folder = tempfile::tempdir().unwrap();
        let world =
            World { variables: [("CODEX_HOME", folder.path().to_str().unwrap())].into(), ..World::default() };
        let paths = Paths::new(&CodexHome::from_world(&world).unwrap());
        let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
        assert_eq!(taken(&thread, &paths), []);
        let id = thread.as_str();
        let expected = [
            trace_of_thread(id),
            trace_of_continuation(id, 1),
            trace_of_continuation(id, 2),
            trace_of_turn(id, 1),
        ];
        for trace in expected.into_iter().chain([trace_of_turn(id, 3)]) {
            let target = Target::Http("http://a".into());
            let receipt = Receipt::from_spans(target, "1".into(), Timestamp::UNIX_EPOCH, &[]);
            let rank = Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 0 };
            receipts(&paths).keep(trace, StoredReceipt { receipt, rank, bytes: 1 }).unwrap();
        }
        let traces: Vec<TraceId> = taken(&thread, &paths).into_iter().map(|(_, sent)| sent.trace).collect();
        assert_eq!(traces, expected);
    }
}
