//! Whether a job is sent now, and which entries are removed after its delivery.

use super::{Connect, Drain, Failure};
use crate::export::deliver::Eagerness;
use crate::export::receipts::Kept;
use crate::spool::entry::{Entry, Rank};
use crate::spool::policy::{Job, is_overtaken};
use crate::spool::rests::Rests;
use crate::spool::{Spool, SpoolError};
use std::path::PathBuf;

/// An entry to send, and the receipt of what its target already has.
pub(super) struct Admitted {
    pub(super) entry: Entry,
    pub(super) before: Option<Kept>,
}

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// The entry to send now; None if the target already has a newer form.
    pub(super) fn admit(&self, job: &Job, rests: &Rests) -> Result<Option<Admitted>, Failure> {
        let target = &job.head.target;
        if (self.limits.is_asked_to_end)()
            || self.limits.budget.is_some_and(|budget| self.begun.elapsed() > budget)
        {
            return Err(Failure::Waits("left for later, so as not to keep you waiting".into()));
        }
        let before = self.receipts.of(job.head.trace, target);
        if is_overtaken(job.head.rank, before.as_ref().map(|kept| kept.rank)) {
            tracing::info!("{} already has a newer form of {}", target, job.head.trace);
            return Ok(None);
        }
        if before.as_ref().is_some_and(|kept| kept.receipt.archived) {
            return Err(Failure::Archived(format!("{target} has archived {}", job.head.trace)));
        }
        let newer = self.set_aside_of(job).into_iter().find(|(_, rank)| *rank > job.head.rank);
        if let Some((newer, _)) = newer {
            let reason = Spool::reason(&newer).unwrap_or_else(|| "as a newer form of it is".into());
            return Err(Failure::SetAside(reason));
        }
        if let Some(reason) = self.shut.get(target) {
            return Err(Failure::Waits(reason.clone()));
        }
        if let Some(rest) = rests.of(target)
            && self.limits.eagerness == Eagerness::Patient
            && rest.lasts((self.limits.now)())
        {
            return Err(Failure::Waits(rest.reason.clone()));
        }
        if let Some(tries) = Spool::tries(&job.path)
            && self.limits.eagerness == Eagerness::Patient
            && tries.rest.lasts((self.limits.now)())
        {
            return Err(Failure::Waits(tries.rest.reason));
        }
        let entry = Spool::load(&job.path).map_err(|error| match error {
            error if error.is_gone() => Failure::Gone,
            SpoolError::Torn(_) => Failure::SetAside(error.to_string()),
            error => Failure::Waits(error.to_string()),
        })?;
        Ok(Some(Admitted { entry, before }))
    }

    /// Quarantined forms of the same trace for the same target.
    fn set_aside_of(&self, job: &Job) -> Vec<(PathBuf, Rank)> {
        let mut paths = self.spool.set_aside();
        paths.retain(|path| Spool::trace_of(path) == Some(job.head.trace));
        let of_target = |path: PathBuf| {
            let head = Spool::head(&path).ok().filter(|head| head.target == job.head.target)?;
            Some((path, head.rank))
        };
        paths.into_iter().filter_map(of_target).collect()
    }

    /// Removes a delivered job's entries, older forms first: an older form that stayed alone would be
    /// delivered over the newer one. If a removal fails, the trace is delivered again, which changes nothing.
    pub(super) fn clear(&self, job: &Job) -> Result<(), Failure> {
        let cleared =
            self.clear_aside(job).and_then(|()| Spool::remove_all(job.older.iter().chain([&job.path])));
        cleared.map_err(|error| Failure::Waits(error.to_string()))
    }

    pub(super) fn clear_aside(&self, job: &Job) -> Result<(), SpoolError> {
        let replaced = self.set_aside_of(job).into_iter().filter(|(_, rank)| *rank <= job.head.rank);
        replaced.into_iter().try_for_each(|(path, _)| Spool::drop_aside(&path))
    }
}
