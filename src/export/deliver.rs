//! Emptying the spool: the newest form of each trace to its target; what it replaces is removed with it.

use super::{Delivered, ExportError, Exporter};
use crate::config::target::{Experiment, Target};
use crate::spool::{DrainLock, Entry, Spool};
use crate::trace::ids::TraceId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How one drain went.
#[derive(Debug, Default)]
pub struct Drained {
    pub delivered: Vec<(TraceId, Delivered)>,
    pub waiting: Vec<Waiting>,
}

/// An entry that stays in the spool, and why.
#[derive(Debug)]
pub struct Waiting {
    pub path: PathBuf,
    pub reason: String,
}

/// When to leave the rest for another time.
pub struct Limits<'a> {
    /// How long to wait for another delivery to end.
    pub patience: Duration,
    /// How long to begin further traces; None for as long as it takes.
    pub budget: Option<Duration>,
    /// Whether somebody wants us to end.
    pub is_asked_to_end: &'a dyn Fn() -> bool,
}

/// Another delivery is at work; it takes what it finds, and at the latest the next launch takes the rest.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("another codex-traced is delivering")]
    Busy,
    #[error("cannot lock the spool: {0}")]
    Lock(std::io::Error),
}

/// How often a busy spool is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes the exporter of a target.
pub trait Connect<'a>: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError> {}
impl<'a, F: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError>> Connect<'a> for F {}

/// Delivers what the spool holds, and what comes meanwhile.
pub fn drain<'a>(spool: &Spool, limits: &Limits, connect: impl Connect<'a>) -> Result<Drained, DrainError> {
    let _lock = lock(spool, limits.patience)?;
    spool.sweep();
    let mut drain =
        Drain { limits, connect, begun: Instant::now(), shut: HashMap::new(), drained: Drained::default() };
    let mut seen: HashSet<PathBuf> = HashSet::new();
    loop {
        let mut by_trace: BTreeMap<TraceId, Vec<PathBuf>> = BTreeMap::new();
        for path in spool.paths() {
            // A file of another name is nothing that we put there.
            if let Some(trace) = Spool::trace_of(&path) {
                by_trace.entry(trace).or_default().push(path);
            }
        }
        by_trace.retain(|_, paths| paths.iter().any(|path| !seen.contains(path)));
        if by_trace.is_empty() {
            return Ok(drain.drained);
        }
        for paths in by_trace.into_values() {
            seen.extend(paths.iter().cloned());
            drain.deliver_trace(paths);
        }
    }
}

struct Drain<'a, C> {
    limits: &'a Limits<'a>,
    connect: C,
    begun: Instant,
    /// Targets that are left alone for the rest of the drain: each further try would wait as long.
    shut: HashMap<Target, String>,
    drained: Drained,
}

impl<'a, C: Connect<'a>> Drain<'_, C> {
    /// All entries of one trace. Of those for one target only the newest is sent: an older one that waited
    /// for longer must not come after it.
    fn deliver_trace(&mut self, paths: Vec<PathBuf>) {
        let mut by_target: HashMap<Target, Vec<(PathBuf, Entry)>> = HashMap::new();
        for path in paths {
            match Spool::load(&path) {
                Ok(entry) => by_target.entry(entry.target.clone()).or_default().push((path, entry)),
                Err(error) => self.drained.waiting.push(Waiting { path, reason: error.to_string() }),
            }
        }
        for mut entries in by_target.into_values() {
            entries.sort_by_key(|(_, entry)| (entry.trace.ended_at, entry.trace.spans.len()));
            let Some((_, newest)) = entries.last() else { continue };
            let sent = self.deliver(newest);
            if let Ok(delivered) = &sent {
                self.drained.delivered.push((newest.trace.id, delivered.clone()));
            }
            for (path, _) in entries {
                // If a removal fails the trace is delivered again, which changes nothing.
                let removed = sent
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|_| Spool::remove(&path).map_err(|error| error.to_string()));
                if let Err(reason) = removed {
                    self.drained.waiting.push(Waiting { path, reason });
                }
            }
        }
    }

    fn deliver(&mut self, entry: &Entry) -> Result<Delivered, String> {
        if (self.limits.is_asked_to_end)()
            || self.limits.budget.is_some_and(|budget| self.begun.elapsed() > budget)
        {
            return Err("left for later, so as not to keep you waiting".into());
        }
        if let Some(reason) = self.shut.get(&entry.target) {
            return Err(reason.clone());
        }
        let shut = |error: ExportError| (error.to_string(), true);
        let exported =
            (self.connect)(&entry.target, &entry.experiment).map_err(shut).and_then(|mut exporter| {
                exporter.export(&entry.trace, None).map_err(|error| {
                    let is_targets = !matches!(error, ExportError::Trace(_));
                    (error.to_string(), is_targets)
                })
            });
        exported.map_err(|(reason, is_targets)| {
            if is_targets {
                self.shut.insert(entry.target.clone(), reason.clone());
            }
            reason
        })
    }
}

