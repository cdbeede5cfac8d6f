//! One drain: the exporters it holds open, the entries it tried, and the effect of each failure.

mod admit;
mod attempt;
mod doubts;
mod fate;
mod together;

use super::blame::{self, Slot};
use super::{Archived, Connect, DeliveryRequest, DrainError, DrainStep, Drained, Eagerness, Waiting};
use crate::queue::receipts::{Receipts, StoredReceipt};
use crate::queue::spool::backoff::Backoff;
use crate::queue::spool::entry::Head;
use crate::queue::spool::policy::{DeliveryJob, Lane, jobs};
use crate::queue::spool::tries::EntryTries;
use crate::queue::spool::{Spool, SpoolError};
use attempt::{Admitted, Doubts, NotDelivered, Tried};
use mlflow_store::exporter::{Delivered, ExportError, Exporter};
use mlflow_store::receipt::Receipt;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::Trace;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) struct Drain<'a, 'd, C> {
    spool: &'d Spool,
    receipts: &'d Receipts,
    request: &'d DeliveryRequest<'d>,
    connect: C,
    begun: Instant,
    /// Kept open, so that each server is connected to once.
    exporters: HashMap<(Target, Experiment), Box<dyn Exporter + 'a>>,
    /// Targets not tried again in this drain, with the reason: each further try would wait as long.
    shut: HashMap<Target, String>,
    /// Open questions about the other targets.
    doubts: HashMap<Target, Doubts>,
    /// Total time of failed tries.
    spent: Duration,
    /// Jobs that were cut off in favour of others, and get another try.
    again: Vec<DeliveryJob>,
    /// The tries of entries before this drain.
    before: HashMap<PathBuf, Option<EntryTries>>,
    heads: HashMap<PathBuf, Head>,
    /// Entries that this drain tried.
    seen: HashSet<PathBuf>,
    waiting: BTreeMap<PathBuf, String>,
    steps: usize,
    drained: Drained,
}

/// After a failure that takes longer, the drain looks for new entries.
const LONG: Duration = Duration::from_millis(500);

