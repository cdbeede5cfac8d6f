//! Drains against targets that are up, down, or refuse a trace.

mod blame;
mod refused;
mod together;

use super::*;
use crate::queue::spool::entry::Entry;
use crate::redact::Redacted;
use jiff::Timestamp;
use mlflow_store::exporter::{Delivered, ExportError};
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::trace::{Trace, TraceState};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(thread: u8, target: Target, ended: i64) -> Entry {
    let trace = Trace {
        id: TraceId([thread; 16]),
        name: "n".into(),
        state: TraceState::Ok,
        started_at: at(0),
        ended_at: at(ended),
        request_preview: None,
        response_preview: None,
        context: Default::default(),
        metadata: [].into(),
        tags: [].into(),
        spans: Vec::new(),
    };
    Entry { target, experiment: Experiment::Name("e".into()), trace: Redacted::with_built_in_rules(trace) }
}

fn local(path: &str) -> Target {
    Target::Sqlite(path.into())
}

fn remote(url: &str) -> Target {
    Target::Http(url.into())
}

/// A spool, its receipts, and the targets of its traces.
struct Fixture {
    folder: tempfile::TempDir,
    /// What arrived: target and end of each trace, in order.
    arrived: RefCell<Vec<(String, i64)>>,
    /// The receipt that came with each.
    before: RefCell<Vec<Option<Receipt>>>,
    connected: Cell<usize>,
    /// The size of each batch.
    together: RefCell<Vec<usize>>,
    failures: RefCell<HashMap<Target, ExportError>>,
    /// The failure of single traces, by their first byte, at any target.
    refused: RefCell<HashMap<u8, ExportError>>,
    /// Every try, by the first byte of its trace.
    tried: RefCell<Vec<u8>>,
    budget: Option<Duration>,
    eagerness: Eagerness,
    now: Cell<Timestamp>,
}

struct TestTarget<'a>(Target, &'a Fixture);

impl Exporter for TestTarget<'_> {
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered, ExportError> {
        let TestTarget(target, fixture) = self;
        fixture.tried.borrow_mut().push(trace.id.0[0]);
        if let Some(error) = fixture.refused.borrow().get(&trace.id.0[0]) {
            return Err(error.clone());
        }
        match fixture.failures.borrow().get(target) {
            Some(ExportError::Trace(why)) if why == "panic" => panic!("a defect"),
            Some(error) => return Err(error.clone()),
            None => {}
        }
        fixture.arrived.borrow_mut().push((target.to_string(), trace.ended_at.as_second()));
        fixture.before.borrow_mut().push(before.cloned());
        Ok(Delivered { experiment_id: "1".into(), spans_sent: 0 })
    }

    /// Refuses a batch with a trace that ends at second 13.
    fn export_together(&mut self, traces: &[&Trace]) -> Option<Vec<Delivered>> {
        self.1.together.borrow_mut().push(traces.len());
        let is_refused = |trace: &&Trace| self.1.refused.borrow().contains_key(&trace.id.0[0]);
        if traces.iter().any(|trace| trace.ended_at == at(13) || is_refused(trace)) {
            return None;
        }
        traces.iter().map(|trace| self.export(trace, None).ok()).collect()
    }
}

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            folder: tempfile::tempdir().unwrap(),
            arrived: RefCell::default(),
            before: RefCell::default(),
            connected: Cell::default(),
            together: RefCell::default(),
            failures: RefCell::default(),
            refused: RefCell::default(),
            tried: RefCell::default(),
            budget: None,
            eagerness: Eagerness::Patient,
            now: Cell::new(at(1_000_000)),
        }
    }

    fn spool(&self) -> Spool {
        Spool::new(self.folder.path().join("spool"))
    }

    fn put(&self, thread: u8, target: &Target, ended: i64) {
        self.spool()
            .put(&entry(thread, target.clone(), ended), at(self.spool().paths().len() as i64))
            .unwrap();
    }

    fn fails(&self, target: &Target, error: Option<ExportError>) {
        match error {
            Some(error) => self.failures.borrow_mut().insert(target.clone(), error),
            None => self.failures.borrow_mut().remove(target),
        };
    }

    fn drain(&self) -> Drained {
        let (now, jitter) = (|| self.now.get(), || 1.0);
        let request = DeliveryRequest {
            patience: Duration::ZERO,
            budget: self.budget,
            eagerness: self.eagerness,
            now: &now,
            jitter: &jitter,
            ..DeliveryRequest::of_user()
        };
        let connect = |target: &Target, _: &Experiment| -> Result<Box<dyn Exporter + '_>, ExportError> {
            self.connected.set(self.connected.get() + 1);
            Ok(Box::new(TestTarget(target.clone(), self)))
        };
        let receipts = Receipts::new(self.folder.path().join("receipts"));
        drain(&self.spool(), &receipts, &request, &self.spool().lanes(), connect).unwrap()
    }

    /// After a drain: how many traces arrived, how many wait, how many are in quarantine.
    fn counts(&self) -> (usize, usize, usize) {
        self.arrived.borrow_mut().clear();
        let drained = self.drain();
        assert_eq!(drained.waiting.len(), self.spool().paths().len());
        (self.arrived.borrow().len(), drained.waiting.len(), self.spool().quarantined().len())
    }
}

