//! The spool against a simple model: in any order of events no trace is lost or duplicated, and no older form follows
//! a newer one.

use codex_traced::queue::drain::{DeliveryRequest, Drained, Eagerness, drain};
use codex_traced::queue::receipts::Receipts;
use codex_traced::queue::spool::Spool;
use codex_traced::queue::spool::entry::{Entry, Head};
use codex_traced::queue::spool::list::{Listed, named};
use codex_traced::redact::Redacted;
use jiff::Timestamp;
use mlflow_store::exporter::{Delivered, ExportError, Exporter};
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Trace, TraceState};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use support::run::LIMIT;
use tempfile::TempDir;

/// A trace for a target.
type Route = (u8, usize);

/// One event of the model.
#[derive(Clone, Debug)]
enum Event {
    /// A launch puts a form of a trace; a slow launch puts an older form.
    Put {
        route: Route,
        behind: i64,
    },
    Drain {
        eagerness: Eagerness,
        targets: [Mode; 2],
        crash: Option<Crash>,
    },
    /// A launch crashes during a put.
    HalfPut,
    /// Quarantined entries wait again, and no target pauses.
    Retry,
    Drop(Index),
    Clock(i64),
}

/// The condition of a target.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Up,
    Away,
    Refuses,
    WillNotTake,
}

/// Where the delivering process crashes, by what is on disk then.
#[derive(Clone, Copy, Debug)]
enum Crash {
    BeforeReceipts,
    BeforeRemovals,
}

fn event() -> impl Strategy<Value = Event> {
    let route = (0..3_u8, 0..2_usize);
    let mode = select(vec![Mode::Up, Mode::Up, Mode::Away, Mode::Refuses, Mode::WillNotTake]);
    let eagerness = select(vec![Eagerness::Patient, Eagerness::Asked]);
    let crash = select(vec![None, None, Some(Crash::BeforeReceipts), Some(Crash::BeforeRemovals)]);
    let targets = [mode.clone(), mode];
    prop_oneof![
        6 => (route, 0..3_i64).prop_map(|(route, behind)| Event::Put { route, behind }),
        5 => (eagerness, targets, crash)
            .prop_map(|(eagerness, targets, crash)| Event::Drain { eagerness, targets, crash }),
        1 => Just(Event::HalfPut),
        1 => Just(Event::Retry),
        1 => any::<Index>().prop_map(Event::Drop),
        2 => select(vec![-100_000, -40, 5, 20, 40, 4000]).prop_map(Event::Clock),
    ]
}

fn targets() -> [Target; 2] {
    [Target::Sqlite("/local.db".into()), Target::Http("http://remote".into())]
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time of this century")
}

struct Model {
    folder: TempDir,
    clock: i64,
    /// The newest form of each trace: a session only grows.
    newest: BTreeMap<Route, i64>,
    /// Every form that was put, except those that a user dropped.
    put: BTreeSet<(Route, i64)>,
    targets_state: RefCell<Targets>,
    /// When the remote target failed last, while it may pause.
    failed_at: Option<i64>,
}

/// The targets as they are.
#[derive(Default)]
struct Targets {
    modes: Option<[Mode; 2]>,
    holds: BTreeMap<Route, i64>,
    /// Of this drain.
    tried: BTreeSet<usize>,
    /// A broken invariant; a panic here would count as a defect of the exporter.
    violation: Option<String>,
    /// A user dropped the form that the target had, so an older form may follow.
    excused: BTreeSet<Route>,
}

struct ModelTarget<'a>(usize, &'a RefCell<Targets>);

impl Exporter for ModelTarget<'_> {
    fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
        let ModelTarget(target, targets_state) = self;
        let mut targets_state = targets_state.borrow_mut();
        targets_state.tried.insert(*target);
        match targets_state.modes.map_or(Mode::Up, |modes| modes[*target]) {
            Mode::Up => {}
            Mode::Away => return Err(ExportError::transient("away")),
            Mode::Refuses => return Err(ExportError::Target("401".into())),
            Mode::WillNotTake => return Err(ExportError::Trace("too large".into())),
        }
        let (route, form) = ((trace.id.0[0], *target), trace.ended_at.as_second());
        let before = targets_state.holds.insert(route, form);
        if before.is_some_and(|before| before > form) && !targets_state.excused.contains(&route) {
            targets_state.violation = Some(format!("{route:?}: {form} came after {before:?}"));
        }
        Ok(Delivered { experiment_id: "1".into(), spans_sent: 0 })
    }
}

