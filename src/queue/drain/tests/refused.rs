//! No trace blocks its target: a trace that fails alone waits alone, and is quarantined if it keeps failing.

use super::super::blame::MOST_IN_A_ROW;
use super::*;
use crate::queue::spool::retry::{EntryTries, MOST_ALONE};
use mlflow_store::exporter::Sign;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};

const SERVER: &str = "http://a";

impl Fixture {
    fn refuses(&self, thread: u8, error: ExportError) {
        self.refused.borrow_mut().insert(thread, error);
    }

    /// The traces that one drain tries, in order.
    fn tried_by_a_drain(&self) -> Vec<u8> {
        self.tried.borrow_mut().clear();
        self.drain();
        self.tried.take()
    }

    fn tries_of(&self, thread: u8) -> Option<EntryTries> {
        let of_thread = |path: &PathBuf| Spool::trace_of(path) == Some(TraceId([thread; 16]));
        self.spool().paths().iter().find(|path| of_thread(path)).and_then(|path| EntryTries::load(path))
    }
}

#[test]
fn a_trace_that_a_server_refuses_delays_no_other() {
    for error in [
        ExportError::unclear("500"),
        ExportError::Unclear { reason: "500".into(), after: None, sign: Sign::ShowsTrace },
        ExportError::Unclear { reason: "503".into(), after: Some(Duration::from_secs(60)), sign: Sign::None },
    ] {
        let fixture = Fixture::new();
        (1..=5).for_each(|thread| fixture.put(thread, &remote(SERVER), 1));
        fixture.refuses(1, error);
        assert_eq!(fixture.counts(), (4, 1, 0));
        let tries = fixture.tries_of(1).unwrap();
        assert_eq!((tries.pause.failures, tries.own, tries.alone), (1, 1, 1));
        assert_eq!(tries.pause.since, at(1_000_000));
        // The trace pauses, the server does not.
        fixture.put(6, &remote(SERVER), 1);
        assert_eq!(fixture.tried_by_a_drain(), [6]);
        assert_eq!(fixture.drain().waiting[0].reason, tries.pause.reason);
    }
}

#[test]
fn a_trace_that_failed_before_is_tried_last() {
    let mut fixture = Fixture::new();
    fixture.eagerness = Eagerness::Asked;
    (1..=3).for_each(|thread| fixture.put(thread, &remote(SERVER), 1));
    fixture.refuses(1, ExportError::unclear("hangs"));
    assert_eq!(fixture.tried_by_a_drain(), [1, 2, 3]);
    fixture.put(4, &remote(SERVER), 1);
    assert_eq!(fixture.tried_by_a_drain(), [4, 1]);
    // A newer form is as likely to hang.
    fixture.put(1, &remote(SERVER), 2);
    fixture.put(5, &remote(SERVER), 1);
    assert_eq!(fixture.tried_by_a_drain(), [5, 1]);
    fixture.refused.borrow_mut().clear();
    assert_eq!((fixture.tried_by_a_drain(), fixture.spool().paths().len()), (vec![1], 0));
}

#[test]
fn a_trace_that_fails_alone_repeatedly_is_quarantined_with_its_reason() {
    let mut fixture = Fixture::new();
    fixture.eagerness = Eagerness::Asked;
    fixture.put(1, &remote(SERVER), 1);
    fixture.put(1, &remote(SERVER), 2);
    fixture.refuses(1, ExportError::unclear("500 NUL"));
    // With no other trace, the cause stays unknown.
    for _ in 0..2 * MOST_ALONE {
        assert_eq!(fixture.counts(), (0, 2, 0));
    }
    for launch in 1..MOST_ALONE {
        fixture.put(1 + launch as u8, &remote(SERVER), 1);
        assert_eq!(fixture.counts(), (1, 2, 0), "{launch}");
    }
    fixture.put(99, &remote(SERVER), 1);
    assert_eq!(fixture.counts(), (1, 0, 2));
    let reason = Spool::reason(&fixture.spool().quarantined()[0]).unwrap();
    assert_eq!(reason, "it failed 5 times while others were taken: 500 NUL");
}

#[test]
fn a_server_that_shows_a_trace_but_does_not_take_it_is_not_at_fault() {
    let mut fixture = Fixture::new();
    fixture.eagerness = Eagerness::Asked;
    fixture.put(1, &remote(SERVER), 1);
    fixture.refuses(1, ExportError::Unclear { reason: "500".into(), after: None, sign: Sign::ShowsTrace });
    for _ in 1..MOST_ALONE {
        assert_eq!(fixture.counts(), (0, 1, 0));
    }
    assert_eq!(fixture.counts(), (0, 0, 1));
}

#[test]
fn a_server_that_takes_nothing_is_down_and_no_trace_is_blamed() {
    let fixture = Fixture::new();
    let many = u8::try_from(2 * MOST_IN_A_ROW).unwrap();
    for thread in 1..=many {
        fixture.put(thread, &remote(SERVER), 1);
        fixture.refuses(thread, ExportError::unclear("read-only"));
    }
    let tried = fixture.tried_by_a_drain();
    assert_eq!(tried.len(), MOST_IN_A_ROW as usize);
    assert!(fixture.tried_by_a_drain().is_empty(), "it pauses");
    assert!(tried.iter().all(|thread| fixture.tries_of(*thread).unwrap().alone == 0));
    // Repaired, it takes all traces.
    fixture.refused.borrow_mut().clear();
    fixture.now.set(at(1_000_060));
    assert_eq!(fixture.counts(), (usize::from(many), 0, 0));
}

