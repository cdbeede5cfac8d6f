//! The effect of a failed try on its trace and its target.

use super::attempt::{NotDelivered, Open, Tried};
use super::{Connect, Drain, LONG};
use crate::queue::deliver::blame::{self, Blame, Slot};
use crate::queue::spool::backoff::Backoff;
use crate::queue::spool::policy::{DeliveryJob, FailedTry, Lane, Pause};
use crate::queue::spool::tries::Against;
use mlflow_store::exporter::ExportError;
use mlflow_store::target::Target;
use std::time::Duration;

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Applies the effect of a failure on the trace and its target.
    pub(super) fn fate(
        &mut self,
        job: &DeliveryJob,
        tried: Tried,
        of: (Lane, Slot),
        backoff: &mut Backoff,
    ) -> NotDelivered {
        let Err(error) = tried.exported else { return NotDelivered::Gone };
        let ((lane, turn), reason) = (of, error.to_string());
        let kind = blame::classify(&error);
        let tries = self.before_drain(job);
        let others = self.others(job, kind, tries.as_ref());
        match blame::blame(kind, others) {
            Blame::Nobody => {}
            Blame::TraceForGood => return NotDelivered::SetAside(reason),
            Blame::Archive => {
                if let Err(error) = self.receipts.mark_archived(job.head.trace, &job.head.target) {
                    tracing::warn!("cannot note that {} is archived: {error}", job.head.trace);
                }
                return NotDelivered::Archived(reason);
            }
            Blame::Experiment => self.note(job, lane, Against::Target, &reason),
            Blame::Target => {
                self.note(job, lane, Against::Target, &reason);
                self.shut(&job.head.target, lane, error, backoff);
            }
            Blame::Open | Blame::Trace => {
                self.note(job, lane, Against::Trace, &reason);
                let Tried { took, allotted, bytes, .. } = tried;
                let is_fair = allotted.is_none_or(|allotted| blame::is_fair(took, allotted, bytes));
                let is_shown = kind == blame::FailureKind::TroubleButShown;
                self.doubt(Open { job: job.clone(), reason: reason.clone(), is_fair, is_shown });
                let is_cut_off = allotted.is_some_and(|allotted| took >= allotted);
                let is_first =
                    tries.is_none_or(|tries| tries.own == 0) && !matches!(turn, Slot::Again { .. });
                if is_cut_off && is_first && self.left() > LONG {
                    self.again.push(job.clone());
                }
            }
        }
        NotDelivered::Waits(reason)
    }

    /// Excludes the target from the rest of the drain, and from launches during its pause.
    fn shut(&mut self, target: &Target, lane: Lane, error: ExportError, backoff: &mut Backoff) {
        let reason = error.to_string();
        let asked = match error {
            ExportError::Transient { after, .. } | ExportError::Unclear { after, .. } => after,
            _ => None,
        };
        self.again.retain(|job| job.head.target != *target);
        self.shut.insert(target.clone(), reason.clone());
        let pause = Pause::after(backoff.get(target), self.failed_try(lane, reason, asked));
        if let Err(error) = backoff.set(target, Some(pause)) {
            tracing::warn!("cannot note that {target} failed: {error}");
        }
    }

    pub(super) fn failed_try(&self, lane: Lane, reason: String, asked: Option<Duration>) -> FailedTry {
        FailedTry { lane, reason, asked, at: (self.request.now)(), jitter: (self.request.jitter)() }
    }

    /// The time left for failed tries.
    pub(super) fn left(&self) -> Duration {
        match self.request.budget {
            Some(budget) => budget.saturating_sub(self.begun.elapsed()),
            None => blame::ALLOWANCE.saturating_sub(self.spent),
        }
    }
}