impl<'a, 'd, C: Connect<'a>> Drain<'a, 'd, C> {
    pub(super) fn begin(
        spool: &'d Spool,
        receipts: &'d Receipts,
        request: &'d DeliveryRequest<'d>,
        connect: C,
    ) -> Drain<'a, 'd, C> {
        Drain {
            spool,
            receipts,
            request,
            connect,
            begun: Instant::now(),
            exporters: HashMap::new(),
            shut: HashMap::new(),
            doubts: HashMap::new(),
            spent: Duration::ZERO,
            again: Vec::new(),
            before: HashMap::new(),
            heads: HashMap::new(),
            seen: HashSet::new(),
            waiting: BTreeMap::new(),
            steps: 0,
            drained: Drained::default(),
        }
    }

    pub(super) fn end(mut self) -> Drained {
        let waiting = self.waiting.into_iter().map(|(path, reason)| Waiting { path, reason });
        self.drained.waiting = waiting.collect();
        self.drained
    }

    /// Delivers all entries of a lane.
    pub(super) fn lane(&mut self, lane: Lane) -> Result<(), DrainError> {
        // Look again after the lock is released: a process that put an entry while it was held left it to
        // this one.
        while !self.new_jobs(lane).is_empty() {
            let lock = self.spool.lock(lane, self.request.patience).map_err(DrainError::Lock)?;
            let Some(_lock) = lock else {
                self.drained.is_elsewhere = true;
                return Ok(());
            };
            self.spool.sweep();
            let mut backoff = self.spool.backoff(lane);
            self.remember_doubts(lane);
            loop {
                let jobs = self.new_jobs(lane);
                if jobs.is_empty() {
                    if self.again.is_empty() {
                        break;
                    }
                    let waiting = u32::try_from(self.again.len()).unwrap_or(u32::MAX);
                    let job = self.again.remove(0);
                    // The first failure's reason is more useful than "no time left".
                    if self.left() < LONG {
                        continue;
                    }
                    self.work(&job, lane, &mut backoff, self.steps, Slot::Again { waiting });
                    continue;
                }
                self.all_of(&jobs, lane, &mut backoff);
            }
            self.settle(lane);
        }
        Ok(())
    }

    /// Tries all jobs, or stops after a failure that took long: new entries may have come, and are tried
    /// first.
    fn all_of(&mut self, jobs: &[DeliveryJob], lane: Lane, backoff: &mut Backoff) {
        let (of, spent) = (self.steps + jobs.len(), self.spent);
        let mut left = jobs;
        for batch in together::batches(jobs, lane) {
            left = &left[batch.len()..];
            if batch.len() > 1 && self.work_together(batch, backoff, of) {
                continue;
            }
            for (at, job) in batch.iter().enumerate() {
                let is_for_it = |other: &DeliveryJob| other.head.target == job.head.target;
                let is_last = !batch[at + 1..].iter().chain(left).any(is_for_it);
                let turn = if is_last { Slot::Last } else { Slot::BeforeOthers };
                self.work(job, lane, backoff, of, turn);
                if self.spent - spent > LONG {
                    return;
                }
            }
        }
    }

    /// Jobs with at least one entry that this drain did not try yet.
    fn new_jobs(&mut self, lane: Lane) -> Vec<DeliveryJob> {
        let mut entries = Vec::new();
        for path in self.spool.paths() {
            if let Some(head) = self.head(&path)
                && Lane::from_target(&head.target) == lane
            {
                entries.push((path, head));
            }
        }
        let is_new =
            |job: &DeliveryJob| job.older.iter().chain([&job.path]).any(|path| !self.seen.contains(path));
        let mut jobs: Vec<DeliveryJob> = jobs(entries).into_iter().filter(is_new).collect();
        // Traces with fewer failures go first; the sort is stable, so names decide among equals.
        jobs.sort_by_cached_key(|job| tries_of(job).map_or(0, |tries| tries.own));
        jobs
    }

    fn head(&mut self, path: &Path) -> Option<Head> {
        if let Some(head) = self.heads.get(path) {
            return Some(head.clone());
        }
        match Spool::head(path) {
            Ok(head) => {
                self.heads.insert(path.to_owned(), head.clone());
                return Some(head);
            }
            Err(error) if error.is_gone() => {}
            Err(error) => self.unreadable(path, &error),
        }
        None
    }

    /// Entries appear complete, so a torn one is damaged rather than still being written.
    fn unreadable(&mut self, path: &Path, error: &SpoolError) {
        match error {
            SpoolError::Torn(_) => self.set_aside(path, error.to_string()),
            _ => _ = self.waiting.insert(path.to_owned(), error.to_string()),
        }
    }

    fn set_aside(&mut self, path: &Path, reason: String) {
        match self.spool.quarantine(path, &reason) {
            Ok(path) => self.drained.set_aside.push(Waiting { path, reason }),
            Err(error) if error.is_gone() => {}
            Err(error) => {
                let reason = format!("{reason} (and cannot be set aside: {error})");
                self.waiting.insert(path.to_owned(), reason);
            }
        }
    }

    fn work(&mut self, job: &DeliveryJob, lane: Lane, backoff: &mut Backoff, of: usize, turn: Slot) {
        let all = || job.older.iter().chain([&job.path]);
        self.seen.extend(all().cloned());
        self.steps += usize::from(!matches!(turn, Slot::Again { .. }));
        let done = self.deliver(job, lane, backoff, turn).and_then(|()| self.clear(job));
        let outcome = match &done {
            Ok(()) | Err(NotDelivered::Gone) => Some(Ok(())),
            Err(NotDelivered::Waits(reason) | NotDelivered::SetAside(reason)) => Some(Err(reason.as_str())),
            // Reported when the trace that continues it was sent.
            Err(NotDelivered::Archived(_)) => None,
        };
        let (trace, target) = (job.head.trace, &job.head.target);
        if let Some(outcome) = outcome {
            (self.request.progress)(&DrainStep { number: self.steps, of, trace, target, outcome });
        }
        for path in all() {
            self.waiting.remove(path);
            match &done {
                Ok(()) | Err(NotDelivered::Gone) => {}
                Err(NotDelivered::Waits(reason) | NotDelivered::Archived(reason)) => {
                    self.waiting.insert(path.clone(), reason.clone());
                }
                Err(NotDelivered::SetAside(reason)) => self.set_aside(path, reason.clone()),
            }
        }
        if let Err(NotDelivered::Archived(reason)) = done {
            let (paths, target) = (all().cloned().collect(), target.clone());
            self.drained.archived.push(Archived { trace, target, paths, reason });
        }
    }

    /// Sends one job and writes its receipt.
    fn deliver(
        &mut self,
        job: &DeliveryJob,
        lane: Lane,
        backoff: &mut Backoff,
        turn: Slot,
    ) -> Result<(), NotDelivered> {
        let Some(Admitted { entry, before }) = self.admit(job, backoff)? else { return Ok(()) };
        let target = &job.head.target;
        let key = (entry.target.clone(), entry.experiment.clone());
        let bytes = bytes_of(job);
        let has_failed = self.before_drain(job).is_some_and(|tries| tries.own > 0);
        let turn = match turn {
            // A launch gives a trace that failed before no more than its share of the time.
            Slot::Last if has_failed && self.request.eagerness == Eagerness::Patient => Slot::BeforeOthers,
            turn => turn,
        };
        // Local stores have limits of their own.
        let allotted = (lane == Lane::Remote).then(|| blame::allotted(turn, self.left(), bytes));
        let receipt = before.as_ref().map(|kept| &kept.receipt);
        let (exported, took) = self.export(&key, &entry.trace, receipt, allotted);
        let delivered = exported.as_ref().ok().cloned();
        let Some(delivered) = delivered else {
            // A failed export may leave the connection in an unknown state.
            self.exporters.remove(&key);
            self.spent += took;
            return Err(self.fate(job, Tried { exported, took, allotted, bytes }, (lane, turn), backoff));
        };
        self.passed(job);
        if let Err(error) = backoff.set(target, None) {
            tracing::warn!("cannot end the pause of {target}: {error}");
        }
        self.receipts.keep(entry.trace.id, self.kept(job, &entry.trace, &delivered)).map_err(|error| {
            NotDelivered::Waits(format!(
                "delivered, but its receipt cannot be written: {}",
                SpoolError::Io(error)
            ))
        })?;
        self.drained.delivered.push((entry.trace.id, delivered));
        Ok(())
    }

    fn kept(&self, job: &DeliveryJob, trace: &Trace, delivered: &Delivered) -> StoredReceipt {
        let (target, experiment) = (job.head.target.clone(), delivered.experiment_id.clone());
        let receipt = Receipt::from_trace(target, experiment, (self.request.now)(), trace);
        StoredReceipt { receipt, rank: job.head.rank, bytes: bytes_of(job) }
    }

    /// The result, and the time it took after the target was connected to.
    fn export(
        &mut self,
        key: &(Target, Experiment),
        trace: &Trace,
        before: Option<&Receipt>,
        allotted: Option<Duration>,
    ) -> (Result<Delivered, ExportError>, Duration) {
        let exporter = match self.exporter(key) {
            Ok(exporter) => exporter,
            Err(ExportError::Unclear { reason, after, .. }) => {
                let error = ExportError::Transient { reason, after, status: None };
                return (Err(error), Duration::ZERO);
            }
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let begun = Instant::now();
        exporter.give_up_at(allotted.and_then(|allotted| begun.checked_add(allotted)));
        // A trace that makes the exporter panic must not block the others.
        let exported = catch_unwind(AssertUnwindSafe(|| exporter.export(trace, before)));
        exporter.give_up_at(None);
        let defect = |_| Err(ExportError::Trace("a defect of codex-traced (see its log)".into()));
        (exported.unwrap_or_else(defect), begun.elapsed())
    }

    fn exporter(&mut self, key: &(Target, Experiment)) -> Result<&mut (dyn Exporter + 'a), ExportError> {
        if !self.exporters.contains_key(key) {
            let exporter = (self.connect)(&key.0, &key.1)?;
            self.exporters.insert(key.clone(), exporter);
        }
        Ok(&mut **self.exporters.get_mut(key).expect("it was opened just now"))
    }
}

fn bytes_of(job: &DeliveryJob) -> u64 {
    fs::metadata(&job.path).map(|file| file.len()).unwrap_or_default()
}

/// The tries of the job's newest form that was tried.
fn tries_of(job: &DeliveryJob) -> Option<EntryTries> {
    std::iter::once(&job.path).chain(job.older.iter().rev()).find_map(|path| Spool::tries(path))
}