#[test]
fn failures_of_launches_with_one_trace_each_add_up_to_a_server_that_is_down() {
    let fixture = Fixture::new();
    let enough = u8::try_from(MOST_IN_A_ROW).unwrap();
    for thread in 1..=enough {
        fixture.put(thread, &remote(SERVER), 1);
        fixture.refuses(thread, ExportError::unclear("read-only"));
        assert_eq!(fixture.tried_by_a_drain(), [thread]);
    }
    fixture.put(enough + 1, &remote(SERVER), 1);
    assert!(fixture.tried_by_a_drain().is_empty());
}

#[test]
fn a_local_store_that_refuses_one_trace_takes_the_others() {
    let fixture = Fixture::new();
    (1..=4).for_each(|thread| fixture.put(thread, &local("/a.db"), 1));
    fixture.refuses(2, ExportError::unclear("a trigger"));
    assert_eq!(fixture.counts(), (3, 1, 0));
}

#[test]
fn an_archived_trace_waits_for_its_continuation_and_is_not_sent_again() {
    let fixture = Fixture::new();
    fixture.put(1, &remote(SERVER), 1);
    fixture.drain();
    fixture.put(1, &remote(SERVER), 2);
    fixture.put(2, &remote(SERVER), 1);
    fixture.refuses(1, ExportError::Archived("archived".into()));
    for tried in [vec![1, 2], vec![]] {
        fixture.tried.borrow_mut().clear();
        let drained = fixture.drain();
        assert_eq!(fixture.tried.take(), tried);
        assert_eq!((drained.archived.len(), drained.archived[0].trace), (1, TraceId([1; 16])));
        assert_eq!(drained.archived[0].paths, fixture.spool().paths());
    }
}

#[test]
fn a_stopped_export_changes_nothing() {
    let fixture = Fixture::new();
    let server = remote("http://a");
    fixture.put(1, &server, 1);
    fixture.fails(&server, Some(ExportError::Stopped));
    assert_eq!(fixture.counts(), (0, 1, 0));
    fixture.fails(&server, None);
    assert_eq!(fixture.counts(), (1, 0, 0));
}

/// How a server treats a trace, each time.
fn treatment() -> impl Strategy<Value = Option<ExportError>> {
    let refused = |reason: &str| Some(ExportError::Trace(reason.into()));
    let unclear = |sign| Some(ExportError::Unclear { reason: "500".into(), after: None, sign });
    select(vec![
        None,
        None,
        None,
        None,
        unclear(Sign::None),
        unclear(Sign::ShowsTrace),
        refused("400"),
        refused("413"),
    ])
}

proptest! {
    // Each case is some dozen drains, which sync the disk.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_server_that_refuses_some_traces_gets_all_others(
        treatments in vec(treatment(), 1..30),
        launches in vec(1..12_usize, 1..4),
    ) {
        let fixture = Fixture::new();
        let (mut next, mut put) = (0_usize, BTreeSet::new());
        let mut treatments = treatments.into_iter();
        let mut hated = BTreeMap::new();
        let mut launch = |several: usize, is_good: bool| {
            for _ in 0..several {
                let treatment = if is_good { None } else { treatments.next().unwrap_or(None) };
                next += 1;
                let thread = u8::try_from(next).expect("as many as a byte counts");
                fixture.put(thread, &remote(SERVER), 1);
                put.insert(thread);
                if let Some(error) = treatment {
                    hated.insert(thread, error.to_string());
                    fixture.refuses(thread, error);
                }
            }
            let before = fixture.tried.borrow().len();
            fixture.drain();
            let tried = fixture.tried.borrow()[before..].to_vec();
            let once: BTreeSet<u8> = tried.iter().copied().collect();
            assert_eq!(once.len(), tried.len(), "no trace is tried twice in a drain");
            // Longer than every pause.
            fixture.now.set(fixture.now.get() + Duration::from_secs(7200));
        };
        launches.iter().for_each(|several| launch(*several, false));
        // As many launches as a trace may fail in, plus those in which a row of refused traces pauses the
        // server.
        for _ in 0..MOST_ALONE + 30 / MOST_IN_A_ROW {
            launch(1, true);
        }
        let aside: BTreeMap<u8, String> = fixture
            .spool()
            .quarantined()
            .iter()
            .map(|path| (Spool::trace_of(path).unwrap().0[0], Spool::reason(path).unwrap()))
            .collect();
        prop_assert_eq!(fixture.spool().paths().len(), 0, "no entry waits forever");
        prop_assert!(aside.keys().eq(hated.keys()), "{:?} {:?}", aside, hated);
        prop_assert!(aside.iter().all(|(thread, reason)| reason.ends_with(&hated[thread])), "{:?}", aside);
        let arrived = fixture.arrived.borrow().len();
        prop_assert_eq!(arrived + aside.len(), put.len(), "no trace is lost, and none sent twice");
    }
}