#[test]
fn only_the_newest_form_of_a_trace_is_sent_and_older_ones_are_removed() {
    let fixture = Fixture::new();
    // Put in another order than read: the clock may go back, a launch may be slow.
    fixture.put(1, &local("/a.db"), 20);
    fixture.put(1, &local("/a.db"), 10);
    fixture.put(1, &local("/b.db"), 5);
    assert_eq!(fixture.counts(), (2, 0, 0));
    assert_eq!(*fixture.arrived.borrow(), [("sqlite:////a.db".into(), 20), ("sqlite:////b.db".into(), 5)]);
}

#[test]
fn a_form_older_than_the_delivered_one_is_not_sent() {
    let fixture = Fixture::new();
    fixture.put(1, &local("/a.db"), 20);
    fixture.drain();
    fixture.put(1, &local("/a.db"), 10);
    fixture.put(1, &local("/b.db"), 10);
    assert_eq!(fixture.counts(), (1, 0, 0));
    assert_eq!(*fixture.arrived.borrow(), [("sqlite:////b.db".into(), 10)]);
}

#[test]
fn an_exporter_gets_the_receipt_of_the_earlier_delivery() {
    let fixture = Fixture::new();
    for ended in [10, 20] {
        fixture.put(1, &remote("http://a"), ended);
        fixture.drain();
    }
    let taken = entry(1, remote("http://a"), 10).trace;
    let receipt = Receipt::from_trace(remote("http://a"), "1".into(), at(1_000_000), &taken);
    assert_eq!(*fixture.before.borrow(), [None, Some(receipt)]);
}

#[test]
fn a_server_that_is_down_is_tried_once_and_the_others_are_served() {
    let fixture = Fixture::new();
    let down = remote("http://down");
    fixture.fails(&down, Some(ExportError::transient("away")));
    (1..=5).for_each(|thread| fixture.put(thread, &down, 1));
    fixture.put(9, &remote("http://up"), 1);
    fixture.put(9, &local("/a.db"), 1);
    assert_eq!(fixture.counts(), (2, 5, 0));
    assert_eq!(fixture.connected.get(), 3);
    // Local ones first, though they were put last.
    assert_eq!(fixture.arrived.borrow()[0].0, "sqlite:////a.db");
}

#[test]
fn one_exporter_serves_all_traces_of_an_experiment() {
    let fixture = Fixture::new();
    (1..=5).for_each(|thread| fixture.put(thread, &remote("http://a"), 1));
    assert_eq!((fixture.counts(), fixture.connected.get()), ((5, 0, 0), 1));
}

#[test]
fn a_launch_respects_the_pause_of_a_failed_server_and_a_users_command_does_not() {
    let mut fixture = Fixture::new();
    let server = remote("http://a");
    fixture.put(1, &server, 1);
    fixture.fails(
        &server,
        Some(ExportError::Transient {
            reason: "away".into(),
            after: Some(Duration::from_secs(600)),
            status: Some(503),
        }),
    );
    assert_eq!(fixture.counts(), (0, 1, 0));
    fixture.fails(&server, None);
    fixture.now.set(at(1_000_599));
    assert_eq!((fixture.counts(), fixture.drain().waiting[0].reason.as_str()), ((0, 1, 0), "away"));
    fixture.eagerness = Eagerness::Asked;
    assert_eq!(fixture.counts(), (1, 0, 0));
    // The server took a trace, so its pause has ended for launches too.
    fixture.eagerness = Eagerness::Patient;
    fixture.put(2, &server, 1);
    assert_eq!(fixture.counts(), (1, 0, 0));
}

#[test]
fn a_launch_tries_again_after_the_pause_or_when_the_clock_went_back() {
    for later in [1_000_030, 999_999] {
        let fixture = Fixture::new();
        let server = remote("http://a");
        fixture.put(1, &server, 1);
        fixture.fails(&server, Some(ExportError::Target("401".into())));
        assert_eq!(fixture.counts(), (0, 1, 0));
        fixture.fails(&server, None);
        assert_eq!(fixture.counts(), (0, 1, 0));
        fixture.now.set(at(later));
        assert_eq!(fixture.counts(), (1, 0, 0), "at {later}");
    }
}

