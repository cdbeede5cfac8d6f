//! Whether a job is sent now, and which entries are removed after its delivery.

use super::attempt::{Admitted, NotDelivered};
use super::{Connect, Drain};
use crate::queue::deliver::Eagerness;
use crate::queue::spool::backoff::Backoff;
use crate::queue::spool::entry::Rank;
use crate::queue::spool::policy::{DeliveryJob, is_overtaken};
use crate::queue::spool::{Spool, SpoolError};
use std::path::PathBuf;

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// The entry to send now; None if the target already has a newer form.
    pub(super) fn admit(
        &self,
        job: &DeliveryJob,
        backoff: &Backoff,
    ) -> Result<Option<Admitted>, NotDelivered> {
        let target = &job.head.target;
        if (self.request.is_asked_to_end)()
            || self.request.budget.is_some_and(|budget| self.begun.elapsed() > budget)
        {
            return Err(NotDelivered::Waits("left for later, so as not to keep you waiting".into()));
        }
        let before = self.receipts.get(job.head.trace, target);
        if is_overtaken(job.head.rank, before.as_ref().map(|kept| kept.rank)) {
            tracing::info!("{} already has a newer form of {}", target, job.head.trace);
            return Ok(None);
        }
        if before.as_ref().is_some_and(|kept| kept.receipt.archived) {
            return Err(NotDelivered::Archived(format!("{target} has archived {}", job.head.trace)));
        }
        let newer = self.set_aside_of(job).into_iter().find(|(_, rank)| *rank > job.head.rank);
        if let Some((newer, _)) = newer {
            let reason = Spool::reason(&newer).unwrap_or_else(|| "as a newer form of it is".into());
            return Err(NotDelivered::SetAside(reason));
        }
        if let Some(reason) = self.shut.get(target) {
            return Err(NotDelivered::Waits(reason.clone()));
        }
        if let Some(pause) = backoff.get(target)
            && self.request.eagerness == Eagerness::Patient
            && pause.lasts((self.request.now)())
        {
            return Err(NotDelivered::Waits(pause.reason.clone()));
        }
        if let Some(tries) = Spool::tries(&job.path)
            && self.request.eagerness == Eagerness::Patient
            && tries.pause.lasts((self.request.now)())
        {
            return Err(NotDelivered::Waits(tries.pause.reason));
        }
        let entry = Spool::load(&job.path).map_err(|error| match error {
            error if error.is_gone() => NotDelivered::Gone,
            SpoolError::Torn(_) => NotDelivered::SetAside(error.to_string()),
            error => NotDelivered::Waits(error.to_string()),
        })?;
        Ok(Some(Admitted { entry, before }))
    }

    /// Quarantined forms of the same trace for the same target.
    fn set_aside_of(&self, job: &DeliveryJob) -> Vec<(PathBuf, Rank)> {
        let mut paths = self.spool.quarantined();
        paths.retain(|path| Spool::trace_of(path) == Some(job.head.trace));
        let of_target = |path: PathBuf| {
            let head = Spool::head(&path).ok().filter(|head| head.target == job.head.target)?;
            Some((path, head.rank))
        };
        paths.into_iter().filter_map(of_target).collect()
    }

    /// Removes a delivered job's entries, older forms first: an older form that stayed alone would be
    /// delivered over the newer one. If a removal fails, the trace is delivered again, which changes nothing.
    pub(super) fn clear(&self, job: &DeliveryJob) -> Result<(), NotDelivered> {
        let cleared =
            self.clear_aside(job).and_then(|()| Spool::remove_all(job.older.iter().chain([&job.path])));
        cleared.map_err(|error| NotDelivered::Waits(error.to_string()))
    }

    pub(super) fn clear_aside(&self, job: &DeliveryJob) -> Result<(), SpoolError> {
        let replaced = self.set_aside_of(job).into_iter().filter(|(_, rank)| *rank <= job.head.rank);
        replaced.into_iter().try_for_each(|(path, _)| Spool::drop_quarantined(&path))
    }
}
