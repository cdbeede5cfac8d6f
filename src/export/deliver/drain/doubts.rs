//! What a drain does not know yet of a target: which traces failed, and whether it takes others.

use super::super::blame::{Kind, MOST_IN_A_ROW, Others, Step};
use super::{Connect, Drain, tries_of};
use crate::export::deliver::Eagerness;
use crate::spool::Spool;
use crate::spool::policy::{Job, Lane};
use crate::spool::tries::{Against, Tries};
use std::path::PathBuf;

#[derive(Default)]
pub(super) struct Doubts {
    /// It took one in this drain.
    taken: bool,
    /// How many failed since, of those that never failed alone.
    in_a_row: u32,
    /// Those that failed, until something shows whose fault it was.
    open: Vec<Open>,
    /// Entries that earlier drains left open.
    left_open: Vec<PathBuf>,
}

/// A trace that failed.
pub(super) struct Open {
    pub(super) job: Job,
    pub(super) reason: String,
    /// It was waited for long enough.
    pub(super) is_fair: bool,
    /// Its target shows it when asked.
    pub(super) is_shown: bool,
}

impl<'a, C: Connect<'a>> Drain<'a, '_, C> {
    /// A launch that brings one trace is a witness as well, and there may be one at a time.
    pub(super) fn remember_doubts(&mut self, lane: Lane) {
        for path in self.spool.paths() {
            let is_open = Spool::tries(&path).is_some_and(|tries| tries.open);
            let Some(head) = self.head(&path).filter(|head| is_open && Lane::of(&head.target) == lane) else {
                continue;
            };
            let doubts = self.doubts.entry(head.target).or_default();
            if !doubts.left_open.contains(&path) {
                doubts.left_open.push(path);
                doubts.in_a_row += u32::from(self.limits.eagerness == Eagerness::Patient);
            }
        }
    }

    /// What is known of other traces when this one has failed.
    pub(super) fn others(&mut self, job: &Job, step: Step, kind: Kind, tries: Option<&Tries>) -> Others {
        let doubts = self.doubts.entry(job.head.target.clone()).or_default();
        let is_trouble = step == Step::Taking && matches!(kind, Kind::Trouble | Kind::TroubleButShown);
        let (own, alone) = tries.map_or((0, 0), |tries| (tries.own, tries.alone));
        // Where others are taken, what failed before shows nothing new.
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

    /// The target took this one: those that failed before it failed alone.
    pub(super) fn passed(&mut self, job: &Job) {
        let doubts = self.doubts.entry(job.head.target.clone()).or_default();
        (doubts.taken, doubts.in_a_row) = (true, 0);
        let left_open = std::mem::take(&mut doubts.left_open);
        let mut open = std::mem::take(&mut doubts.open);
        open.retain(|one| one.job != *job);
        let is_other = |path: &PathBuf| *path != job.path && open.iter().all(|one| one.job.path != *path);
        for path in left_open.into_iter().filter(is_other) {
            // What was wrong then may have been either's fault; the target is no longer in doubt for it.
            if let Some(tries) = Spool::tries(&path).filter(|tries| tries.open) {
                keep(&path, &Tries { open: false, ..tries });
            }
        }
        open.into_iter().for_each(|one| self.failed_alone(one));
    }

    /// Nothing more will show in this drain.
    pub(super) fn settle(&mut self, lane: Lane) {
        let targets: Vec<_> = self.doubts.keys().filter(|target| Lane::of(target) == lane).cloned().collect();
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
            return keep(&job.path, &Tries { open: false, ..tries });
        }
        let tries = Tries { alone: tries.alone.saturating_add(1), open: false, ..tries };
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

    /// The entry's tries as they were before this drain, which counts as one.
    pub(super) fn before_drain(&mut self, job: &Job) -> Option<Tries> {
        self.before.entry(job.path.clone()).or_insert_with(|| tries_of(job)).clone()
    }

    pub(super) fn note(&mut self, job: &Job, lane: Lane, against: Against, reason: &str) {
        let before = self.before_drain(job);
        let (now, luck) = ((self.limits.now)(), (self.limits.luck)());
        let tries = Tries::after(before.as_ref(), lane, against, reason.to_owned(), now, luck);
        keep(&job.path, &tries);
    }
}

/// Without it the entry is tried again as if it were new, which costs time only.
fn keep(path: &std::path::Path, tries: &Tries) {
    if let Err(error) = Spool::note_tries(path, tries) {
        tracing::warn!("cannot note a try of {}: {error}", path.display());
    }
}
