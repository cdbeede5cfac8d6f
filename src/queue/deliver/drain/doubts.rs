//! What a drain knows of a target with failures: which traces failed, and whether it took others.

use super::super::blame::{FailureKind, MOST_IN_A_ROW, Others};
use super::attempt::Open;
use super::{Connect, Drain, tries_of};
use crate::queue::deliver::Eagerness;
use crate::queue::spool::Spool;
use crate::queue::spool::policy::{DeliveryJob, Lane};
use crate::queue::spool::tries::{Against, EntryTries};
use std::path::PathBuf;

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// Counts failures that earlier drains left undecided: launches may bring one trace each.
    pub(super) fn remember_doubts(&mut self, lane: Lane) {
        for path in self.spool.paths() {
            let is_open = Spool::tries(&path).is_some_and(|tries| tries.open);
            let Some(head) =
                self.head(&path).filter(|head| is_open && Lane::from_target(&head.target) == lane)
            else {
                continue;
            };
            let doubts = self.doubts.entry(head.target).or_default();
            if !doubts.left_open.contains(&path) {
                doubts.left_open.push(path);
                doubts.in_a_row += u32::from(self.request.eagerness == Eagerness::Patient);
            }
        }
    }

    /// The results of the target's other traces, after this one has failed.
    pub(super) fn others(
        &mut self,
        job: &DeliveryJob,
        kind: FailureKind,
        tries: Option<&EntryTries>,
    ) -> Others {
        let doubts = self.doubts.entry(job.head.target.clone()).or_default();
        let is_trouble = matches!(kind, FailureKind::Trouble | FailureKind::TroubleButShown);
        let (own, alone) = tries.map_or((0, 0), |tries| (tries.own, tries.alone));
        // If the target takes others, a trace that failed before proves nothing new.
        let is_witness = is_trouble && (own == 0 || (!doubts.taken && alone == 0));
        doubts.in_a_row = doubts.in_a_row.saturating_add(u32::from(is_witness));
        match doubts.taken && doubts.in_a_row < MOST_IN_A_ROW {
            true => Others::Taken,
            false => Others::FailedInARow(doubts.in_a_row),
        }
    }

    pub(super) fn doubt(&mut self, open: Open) {
        let doubts = self.doubts.entry(open.job.head.target.clone()).or_default();
        doubts.open.retain(|other| other.job != open.job);
        doubts.open.push(open);
    }

    /// The target took this trace, so the earlier failures were those traces' own.
    pub(super) fn passed(&mut self, job: &DeliveryJob) {
        let doubts = self.doubts.entry(job.head.target.clone()).or_default();
        (doubts.taken, doubts.in_a_row) = (true, 0);
        let left_open = std::mem::take(&mut doubts.left_open);
        let mut open = std::mem::take(&mut doubts.open);
        open.retain(|one| one.job != *job);
        let is_other = |path: &PathBuf| *path != job.path && open.iter().all(|one| one.job.path != *path);
        for path in left_open.into_iter().filter(is_other) {
            // That failure may have been the target's or the trace's; now it no longer counts against the
            // target.
            if let Some(tries) = Spool::tries(&path).filter(|tries| tries.open) {
                keep(&path, &EntryTries { open: false, ..tries });
            }
        }
        open.into_iter().for_each(|one| self.failed_alone(one));
    }

    /// Decides the open failures at the end of a lane: this drain gets no further evidence.
    pub(super) fn settle(&mut self, lane: Lane) {
        let targets: Vec<_> =
            self.doubts.keys().filter(|target| Lane::from_target(target) == lane).cloned().collect();
        for target in targets {
            let Some(doubts) = self.doubts.get_mut(&target) else { continue };
            let (open, taken) = (std::mem::take(&mut doubts.open), doubts.taken);
            let is_shut = self.shut.contains_key(&target);
            let alone = open.into_iter().filter(|one| !is_shut && (taken || one.is_shown));
            alone.for_each(|one| self.failed_alone(one));
        }
    }

    fn failed_alone(&mut self, open: Open) {
        let Open { job, reason, is_fair, .. } = open;
        let Some(tries) = Spool::tries(&job.path) else { return };
        if !is_fair {
            return keep(&job.path, &EntryTries { open: false, ..tries });
        }
        let tries = EntryTries { alone: tries.alone.saturating_add(1), open: false, ..tries };
        if !tries.are_enough() {
            keep(&job.path, &tries);
            return;
        }
        self.again.retain(|other| *other != job);
        let reason = format!("it failed {} times while others were taken: {reason}", tries.alone);
        for path in job.older.iter().chain([&job.path]) {
            self.waiting.remove(path);
            self.set_aside(path, reason.clone());
        }
    }

    /// The entry's tries before this drain. All tries of one drain count as one.
    pub(super) fn before_drain(&mut self, job: &DeliveryJob) -> Option<EntryTries> {
        self.before.entry(job.path.clone()).or_insert_with(|| tries_of(job)).clone()
    }

    pub(super) fn note(&mut self, job: &DeliveryJob, lane: Lane, against: Against, reason: &str) {
        let before = self.before_drain(job);
        let failed = self.failed_try(lane, reason.to_owned(), None);
        keep(&job.path, &EntryTries::after(before.as_ref(), against, failed));
    }
}

/// A failure to write is only logged: the entry is then tried as if new, which costs only time.
fn keep(path: &std::path::Path, tries: &EntryTries) {
    if let Err(error) = Spool::note_tries(path, tries) {
        tracing::warn!("cannot note a try of {}: {error}", path.display());
    }
}
