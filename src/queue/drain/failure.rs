//! The effect of a failed try on its trace and its target, and of later results on traces that failed before.

use super::blame::{ALLOWANCE, Blame, Slot, Tried, Undecided};
use super::job::{DeliveryJob, NotDelivered};
use super::{Connect, Drain, Eagerness, Waiting};
use crate::queue::spool::retry::{Against, EntryTries, FailedTry, Lane, Pause};
use mlflow_store::exporter::{ExportError, Sign};
use mlflow_store::target::Target;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Applies the effect of a failure on the trace and its target.
    pub(super) fn failed(&mut self, job: &DeliveryJob, error: ExportError, tried: Tried) -> NotDelivered {
        let (target, reason) = (&job.head.target, error.to_string());
        let before = self.before_drain(job);
        let health = self.health.entry(target.clone()).or_default();
        match health.blame(&error, before.as_ref()) {
            Blame::Nothing => {}
            Blame::TraceForGood => return NotDelivered::SetAside(reason),
            Blame::Archive => {
                if let Err(error) = self.receipts.mark_archived(job.head.trace, target) {
                    tracing::warn!("cannot note that {} is archived: {error}", job.head.trace);
                }
                return NotDelivered::Archived(reason);
            }
            Blame::Experiment => self.note(job, Against::Target, &reason),
            Blame::Target => {
                self.note(job, Against::Target, &reason);
                self.give_up(target, error);
            }
            Blame::Trace => {
                self.note(job, Against::Trace, &reason);
                let is_shown = matches!(error, ExportError::Unclear { sign: Sign::ShowsTrace, .. });
                let is_fair = tried.is_fair();
                let undecided = &mut self.health.entry(target.clone()).or_default().undecided;
                undecided.retain(|other| other.job != *job);
                undecided.push(Undecided { job: job.clone(), reason: reason.clone(), is_fair, is_shown });
                let is_first =
                    before.is_none_or(|tries| tries.own == 0) && !matches!(tried.slot, Slot::Again { .. });
                if tried.is_cut_off() && is_first && self.left() > super::LONG {
                    self.again.push(job.clone());
                }
            }
        }
        NotDelivered::Waits(reason)
    }

    /// Excludes the target from the rest of the drain, and from launches during its pause.
    fn give_up(&mut self, target: &Target, error: ExportError) {
        let reason = error.to_string();
        let asked = match error {
            ExportError::Transient { after, .. } | ExportError::Unclear { after, .. } => after,
            _ => None,
        };
        self.again.retain(|job| job.head.target != *target);
        self.health.entry(target.clone()).or_default().down = Some(reason.clone());
        let pause = Pause::after(self.backoff.get(target), self.failed_try(target, reason, asked));
        if let Err(error) = self.backoff.set(target, Some(pause)) {
            tracing::warn!("cannot note that {target} failed: {error}");
        }
    }

    /// The target took this trace, so the earlier failures were those traces' own.
    pub(super) fn passed(&mut self, job: &DeliveryJob) {
        let health = self.health.entry(job.head.target.clone()).or_default();
        (health.has_taken, health.failed_in_a_row) = (true, 0);
        let left = std::mem::take(&mut health.left_undecided);
        let mut undecided = std::mem::take(&mut health.undecided);
        undecided.retain(|one| one.job != *job);
        let is_other =
            |path: &PathBuf| *path != job.path && undecided.iter().all(|one| one.job.path != *path);
        for path in left.into_iter().filter(is_other) {
            // That failure may have been the target's or the trace's; now it no longer counts against the
            // target.
            if let Some(tries) = EntryTries::load(&path).filter(|tries| tries.open) {
                write(&path, &EntryTries { open: false, ..tries });
            }
        }
        undecided.into_iter().for_each(|one| self.failed_alone(one));
    }

    /// Decides the open failures at the end of a lane: this drain gets no further evidence.
    pub(super) fn settle(&mut self) {
        let mut alone = Vec::new();
        for health in self.health.values_mut() {
            let mut undecided = std::mem::take(&mut health.undecided);
            undecided.retain(|one| health.down.is_none() && (health.has_taken || one.is_shown));
            alone.extend(undecided);
        }
        alone.into_iter().for_each(|one| self.failed_alone(one));
    }

    /// Counts failures that earlier drains left undecided: launches may bring one trace each.
    pub(super) fn remember_undecided(&mut self, lane: &Lane) {
        let is_patient = self.is_patient();
        for path in self.spool.paths() {
            if !EntryTries::load(&path).is_some_and(|tries| tries.open) {
                continue;
            }
            let of_lane = self.head(&path).filter(|head| Lane::from_target(&head.target) == *lane);
            let Some(head) = of_lane else { continue };
            let health = self.health.entry(head.target).or_default();
            if !health.left_undecided.contains(&path) {
                health.left_undecided.push(path);
                health.failed_in_a_row += u32::from(is_patient);
            }
        }
    }

    fn failed_alone(&mut self, undecided: Undecided) {
        let Undecided { job, reason, is_fair, .. } = undecided;
        let Some(tries) = EntryTries::load(&job.path) else { return };
        let alone = tries.alone.saturating_add(u32::from(is_fair));
        let tries = EntryTries { alone, open: false, ..tries };
        if !is_fair || !tries.are_enough() {
            return write(&job.path, &tries);
        }
        self.again.retain(|other| *other != job);
        let reason = format!("it failed {} times while others were taken: {reason}", tries.alone);
        for path in job.paths() {
            self.waiting.remove(path);
            self.keep_back(path, NotDelivered::SetAside(reason.clone()));
        }
    }

    /// The entry's tries before this drain. All tries of one drain count as one.
    pub(super) fn before_drain(&mut self, job: &DeliveryJob) -> Option<EntryTries> {
        self.before.entry(job.path.clone()).or_insert_with(|| job.tries()).clone()
    }

    fn note(&mut self, job: &DeliveryJob, against: Against, reason: &str) {
        let before = self.before_drain(job);
        let failed = self.failed_try(&job.head.target, reason.to_owned(), None);
        write(&job.path, &EntryTries::after(before.as_ref(), against, failed));
    }

    /// Leaves an entry in the spool, or quarantines it.
    pub(super) fn keep_back(&mut self, path: &Path, why: NotDelivered) {
        match why {
            NotDelivered::Gone => {}
            NotDelivered::Waits(reason) | NotDelivered::Archived(reason) => {
                self.waiting.insert(path.to_owned(), reason);
            }
            NotDelivered::SetAside(reason) => match self.spool.quarantine(path, &reason) {
                Ok(path) => self.drained.set_aside.push(Waiting { path, reason }),
                Err(error) if error.is_gone() => {}
                Err(error) => {
                    let reason = format!("{reason} (and cannot be set aside: {error})");
                    self.waiting.insert(path.to_owned(), reason);
                }
            },
        }
    }

    pub(super) fn is_patient(&self) -> bool {
        self.request.eagerness == Eagerness::Patient
    }

    /// The time left for failed tries.
    pub(super) fn left(&self) -> Duration {
        match self.request.budget {
            Some(budget) => budget.saturating_sub(self.begun.elapsed()),
            None => ALLOWANCE.saturating_sub(self.spent),
        }
    }

    fn failed_try(&self, target: &Target, reason: String, asked: Option<Duration>) -> FailedTry {
        let (lane, at, jitter) = (Lane::from_target(target), (self.request.now)(), (self.request.jitter)());
        FailedTry { lane, reason, asked, at, jitter }
    }
}

/// A failure to write is only logged: the entry is then tried as if new, which costs only time.
fn write(entry: &Path, tries: &EntryTries) {
    if let Err(error) = tries.write(entry) {
        tracing::warn!("cannot note a try of {}: {error}", entry.display());
    }
}