#[test]
fn a_local_target_is_tried_by_every_launch() {
    let fixture = Fixture::new();
    let database = local("/a.db");
    fixture.put(1, &database, 1);
    fixture.fails(&database, Some(ExportError::transient("locked")));
    assert_eq!(fixture.counts(), (0, 1, 0));
    fixture.fails(&database, None);
    assert_eq!(fixture.counts(), (1, 0, 0));
}

#[test]
fn a_refused_trace_is_quarantined_and_does_not_block_others() {
    for why in ["too large", "panic"] {
        let fixture = Fixture::new();
        let server = remote("http://a");
        fixture.put(1, &server, 1);
        fixture.fails(&server, Some(ExportError::Trace(why.into())));
        assert_eq!(fixture.counts(), (0, 0, 1), "{why}");
        fixture.fails(&server, None);
        fixture.put(2, &server, 1);
        assert_eq!(fixture.counts(), (1, 0, 1));
        // A newer form that the server takes replaces the quarantined one.
        fixture.put(1, &server, 2);
        assert_eq!(fixture.counts(), (1, 0, 0));
    }
}

#[test]
fn a_trace_whose_experiment_is_gone_waits_alone() {
    let fixture = Fixture::new();
    let server = remote("http://a");
    fixture.put(1, &server, 1);
    fixture.fails(&server, Some(ExportError::Experiment("deleted".into())));
    assert_eq!(fixture.counts(), (0, 1, 0));
    // The server does not pause for it.
    fixture.fails(&server, None);
    assert_eq!(fixture.counts(), (1, 0, 0));
}

#[test]
fn a_form_older_than_a_quarantined_one_is_quarantined_too() {
    let fixture = Fixture::new();
    let server = remote("http://a");
    fixture.put(1, &server, 2);
    fixture.fails(&server, Some(ExportError::Trace("too large".into())));
    assert_eq!(fixture.counts(), (0, 0, 1));
    fixture.fails(&server, None);
    // The server may have taken the newer form from an earlier process.
    fixture.put(1, &server, 1);
    assert_eq!(fixture.counts(), (0, 0, 2));
}

#[test]
fn a_drain_past_its_budget_leaves_the_rest_in_the_spool() {
    let fixture = Fixture { budget: Some(Duration::ZERO), ..Fixture::new() };
    fixture.put(1, &local("/a.db"), 1);
    assert_eq!(fixture.counts(), (0, 1, 0));
}

#[test]
fn a_torn_entry_is_quarantined_and_one_of_a_later_version_stays() {
    let fixture = Fixture::new();
    for (thread, text) in [(1, None), (2, Some("{\"version\":2,\"hea")), (3, Some("{\"version\":4}\nx"))] {
        fixture.put(thread, &local("/a.db"), 1);
        let path = fixture.spool().paths().pop().unwrap();
        text.into_iter().for_each(|text| fs::write(&path, text).unwrap());
    }
    assert_eq!(fixture.counts(), (1, 1, 1));
    assert_eq!(fixture.drain().waiting[0].reason, "an entry of version 4, which a later codex-traced wrote");
    let why = Spool::reason(&fixture.spool().quarantined()[0]).unwrap();
    assert!(why.starts_with("not a whole spool entry: "), "{why}");
}

#[test]
fn a_drain_leaves_a_locked_lane_to_the_process_that_holds_it() {
    let fixture = Fixture::new();
    fixture.put(1, &local("/a.db"), 1);
    fixture.put(2, &remote("http://a"), 1);
    let lock = fixture.spool().lock(&Lane::from_target(&remote("http://a")), Duration::ZERO).unwrap();
    let drained = fixture.drain();
    assert!(drained.is_elsewhere && drained.waiting.is_empty());
    assert_eq!(*fixture.arrived.borrow(), [("sqlite:////a.db".into(), 1)]);
    drop(lock);
    assert!(!fixture.drain().is_elsewhere && fixture.spool().paths().is_empty());
}

#[test]
fn without_its_receipt_an_entry_is_not_removed() {
    let fixture = Fixture::new();
    fixture.put(1, &local("/a.db"), 1);
    let receipts = fixture.folder.path().join("receipts");
    fs::write(&receipts, "no folder").unwrap();
    assert_eq!(fixture.counts(), (1, 1, 0));
    fs::remove_file(receipts).unwrap();
    assert_eq!(fixture.counts(), (1, 0, 0));
}
