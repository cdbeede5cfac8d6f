//! Delivery past the spool: traces that were made from session files, for a local store. Such a file is as durable as an
//! entry, and gives the same trace again.

use crate::queue::drain::Connect;
use crate::queue::receipts::{Receipts, StoredReceipt};
use crate::queue::spool::Spool;
use crate::queue::spool::entry::{Entry, Head, Rank};
use crate::queue::spool::retry::Lane;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::Trace;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Traces in one write.
const MOST: usize = 64;

/// What decides where an entry may go straight.
struct Way<'a> {
    receipts: &'a Receipts,
    /// Entries in the spool, one of which may be newer.
    known: HashMap<TraceId, Vec<PathBuf>>,
    is_paused: &'a dyn Fn(&Target) -> bool,
}

/// For each entry whether its target has it now. The others have to go through the spool, which finds out why. It is also
/// the way where another process delivers.
pub fn deliver_straight<'a>(
    entries: &[Entry],
    spool: &Spool,
    receipts: &Receipts,
    is_asked_to_end: &dyn Fn() -> bool,
    mut connect: impl Connect<'a>,
) -> Vec<bool> {
    let mut is_delivered = vec![false; entries.len()];
    if is_asked_to_end() {
        return is_delivered;
    }
    let Ok(Some(_lock)) = spool.lock(&Lane::Local, Duration::ZERO) else { return is_delivered };
    let backoff = spool.backoff(&Lane::Local);
    let mut known: HashMap<TraceId, Vec<PathBuf>> = HashMap::new();
    for path in spool.paths().into_iter().chain(spool.quarantined()) {
        if let Some(trace) = Spool::trace_of(&path) {
            known.entry(trace).or_default().push(path);
        }
    }
    let way = Way { receipts, known, is_paused: &|target| backoff.get(target).is_some() };
    for (target, experiment, places) in by_place(entries, |entry| way.is_open_for(entry)) {
        for some in places.chunks(MOST) {
            if is_asked_to_end() {
                return is_delivered;
            }
            let traces: Vec<&Trace> = some.iter().map(|at| &*entries[*at].trace).collect();
            let mut export = || connect(target, experiment).ok()?.export_together(&traces);
            let (taken, made) = thread::scope(|scope| {
                // Their digests take as long as the write.
                let made = thread::Builder::new().spawn_scoped(scope, || receipts_for(&traces, target));
                let taken = catch_unwind(AssertUnwindSafe(&mut export));
                (taken, made.map_or_else(|_| Ok(receipts_for(&traces, target)), |made| made.join()))
            });
            let (Some(taken), Ok(made)) = (taken.ok().flatten(), made) else { break };
            let now = Timestamp::now();
            let kept = traces.iter().zip(taken).zip(made).map(|((trace, taken), receipt)| {
                let receipt = Receipt { experiment_id: taken.experiment_id, delivered_at: now, ..receipt };
                (trace.id, StoredReceipt { receipt, rank: Rank::from_trace(trace), bytes: 0 })
            });
            if receipts.keep_all(kept).is_ok() {
                some.iter().for_each(|at| is_delivered[*at] = true);
            }
        }
    }
    is_delivered
}

/// The receipts for a write that is under way, without its experiment and time.
fn receipts_for(traces: &[&Trace], target: &Target) -> Vec<Receipt> {
    let receipt =
        |trace: &&Trace| Receipt::from_trace(target.clone(), String::new(), Timestamp::UNIX_EPOCH, trace);
    traces.iter().map(receipt).collect()
}

impl Way<'_> {
    fn is_open_for(&self, entry: &Entry) -> bool {
        let Entry { target, trace, .. } = entry;
        let has_newer = |kept: StoredReceipt| kept.receipt.archived || Rank::from_trace(trace) < kept.rank;
        let is_of_target = |path: &PathBuf| Head::load(path).map_or(true, |head| head.target == *target);
        takes_straight(target)
            && !self.known.get(&trace.id).is_some_and(|paths| paths.iter().any(is_of_target))
            && !(self.is_paused)(target)
            && !self.receipts.get(trace.id, target).is_some_and(has_newer)
    }
}

/// Whether the target takes several traces in one write.
pub fn takes_straight(target: &Target) -> bool {
    matches!(target, Target::Sqlite(_))
}