impl Model {
    fn new() -> Model {
        Model {
            folder: tempfile::tempdir().expect("make a folder"),
            clock: 1_000_000_000,
            newest: BTreeMap::new(),
            put: BTreeSet::new(),
            targets_state: RefCell::default(),
            failed_at: None,
        }
    }

    fn spool(&self) -> Spool {
        Spool::new(self.folder.path().join("spool"))
    }

    fn receipts(&self) -> PathBuf {
        self.folder.path().join("receipts")
    }

    fn put(&mut self, route: Route, behind: i64) {
        let newest = self.newest.entry(route).or_default();
        let form = if behind == 0 { *newest + 1 } else { (*newest - behind).max(1) };
        *newest = form.max(*newest);
        self.put.insert((route, form));
        let trace = Trace {
            id: TraceId([route.0; 16]),
            name: "n".into(),
            state: TraceState::Ok,
            started_at: at(0),
            ended_at: at(form),
            request_preview: None,
            response_preview: None,
            context: Default::default(),
            metadata: [].into(),
            tags: [].into(),
            spans: Vec::new(),
        };
        let entry = Entry {
            target: targets()[route.1].clone(),
            experiment: Experiment::Name("e".into()),
            trace: Redacted::with_built_in_rules(trace),
        };
        self.spool().put(&entry, at(self.clock)).expect("put");
    }

