//! Delivery of the spool, one pass over it: the newest form of each trace goes to its target; the forms it replaces
//! are removed.

mod attempt;
mod blame;
mod delivery_request;
mod failure;
mod job;
#[cfg(test)]
mod tests;

pub use delivery_request::{
    Archived, Connect, DeliveryRequest, DrainError, DrainStep, Drained, Eagerness, Waiting,
};

use crate::queue::receipts::Receipts;
use crate::queue::spool::Spool;
use crate::queue::spool::entry::Head;
use crate::queue::spool::retry::{Backoff, EntryTries, Lane};
use blame::{Slot, TargetHealth};
use job::{DeliveryJob, NotDelivered, batches, jobs};
use mlflow_store::exporter::Exporter;
use mlflow_store::target::{Experiment, Target};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After failures that take longer, the drain looks for new entries.
const LONG: Duration = Duration::from_millis(500);

/// Delivers the entries of these lanes, one lane after the other, including those put during the drain.
pub fn drain<'a>(
    spool: &Spool,
    receipts: &Receipts,
    request: &DeliveryRequest,
    lanes: &[Lane],
    connect: impl Connect<'a>,
) -> Result<Drained, DrainError> {
    let mut drain = Drain {
        spool,
        receipts,
        request,
        connect,
        begun: Instant::now(),
        backoff: spool.backoff(&Lane::Local),
        exporters: HashMap::new(),
        health: HashMap::new(),
        spent: Duration::ZERO,
        again: Vec::new(),
        before: HashMap::new(),
        heads: HashMap::new(),
        seen: HashSet::new(),
        waiting: BTreeMap::new(),
        steps: 0,
        known: 0,
        drained: Drained::default(),
    };
    for lane in lanes {
        drain.deliver_lane(lane)?;
    }
    let waiting = drain.waiting.into_iter().map(|(path, reason)| Waiting { path, reason });
    Ok(Drained { waiting: waiting.collect(), ..drain.drained })
}

/// The exporters that a drain holds open, the entries it tried, and what it knows of targets.
struct Drain<'a, 'd, C> {
    spool: &'d Spool,
    receipts: &'d Receipts,
    request: &'d DeliveryRequest<'d>,
    connect: C,
    begun: Instant,
    /// The pauses of the lane's targets.
    backoff: Backoff,
    /// Kept open, so that each server is connected to once.
    exporters: HashMap<(Target, Experiment), Box<dyn Exporter + 'a>>,
    health: HashMap<Target, TargetHealth>,
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
    /// Number of deliveries known so far.
    known: usize,
    drained: Drained,
}

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Delivers all entries of a lane.
    fn deliver_lane(&mut self, lane: &Lane) -> Result<(), DrainError> {
        // Look again after the lock is released: a process that put an entry while it was held left it to
        // this one.
        while !self.new_jobs(lane).is_empty() {
            let lock = self.spool.lock(lane, self.request.patience).map_err(DrainError)?;
            let Some(_lock) = lock else {
                self.drained.is_elsewhere = true;
                return Ok(());
            };
            self.spool.sweep();
            self.backoff = self.spool.backoff(lane);
            self.remember_undecided(lane);
            loop {
                let jobs = self.new_jobs(lane);
                if !jobs.is_empty() {
                    self.deliver_all(&jobs);
                } else if !self.again.is_empty() {
                    self.deliver_again();
                } else {
                    break;
                }
            }
            self.settle();
        }
        Ok(())
    }

    /// Tries all jobs, or stops after failures that took long: new entries may have come, and are tried first.
    fn deliver_all(&mut self, jobs: &[DeliveryJob]) {
        let spent = self.spent;
        self.known = self.steps + jobs.len();
        let mut rest = jobs;
        for batch in batches(jobs) {
            if batch.len() > 1 && self.deliver_together(batch).is_some() {
                rest = &rest[batch.len()..];
                continue;
            }
            for job in batch {
                rest = &rest[1..];
                let is_last = rest.iter().all(|other| other.head.target != job.head.target);
                self.work(job, if is_last { Slot::Last } else { Slot::BeforeOthers });
                if self.spent - spent > LONG {
                    return;
                }
            }
        }
    }

    /// Gives the first job that was cut off another try.
    fn deliver_again(&mut self) {
        let waiting = u32::try_from(self.again.len()).unwrap_or(u32::MAX);
        let job = self.again.remove(0);
        // The first failure's reason is more useful than "no time left".
        if self.left() >= LONG {
            self.known = self.steps;
            self.work(&job, Slot::Again { waiting });
        }
    }

    /// Jobs with at least one entry that this drain did not try yet.
    fn new_jobs(&mut self, lane: &Lane) -> Vec<DeliveryJob> {
        let paths = self.spool.paths().into_iter();
        let of_lane = |path: PathBuf| {
            let head = self.head(&path).filter(|head| Lane::from_target(&head.target) == *lane)?;
            Some((path, head))
        };
        let entries: Vec<_> = paths.filter_map(of_lane).collect();
        let mut jobs = jobs(entries);
        jobs.retain(|job| job.paths().any(|path| !self.seen.contains(path)));
        // Traces with fewer failures go first; the sort is stable, so names decide among equals.
        jobs.sort_by_cached_key(|job| job.tries().map_or(0, |tries| tries.own));
        jobs
    }

    fn head(&mut self, path: &Path) -> Option<Head> {
        if let Some(head) = self.heads.get(path) {
            return Some(head.clone());
        }
        let head = Head::load(path).map_err(|error| self.keep_back(path, error.into())).ok()?;
        self.heads.insert(path.to_owned(), head.clone());
        Some(head)
    }

    fn work(&mut self, job: &DeliveryJob, slot: Slot) {
        self.seen.extend(job.paths().cloned());
        self.steps += usize::from(!matches!(slot, Slot::Again { .. }));
        let done = self.deliver(job, slot).and_then(|()| self.clear(job));
        match &done {
            Ok(()) | Err(NotDelivered::Gone) => self.report(job, Ok(())),
            Err(NotDelivered::Waits(reason) | NotDelivered::SetAside(reason)) => {
                self.report(job, Err(reason))
            }
            // Reported when the trace that continues it was sent.
            Err(NotDelivered::Archived(reason)) => {
                let (trace, target) = (job.head.trace, job.head.target.clone());
                let (paths, reason) = (job.paths().cloned().collect(), reason.clone());
                self.drained.archived.push(Archived { trace, target, paths, reason });
            }
        }
        for path in job.paths() {
            self.waiting.remove(path);
            if let Err(why) = &done {
                self.keep_back(path, why.clone());
            }
        }
    }
}