/// The entries' numbers by target and experiment, each in its order.
fn by_place(
    entries: &[Entry],
    is_wanted: impl Fn(&Entry) -> bool,
) -> Vec<(&Target, &Experiment, Vec<usize>)> {
    let mut places: Vec<(&Target, &Experiment, Vec<usize>)> = Vec::new();
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| is_wanted(entry)) {
        let place = (&entry.target, &entry.experiment);
        match places.iter_mut().find(|(target, experiment, _)| (*target, *experiment) == place) {
            Some((_, _, all)) => all.push(at),
            None => places.push((place.0, place.1, vec![at])),
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::spool::retry::Pause;
    use crate::queue::spool::tests::entry;
    use crate::redact::Redacted;
    use mlflow_store::exporter::{Delivered, ExportError, Exporter};
    use std::cell::{Cell, RefCell};

    /// Takes all traces, refuses them, or panics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Store {
        Takes,
        Refuses,
        Panics,
        CannotBeOpened,
    }

    struct StoreExporter<'a>(Store, &'a RefCell<Vec<Vec<TraceId>>>);

    impl Exporter for StoreExporter<'_> {
        fn export(&mut self, _: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
            unreachable!("only batches are sent");
        }

        fn export_together(&mut self, traces: &[&Trace]) -> Option<Vec<Delivered>> {
            match self.0 {
                Store::Takes => {
                    self.1.borrow_mut().push(traces.iter().map(|trace| trace.id).collect());
                    let delivered = Delivered { experiment_id: "1".into(), spans_sent: 1 };
                    Some(vec![delivered; traces.len()])
                }
                Store::Refuses => None,
                _ => panic!("on purpose"),
            }
        }
    }

    struct Place {
        _folder: tempfile::TempDir,
        spool: Spool,
        receipts: Receipts,
        /// Of each write.
        taken: RefCell<Vec<Vec<TraceId>>>,
    }

    impl Place {
        fn new() -> Place {
            let folder = tempfile::tempdir().unwrap();
            let spool = Spool::new(folder.path().join("spool"));
            let receipts = Receipts::new(folder.path().join("receipts"));
            Place { _folder: folder, spool, receipts, taken: RefCell::default() }
        }

        fn deliver(&self, store: Store, entries: &[Entry]) -> Vec<bool> {
            let connect = |_: &Target, _: &Experiment| match store {
                Store::CannotBeOpened => Err(ExportError::Target("closed".into())),
                store => Ok(Box::new(StoreExporter(store, &self.taken)) as Box<dyn Exporter>),
            };
            deliver_straight(entries, &self.spool, &self.receipts, &|| false, connect)
        }
    }

    fn local(trace: u8) -> Entry {
        let entry = entry("n");
        let trace = Trace { id: TraceId([trace; 16]), ..entry.trace.into() };
        Entry {
            target: Target::Sqlite("/store.db".into()),
            trace: Redacted::with_built_in_rules(trace),
            ..entry
        }
    }

    #[test]
    fn a_local_store_takes_the_traces_and_nothing_is_spooled() {
        let place = Place::new();
        let entries = [local(1), local(2), Entry { target: Target::Sqlite("/b.db".into()), ..local(3) }];
        assert_eq!(place.deliver(Store::Takes, &entries), [true; 3]);
        assert_eq!(place.taken.borrow().concat(), entries.each_ref().map(|entry| entry.trace.id));
        assert_eq!(place.spool.paths(), [] as [std::path::PathBuf; 0]);
        for Entry { target, trace, .. } in &entries {
            let kept = place.receipts.get(trace.id, target).unwrap();
            assert_eq!(kept.rank, Rank::from_trace(trace));
        }
    }

    #[test]
    fn what_the_spool_has_to_decide_is_not_sent() {
        let place = Place::new();
        let at = |target: Target, entry: Entry| Entry { target, ..entry };
        let (waiting, older, archived, paused) =
            (local(1), local(2), local(3), at(Target::Sqlite("/paused.db".into()), local(4)));
        place.spool.put(&waiting, Timestamp::UNIX_EPOCH).unwrap();
        // Of another target.
        place.spool.put(&at(Target::Http("http://host".into()), local(6)), Timestamp::UNIX_EPOCH).unwrap();
        for (entry, is_archived) in [(&older, false), (&archived, true)] {
            let mut receipt =
                Receipt::from_trace(entry.target.clone(), "1".into(), Timestamp::now(), &entry.trace);
            receipt.archived = is_archived;
            let mut rank = Rank::from_trace(&entry.trace);
            rank.spans += usize::from(!is_archived);
            place.receipts.keep(entry.trace.id, StoredReceipt { receipt, rank, bytes: 1 }).unwrap();
        }
        let pause = Pause {
            failures: 1,
            since: Timestamp::now(),
            until: Timestamp::now() + Duration::from_secs(60),
            reason: "on purpose".into(),
        };
        place.spool.backoff(&Lane::Local).set(&paused.target, Some(pause)).unwrap();
        let others = [
            at(Target::Http("http://host".into()), local(5)),
            at(Target::FileStore("/mlruns".into()), local(5)),
            waiting,
            older,
            archived,
            paused,
        ];
        assert_eq!(place.deliver(Store::Takes, &others), [false; 6]);
        assert_eq!(place.deliver(Store::Takes, &[local(5), local(6)]), [true; 2]);
        assert_eq!(place.taken.borrow().concat(), [5, 6].map(|trace| TraceId([trace; 16])));
    }

    #[test]
    fn nothing_is_sent_while_another_process_delivers() {
        let place = Place::new();
        let lock = place.spool.lock(&Lane::Local, Duration::ZERO).unwrap();
        assert_eq!(place.deliver(Store::Takes, &[local(1)]), [false]);
        drop(lock);
        assert_eq!(place.deliver(Store::Takes, &[local(1)]), [true]);
    }

    #[test]
    fn many_traces_are_several_writes() {
        let place = Place::new();
        let all: Vec<Entry> = (0..=u8::MAX).map(local).collect();
        assert_eq!(place.deliver(Store::Takes, &all), [true; 256]);
        assert_eq!(place.taken.borrow().iter().map(Vec::len).collect::<Vec<_>>(), [64; 4]);
    }

    #[test]
    fn what_a_store_does_not_take_is_left_to_the_spool() {
        for store in [Store::Refuses, Store::Panics, Store::CannotBeOpened] {
            let place = Place::new();
            let entry = local(1);
            assert_eq!(place.deliver(store, std::slice::from_ref(&entry)), [false], "{store:?}");
            assert_eq!(place.receipts.get(entry.trace.id, &entry.target), None);
        }
    }

    #[test]
    fn nothing_is_sent_after_a_signal() {
        let place = Place::new();
        let is_opened = Cell::new(false);
        let connect = |_: &Target, _: &Experiment| {
            is_opened.set(true);
            Ok(Box::new(StoreExporter(Store::Takes, &place.taken)) as Box<dyn Exporter>)
        };
        let sent = deliver_straight(&[local(1)], &place.spool, &place.receipts, &|| true, connect);
        assert_eq!((sent, is_opened.get()), (vec![false], false));
    }
}