    fn drain(&mut self, eagerness: Eagerness) -> Drained {
        self.targets_state.borrow_mut().tried.clear();
        let (now, jitter) = (|| at(self.clock), || 0.5);
        let request = DeliveryRequest {
            // A process that another test of this program forks holds the lock until it execs.
            patience: LIMIT,
            budget: None,
            eagerness,
            now: &now,
            jitter: &jitter,
            ..DeliveryRequest::of_user()
        };
        let connect = |target: &Target, _: &Experiment| -> Result<Box<dyn Exporter + '_>, ExportError> {
            let number = targets().iter().position(|known| known == target).expect("a target of the model");
            Ok(Box::new(ModelTarget(number, &self.targets_state)))
        };
        drain(&self.spool(), &Receipts::new(self.receipts()), &request, &self.spool().lanes(), connect)
            .expect("no other process delivers")
    }

    fn drain_and_check(&mut self, eagerness: Eagerness, modes: [Mode; 2], crash: Option<Crash>) {
        self.targets_state.borrow_mut().modes = Some(modes);
        let spool = self.folder.path().join("spool");
        let (before, receipts) = (files(&spool), files(&self.receipts()));
        let wants_remote = self.has_something_for(1);
        let drained = self.drain(eagerness);
        assert_eq!(self.targets_state.borrow_mut().violation.take(), None);
        let waiting: Vec<PathBuf> = drained.waiting.into_iter().map(|waiting| waiting.path).collect();
        assert_eq!(waiting, self.spool().paths(), "what waits is report");

        // 22 s are three quarters of the first pause, and 3600 the longest.
        let rests_surely = self.failed_at.is_some_and(|failed| (failed..failed + 22).contains(&self.clock));
        let rests_maybe = self.failed_at.is_some_and(|failed| (failed..failed + 3600).contains(&self.clock));
        let was_tried = self.targets_state.borrow().tried.contains(&1);
        match eagerness {
            Eagerness::Patient if rests_surely => assert!(!was_tried, "a server in its pause was tried"),
            Eagerness::Patient if rests_maybe => {}
            _ if wants_remote => assert!(was_tried, "a server was not tried"),
            _ => {}
        }
        match modes[1] {
            Mode::Up if was_tried => self.failed_at = None,
            Mode::Away | Mode::Refuses if was_tried => self.failed_at = Some(self.clock),
            _ => {}
        }
        // After a crash the removed entries are still there; the quarantined ones stay moved.
        if let Some(crash) = crash {
            let aside: BTreeSet<_> = self.spool().quarantined().iter().map(|path| name_of(path)).collect();
            for (name, bytes) in
                before.iter().filter(|(name, _)| !aside.contains(*name) && !name.starts_with('.'))
            {
                fs::write(spool.join(name), bytes).expect("write");
            }
            if let Crash::BeforeReceipts = crash {
                let _ = fs::remove_dir_all(self.receipts());
                fs::create_dir(self.receipts()).expect("make the folder of receipts");
                receipts.iter().for_each(|(name, bytes)| {
                    fs::write(self.receipts().join(name), bytes).expect("write");
                });
            }
        }
    }

    /// Some form that waits is newer than what the target has, and than what was set aside.
    fn has_something_for(&self, target: usize) -> bool {
        let (holds, listed) = (&self.targets_state.borrow().holds, self.spool().list());
        listed.iter().filter(|entry| is_for(entry, target) && is_waiting(entry)).any(|entry| {
            let form = form_of(&entry.path);
            let is_newer = |other: &Listed| {
                let is_same = other.trace == entry.trace && is_for(other, target);
                is_same && !is_waiting(other) && form_of(&other.path) > form
            };
            let is_held = holds.get(&(entry.trace.0[0], target)).is_some_and(|held| form < *held);
            !is_held && !listed.iter().any(is_newer)
        })
    }

    fn half_put(&self) {
        let spool = self.folder.path().join("spool");
        fs::create_dir_all(&spool).expect("make the spool");
        fs::write(spool.join(".tmp-AbCdEf"), "{\"version\":2,\"hea").expect("write");
    }

    fn retry(&mut self) {
        self.spool().retry_quarantined().expect("bring back");
        self.failed_at = None;
    }

    fn drop_one(&mut self, which: Index) {
        let listed = self.spool().list();
        if listed.is_empty() {
            return;
        }
        let entry = which.get(&listed);
        let target = usize::from(!is_for(entry, 0));
        let (route, form) = ((entry.trace.0[0], target), form_of(&entry.path));
        assert_eq!(named(&entry.id, &listed), Ok(entry));
        Spool::drop_listed(entry).expect("drop");
        if self.targets_state.borrow().holds.get(&route).is_some_and(|held| form >= *held) {
            self.targets_state.borrow_mut().excused.insert(route);
        }
        let remains = self.spool().list();
        assert_eq!(remains.len(), listed.len() - 1, "one entry goes");
        // The same form may have been put twice.
        let is_same = |other: &Listed| {
            other.trace == entry.trace && other.target == entry.target && form_of(&other.path) == form
        };
        if !remains.iter().any(is_same) {
            self.put.remove(&(route, form));
        }
    }

    /// Every form that was put, or a newer one, is in its target or in the spool.
    fn assert_nothing_lost(&self) {
        let listed = self.spool().list();
        let ids: BTreeSet<&str> = listed.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids.len(), listed.len(), "two entries of one name");
        let holds = &self.targets_state.borrow().holds;
        for (route, form) in &self.put {
            let is_there = holds.get(route).is_some_and(|held| held >= form);
            let is_here = listed.iter().any(|entry| {
                entry.trace.0[0] == route.0 && is_for(entry, route.1) && form_of(&entry.path) >= *form
            });
            assert!(is_there || is_here, "{route:?} {form} is lost");
        }
    }
}

fn is_for(entry: &Listed, target: usize) -> bool {
    entry.target.as_ref() == Some(&targets()[target])
}

fn is_waiting(entry: &Listed) -> bool {
    !entry.path.parent().is_some_and(|folder| folder.ends_with("set_aside"))
}

fn form_of(path: &Path) -> i64 {
    Head::load(path).expect("an entry of the model").rank.ended_at.as_second()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (name_of(&path), fs::read(&path).expect("read")))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_trace_is_lost_or_duplicated_and_no_older_form_follows_a_newer_one(
        events in vec(event(), 1..24)
    ) {
        let mut model = Model::new();
        for event in events {
            match event {
                Event::Put { route, behind } => model.put(route, behind),
                Event::Drain { eagerness, targets, crash } => model.drain_and_check(eagerness, targets, crash),
                Event::HalfPut => model.half_put(),
                Event::Retry => model.retry(),
                Event::Drop(which) => model.drop_one(which),
                Event::Clock(by) => model.clock += by,
            }
            model.assert_nothing_lost();
        }
        // With every target up, everything is delivered.
        model.retry();
        model.drain_and_check(Eagerness::Asked, [Mode::Up; 2], None);
        model.assert_nothing_lost();
        prop_assert_eq!(model.spool().list(), []);
    }
}