fn lock(spool: &Spool, patience: Duration) -> Result<DrainLock, DrainError> {
    let begun = Instant::now();
    loop {
        if let Some(lock) = spool.try_lock().map_err(DrainError::Lock)? {
            return Ok(lock);
        }
        if begun.elapsed() > patience {
            return Err(DrainError::Busy);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::receipt::Receipt;
    use crate::trace::model::{Trace, TraceState};
    use jiff::Timestamp;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(thread: u8, target: &str, ended: i64) -> Entry {
        Entry {
            target: Target::Sqlite(target.into()),
            experiment: Experiment::Name("e".into()),
            trace: Trace {
                id: TraceId([thread; 16]),
                name: "n".into(),
                state: TraceState::Ok,
                started_at: at(0),
                ended_at: at(ended),
                request_preview: None,
                response_preview: None,
                metadata: [].into(),
                tags: [].into(),
                spans: Vec::new(),
            },
        }
    }

    /// What arrived: target and end of each trace.
    type Arrived = Rc<RefCell<Vec<(String, i64)>>>;

    struct Shelf(Target, Arrived);

    impl Exporter for Shelf {
        fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
            self.1.borrow_mut().push((self.0.to_string(), trace.ended_at.as_second()));
            Ok(Delivered { experiment_id: "1".into(), spans_sent: 0 })
        }
    }

    fn run(spool: &Spool, budget: Option<Duration>, closed: &[&str]) -> (Drained, Vec<(String, i64)>, usize) {
        let (arrived, tries) = (Arrived::default(), Rc::new(RefCell::new(0)));
        let limits = Limits { patience: Duration::ZERO, budget, is_asked_to_end: &|| false };
        let connect = |target: &Target, _: &Experiment| -> Result<Box<dyn Exporter>, ExportError> {
            *tries.borrow_mut() += 1;
            if closed.iter().any(|closed| *target == Target::Sqlite(closed.into())) {
                return Err(ExportError::Target("closed".into()));
            }
            Ok(Box::new(Shelf(target.clone(), arrived.clone())))
        };
        let drained = drain(spool, &limits, connect).unwrap();
        let tries = *tries.borrow();
        (drained, arrived.take(), tries)
    }

    #[test]
    fn only_the_newest_form_of_a_trace_is_sent_and_the_older_ones_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().into());
        // Put in another order than they were read: the clock may go back, a launch may be slow.
        for (put, ended) in [(1, 20), (2, 10)] {
            spool.put(&entry(1, "/a.db", ended), at(put)).unwrap();
        }
        spool.put(&entry(1, "/b.db", 5), at(3)).unwrap();
        let (drained, mut arrived, _) = run(&spool, None, &[]);
        arrived.sort();
        assert_eq!(arrived, [("sqlite:////a.db".into(), 20), ("sqlite:////b.db".into(), 5)]);
        assert_eq!((drained.delivered.len(), drained.waiting.len(), spool.paths().len()), (2, 0, 0));
    }

    #[test]
    fn a_closed_target_is_tried_once_and_the_others_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().into());
        for thread in 1..=5 {
            spool.put(&entry(thread, "/closed.db", 1), at(1)).unwrap();
        }
        spool.put(&entry(9, "/open.db", 1), at(1)).unwrap();
        let (drained, arrived, tries) = run(&spool, None, &["/closed.db"]);
        assert_eq!((arrived.len(), drained.waiting.len(), tries), (1, 5, 2));
        assert!(drained.waiting.iter().all(|waiting| waiting.reason == "closed"));
    }

    #[test]
    fn past_its_budget_a_drain_leaves_the_rest_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().into());
        spool.put(&entry(1, "/a.db", 1), at(1)).unwrap();
        let (drained, arrived, _) = run(&spool, Some(Duration::ZERO), &[]);
        assert_eq!((drained.waiting.len(), arrived.len(), spool.paths().len()), (1, 0, 1));
    }
}
