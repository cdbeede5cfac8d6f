//! One try to deliver: whether a job is sent now, the export, its receipt, and the entries that it replaces.

use super::blame::{Slot, Tried, allotted};
use super::job::{DeliveryJob, NotDelivered};
use super::{Connect, Drain, DrainStep};
use crate::queue::receipts::StoredReceipt;
use crate::queue::spool::entry::{Entry, Head, Rank};
use crate::queue::spool::retry::EntryTries;
use crate::queue::spool::{Spool, SpoolError};
use common::disk;
use mlflow_store::exporter::{Delivered, ExportError, Exporter};
use mlflow_store::receipt::Receipt;
use mlflow_store::trace::Trace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An entry to send, and the receipt of what its target already has.
struct Admitted {
    entry: Entry,
    before: Option<StoredReceipt>,
}

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Sends one job and writes its receipt.
    pub(super) fn deliver(&mut self, job: &DeliveryJob, slot: Slot) -> Result<(), NotDelivered> {
        let Some(Admitted { entry, before }) = self.admit(job)? else { return Ok(()) };
        let target = &job.head.target;
        let has_failed = self.before_drain(job).is_some_and(|tries| tries.own > 0);
        let slot = match slot {
            // A launch gives a trace that failed before no more than its share of the time.
            Slot::Last if has_failed && self.is_patient() => Slot::BeforeOthers,
            slot => slot,
        };
        let bytes = job.bytes();
        // Local stores have limits of their own.
        let allotted = target.is_remote().then(|| allotted(slot, self.left(), bytes));
        let receipt = before.as_ref().map(|kept| &kept.receipt);
        let (exported, took) = self.export(job, &entry.trace, receipt, allotted);
        let delivered = exported.map_err(|error| {
            self.spent += took;
            self.failed(job, error, Tried { slot, took, allotted, bytes })
        })?;
        self.passed(job);
        if let Err(error) = self.backoff.set(target, None) {
            tracing::warn!("cannot end the pause of {target}: {error}");
        }
        let kept = self.receipts.keep(entry.trace.id, self.receipt_of(job, &entry.trace, &delivered));
        kept.map_err(|error| {
            let reason = disk::reason(&error);
            NotDelivered::Waits(format!("delivered, but its receipt cannot be written: {reason}"))
        })?;
        self.drained.delivered.push((entry.trace.id, delivered));
        Ok(())
    }

    /// The entry to send now; None if the target already has a newer form.
    fn admit(&self, job: &DeliveryJob) -> Result<Option<Admitted>, NotDelivered> {
        let (target, trace, request) = (&job.head.target, job.head.trace, self.request);
        if (request.is_asked_to_end)() || request.budget.is_some_and(|budget| self.begun.elapsed() > budget) {
            return Err(NotDelivered::Waits("left for later, so as not to keep you waiting".into()));
        }
        let before = self.receipts.get(trace, target);
        if before.as_ref().is_some_and(|kept| job.head.rank < kept.rank) {
            tracing::info!("{target} already has a newer form of {trace}");
            return Ok(None);
        }
        if before.as_ref().is_some_and(|kept| kept.receipt.archived) {
            return Err(NotDelivered::Archived(format!("{target} has archived {trace}")));
        }
        let newer = self.set_aside_of(job).into_iter().find(|(_, rank)| *rank > job.head.rank);
        if let Some((newer, _)) = newer {
            let reason = Spool::reason(&newer).unwrap_or_else(|| "as a newer form of it is".into());
            return Err(NotDelivered::SetAside(reason));
        }
        if let Some(reason) = self.health.get(target).and_then(|health| health.down.clone()) {
            return Err(NotDelivered::Waits(reason));
        }
        if self.is_patient() {
            let of_entry = EntryTries::load(&job.path).map(|tries| tries.pause);
            let mut pauses = self.backoff.get(target).cloned().into_iter().chain(of_entry);
            if let Some(pause) = pauses.find(|pause| pause.lasts((request.now)())) {
                return Err(NotDelivered::Waits(pause.reason));
            }
        }
        Ok(Some(Admitted { entry: Entry::load(&job.path)?, before }))
    }

    /// The result, and the time it took after the target was connected to.
    fn export(
        &mut self,
        job: &DeliveryJob,
        trace: &Trace,
        before: Option<&Receipt>,
        allotted: Option<Duration>,
    ) -> (Result<Delivered, ExportError>, Duration) {
        let exporter = match self.exporter(job) {
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
        let took = begun.elapsed();
        let defect = |_| Err(ExportError::Trace("a defect of codex-traced (see its log)".into()));
        let exported = exported.unwrap_or_else(defect).inspect_err(|_| self.close(job));
        (exported, took)
    }

    /// Several traces for one local target in one write: an import of a thousand traces syncs the disk a few times a
    /// batch, instead of ten times a trace.
    ///
    /// None if not all were delivered, each with its receipt. Then the caller tries each alone, which finds the cause
    /// of each failure. A trace that was already delivered is delivered again, which changes nothing.
    pub(super) fn deliver_together(&mut self, jobs: &[DeliveryJob]) -> Option<()> {
        let first = jobs.first()?;
        if self.backoff.get(&first.head.target).is_some() {
            return None;
        }
        let admitted: Vec<Admitted> =
            jobs.iter().map(|job| self.admit(job).ok().flatten()).collect::<Option<_>>()?;
        let traces: Vec<&Trace> = admitted.iter().map(|admitted| &*admitted.entry.trace).collect();
        let exporter = self.exporter(first).ok()?;
        let delivered = catch_unwind(AssertUnwindSafe(|| exporter.export_together(&traces))).ok().flatten();
        let Some(delivered) = delivered else {
            self.close(first);
            return None;
        };
        let all = || jobs.iter().zip(&traces).zip(&delivered);
        let kept = all().map(|((job, trace), taken)| (trace.id, self.receipt_of(job, trace, taken)));
        self.receipts.keep_all(kept).ok()?;
        jobs.iter().try_for_each(|job| self.clear_aside(job)).ok()?;
        Spool::remove_all(jobs.iter().flat_map(DeliveryJob::paths)).ok()?;
        for ((job, trace), delivered) in all() {
            self.passed(job);
            self.seen.extend(job.paths().cloned());
            job.paths().for_each(|path| _ = self.waiting.remove(path));
            self.steps += 1;
            self.report(job, Ok(()));
            self.drained.delivered.push((trace.id, delivered.clone()));
        }
        Some(())
    }

    pub(super) fn report(&self, job: &DeliveryJob, outcome: Result<(), &str>) {
        let (trace, target) = (job.head.trace, &job.head.target);
        (self.request.progress)(&DrainStep { number: self.steps, of: self.known, trace, target, outcome });
    }

    fn receipt_of(&self, job: &DeliveryJob, trace: &Trace, delivered: &Delivered) -> StoredReceipt {
        let (target, experiment) = (job.head.target.clone(), delivered.experiment_id.clone());
        let receipt = Receipt::from_trace(target, experiment, (self.request.now)(), trace);
        StoredReceipt { receipt, rank: job.head.rank, bytes: job.bytes() }
    }

    fn exporter(&mut self, job: &DeliveryJob) -> Result<&mut (dyn Exporter + 'a), ExportError> {
        let key = (job.head.target.clone(), job.head.experiment.clone());
        if !self.exporters.contains_key(&key) {
            let exporter = (self.connect)(&key.0, &key.1)?;
            self.exporters.insert(key.clone(), exporter);
        }
        Ok(&mut **self.exporters.get_mut(&key).expect("it was opened just now"))
    }

    /// A failed export may leave the connection in an unknown state.
    fn close(&mut self, job: &DeliveryJob) {
        self.exporters.remove(&(job.head.target.clone(), job.head.experiment.clone()));
    }

    /// Removes a delivered job's entries, older forms first: an older form that stayed alone would be
    /// delivered over the newer one. If a removal fails, the trace is delivered again, which changes nothing.
    pub(super) fn clear(&self, job: &DeliveryJob) -> Result<(), NotDelivered> {
        let cleared = self.clear_aside(job).and_then(|()| Spool::remove_all(job.paths()));
        cleared.map_err(|error| NotDelivered::Waits(error.to_string()))
    }

    fn clear_aside(&self, job: &DeliveryJob) -> Result<(), SpoolError> {
        let replaced = self.set_aside_of(job).into_iter().filter(|(_, rank)| *rank <= job.head.rank);
        replaced.into_iter().try_for_each(|(path, _)| Spool::drop_quarantined(&path))
    }

    /// Quarantined forms of the same trace for the same target.
    fn set_aside_of(&self, job: &DeliveryJob) -> Vec<(PathBuf, Rank)> {
        let mut paths = self.spool.quarantined();
        paths.retain(|path| Spool::trace_of(path) == Some(job.head.trace));
        let of_target = |path: PathBuf| {
            let head = Head::load(&path).ok().filter(|head| head.target == job.head.target)?;
            Some((path, head.rank))
        };
        paths.into_iter().filter_map(of_target).collect()
    }
}
