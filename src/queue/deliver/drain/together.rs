//! Several traces for one local target in one write: an import of a thousand traces syncs the disk a few
//! times a batch, instead of ten times a trace.

use super::attempt::Admitted;
use super::{Connect, Drain, DrainStep};
use crate::queue::spool::Spool;
use crate::queue::spool::backoff::Backoff;
use crate::queue::spool::policy::{DeliveryJob, Lane};
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::Trace;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Half of what an import puts before it delivers; a batch that fails is repeated trace by trace.
const MOST: usize = 32;

/// In bytes of entries: a whole batch is in memory at once.
const MOST_BYTES: u64 = 16 << 20;

/// Groups adjacent jobs for the same local target and experiment. A server gets one trace at a time.
pub(super) fn batches(jobs: &[DeliveryJob], lane: Lane) -> Vec<&[DeliveryJob]> {
    let place = |job: &DeliveryJob| {
        (lane == Lane::Local).then(|| (job.head.target.clone(), job.head.experiment.clone()))
    };
    let size = |job: &DeliveryJob| fs::metadata(&job.path).map(|file| file.len()).unwrap_or_default();
    let mut batches = Vec::new();
    let (mut begins, mut bytes) = (0, 0);
    for (at, job) in jobs.iter().enumerate() {
        let goes_along = at > begins
            && at - begins < MOST
            && bytes + size(job) <= MOST_BYTES
            && place(job).is_some_and(|it| Some(it) == place(&jobs[begins]));
        if at > begins && !goes_along {
            batches.push(&jobs[begins..at]);
            (begins, bytes) = (at, 0);
        }
        bytes += size(job);
    }
    if begins < jobs.len() {
        batches.push(&jobs[begins..]);
    }
    batches
}

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Whether all jobs were delivered, each with its receipt. If not, the caller tries each alone, which
    /// finds the cause of each failure. A trace that was already delivered is delivered again, which changes
    /// nothing.
    pub(super) fn work_together(&mut self, jobs: &[DeliveryJob], backoff: &Backoff, of: usize) -> bool {
        self.deliver_together(jobs, backoff, of).is_some()
    }

    fn deliver_together(&mut self, jobs: &[DeliveryJob], backoff: &Backoff, of: usize) -> Option<()> {
        let first = &jobs.first()?.head;
        if backoff.get(&first.target).is_some() {
            return None;
        }
        let key: (Target, Experiment) = (first.target.clone(), first.experiment.clone());
        let admitted: Vec<Admitted> =
            jobs.iter().map(|job| self.admit(job, backoff).ok().flatten()).collect::<Option<_>>()?;
        let traces: Vec<&Trace> = admitted.iter().map(|admitted| &*admitted.entry.trace).collect();
        let exporter = self.exporter(&key).ok()?;
        let delivered = catch_unwind(AssertUnwindSafe(|| exporter.export_together(&traces))).ok().flatten();
        let Some(delivered) = delivered else {
            self.exporters.remove(&key);
            return None;
        };
        let all = || jobs.iter().zip(&traces).zip(&delivered);
        let kept = all().map(|((job, trace), delivered)| (trace.id, self.kept(job, trace, delivered)));
        self.receipts.keep_all(kept).ok()?;
        let paths = || jobs.iter().flat_map(|job| job.older.iter().chain([&job.path]));
        jobs.iter().try_for_each(|job| self.clear_aside(job)).ok()?;
        Spool::remove_all(paths()).ok()?;
        jobs.iter().for_each(|job| self.passed(job));
        for path in paths() {
            self.seen.insert(path.clone());
            self.waiting.remove(path);
        }
        for ((job, trace), delivered) in all() {
            self.steps += 1;
            let target = &job.head.target;
            (self.request.progress)(&DrainStep {
                number: self.steps,
                of,
                trace: trace.id,
                target,
                outcome: Ok(()),
            });
            self.drained.delivered.push((trace.id, delivered.clone()));
        }
        Some(())
    }
}
