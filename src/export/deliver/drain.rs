//! One drain at work: what it holds open, what it tried, and what each failure means.

mod together;

use super::{Connect, DrainError, Drained, Eagerness, Limits, Step, Waiting};
use crate::config::target::{Experiment, Target};
use crate::export::receipt::Receipt;
use crate::export::receipts::{Kept, Receipts};
use crate::export::{Delivered, ExportError, Exporter};
use crate::spool::entry::{Entry, Head, Rank};
use crate::spool::policy::{Job, Lane, Rest, is_overtaken, jobs};
use crate::spool::rests::Rests;
use crate::spool::{Spool, SpoolError};
use crate::trace::model::Trace;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) struct Drain<'a, 'd, C> {
    spool: &'d Spool,
    receipts: &'d Receipts,
    limits: &'d Limits<'d>,
    connect: C,
    begun: Instant,
    /// Kept open: a server is greeted once.
    exporters: HashMap<(Target, Experiment), Box<dyn Exporter + 'a>>,
    /// Targets that are left alone for the rest of the drain: each further try would wait as long.
    shut: HashMap<Target, String>,
    heads: HashMap<PathBuf, Head>,
    /// What was tried in this drain.
    seen: HashSet<PathBuf>,
    waiting: BTreeMap<PathBuf, String>,
    steps: usize,
    drained: Drained,
}

/// An entry that is to be sent, and what its target has of it.
struct Admitted {
    entry: Entry,
    before: Option<Kept>,
}

/// Why an entry stays, and what is to become of it.
enum Failure {
    Waits(String),
    SetAside(String),
    /// Somebody else took it.
    Gone,
}

impl<'a, 'd, C: Connect<'a>> Drain<'a, 'd, C> {
    pub(super) fn begin(
        spool: &'d Spool,
        receipts: &'d Receipts,
        limits: &'d Limits<'d>,
        connect: C,
    ) -> Drain<'a, 'd, C> {
        Drain {
            spool,
            receipts,
            limits,
            connect,
            begun: Instant::now(),
            exporters: HashMap::new(),
            shut: HashMap::new(),
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

    /// All that goes to targets of a kind.
    pub(super) fn lane(&mut self, lane: Lane) -> Result<(), DrainError> {
        // Once more after the lock is let go: whoever put an entry meanwhile, and found us at work, left it to us.
        while !self.new_jobs(lane).is_empty() {
            let lock = self.spool.lock(lane, self.limits.patience).map_err(DrainError::Lock)?;
            let Some(_lock) = lock else {
                self.drained.is_elsewhere = true;
                return Ok(());
            };
            self.spool.sweep();
            let mut rests = self.spool.rests(lane);
            loop {
                let jobs = self.new_jobs(lane);
                if jobs.is_empty() {
                    break;
                }
                let of = self.steps + jobs.len();
                for batch in together::batches(&jobs, lane) {
                    if batch.len() == 1 || !self.work_together(batch, &rests, of) {
                        batch.iter().for_each(|job| self.work(job, lane, &mut rests, of));
                    }
                }
            }
        }
        Ok(())
    }

    /// Every trace of which there is a form that was not tried yet.
    fn new_jobs(&mut self, lane: Lane) -> Vec<Job> {
        let mut entries = Vec::new();
        for path in self.spool.paths() {
            if let Some(head) = self.head(&path)
                && Lane::of(&head.target) == lane
            {
                entries.push((path, head));
            }
        }
        let is_new = |job: &Job| job.older.iter().chain([&job.path]).any(|path| !self.seen.contains(path));
        jobs(entries).into_iter().filter(is_new).collect()
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

    /// An entry is never half there, so nobody is still at work on it.
    fn unreadable(&mut self, path: &Path, error: &SpoolError) {
        match error {
            SpoolError::Torn(_) => self.set_aside(path, error.to_string()),
            _ => _ = self.waiting.insert(path.to_owned(), error.to_string()),
        }
    }

    fn set_aside(&mut self, path: &Path, reason: String) {
        match self.spool.put_aside(path, &reason) {
            Ok(path) => self.drained.set_aside.push(Waiting { path, reason }),
            Err(error) if error.is_gone() => {}
            Err(error) => {
                let reason = format!("{reason} (and cannot be set aside: {error})");
                self.waiting.insert(path.to_owned(), reason);
            }
        }
    }

    fn work(&mut self, job: &Job, lane: Lane, rests: &mut Rests, of: usize) {
        let all = || job.older.iter().chain([&job.path]);
        self.seen.extend(all().cloned());
        self.steps += 1;
        let done = self.deliver(job, lane, rests).and_then(|()| self.clear(job));
        let outcome = match &done {
            Ok(()) | Err(Failure::Gone) => Ok(()),
            Err(Failure::Waits(reason) | Failure::SetAside(reason)) => Err(reason.as_str()),
        };
        let (trace, target) = (job.head.trace, &job.head.target);
        (self.limits.told)(&Step { number: self.steps, of, trace, target, outcome });
        for path in all() {
            self.waiting.remove(path);
            match &done {
                Ok(()) | Err(Failure::Gone) => {}
                Err(Failure::Waits(reason)) => _ = self.waiting.insert(path.clone(), reason.clone()),
                Err(Failure::SetAside(reason)) => self.set_aside(path, reason.clone()),
            }
        }
    }

    /// Until the receipt is written.
    fn deliver(&mut self, job: &Job, lane: Lane, rests: &mut Rests) -> Result<(), Failure> {
        let Some(Admitted { entry, before }) = self.admit(job, rests)? else { return Ok(()) };
        let target = &job.head.target;
        let key = (entry.target.clone(), entry.experiment.clone());
        let exported = self.export(&key, &entry.trace, before.as_ref().map(|kept| &kept.receipt));
        let delivered = exported.map_err(|error| {
            // Whatever it was, what it left in an open connection is not to be trusted.
            self.exporters.remove(&key);
            self.fate(error, target, lane, rests)
        })?;
        if let Err(error) = rests.set(target, None) {
            tracing::warn!("cannot note that {target} is there again: {error}");
        }
        self.receipts.keep(entry.trace.id, self.kept(job, &entry.trace, &delivered)).map_err(|error| {
            Failure::Waits(format!("delivered, but its receipt cannot be written: {}", SpoolError::Io(error)))
        })?;
        self.drained.delivered.push((entry.trace.id, delivered));
        Ok(())
    }

    /// What is to be sent now; None when the target has what came after it.
    fn admit(&self, job: &Job, rests: &Rests) -> Result<Option<Admitted>, Failure> {
        let target = &job.head.target;
        if (self.limits.is_asked_to_end)()
            || self.limits.budget.is_some_and(|budget| self.begun.elapsed() > budget)
        {
            return Err(Failure::Waits("left for later, so as not to keep you waiting".into()));
        }
        let before = self.receipts.of(job.head.trace, target);
        if is_overtaken(job.head.rank, before.as_ref().map(|kept| kept.rank)) {
            tracing::info!("{} has a newer form of {} already", target, job.head.trace);
            return Ok(None);
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
        let entry = Spool::load(&job.path).map_err(|error| match error {
            error if error.is_gone() => Failure::Gone,
            SpoolError::Torn(_) => Failure::SetAside(error.to_string()),
            error => Failure::Waits(error.to_string()),
        })?;
        Ok(Some(Admitted { entry, before }))
    }

    fn kept(&self, job: &Job, trace: &Trace, delivered: &Delivered) -> Kept {
        let (target, experiment) = (job.head.target.clone(), delivered.experiment_id.clone());
        let receipt = Receipt::of_trace(target, experiment, (self.limits.now)(), trace);
        let bytes = fs::metadata(&job.path).map(|file| file.len()).unwrap_or_default();
        Kept { receipt, rank: job.head.rank, bytes }
    }

    fn export(
        &mut self,
        key: &(Target, Experiment),
        trace: &Trace,
        before: Option<&Receipt>,
    ) -> Result<Delivered, ExportError> {
        let exporter = self.exporter(key)?;
        // One trace that trips us over must not keep all others back for ever.
        catch_unwind(AssertUnwindSafe(|| exporter.export(trace, before)))
            .unwrap_or_else(|_| Err(ExportError::Trace("a defect of codex-traced (see its log)".into())))
    }

    fn exporter(&mut self, key: &(Target, Experiment)) -> Result<&mut (dyn Exporter + 'a), ExportError> {
        if !self.exporters.contains_key(key) {
            let exporter = (self.connect)(&key.0, &key.1)?;
            self.exporters.insert(key.clone(), exporter);
        }
        Ok(&mut **self.exporters.get_mut(key).expect("it was opened just now"))
    }

    /// What a failure means for the trace and for its target.
    fn fate(&mut self, error: ExportError, target: &Target, lane: Lane, rests: &mut Rests) -> Failure {
        let reason = error.to_string();
        let asked = match error {
            ExportError::Trace(_) => return Failure::SetAside(reason),
            // Other traces may be for an experiment that is there.
            ExportError::Stopped | ExportError::Experiment(_) => return Failure::Waits(reason),
            ExportError::Transient { after, .. } => after,
            ExportError::Target(_) => None,
        };
        self.shut.insert(target.clone(), reason.clone());
        let (now, luck) = ((self.limits.now)(), (self.limits.luck)());
        let rest = Rest::after(rests.of(target), lane, reason.clone(), asked, now, luck);
        if let Err(error) = rests.set(target, Some(rest)) {
            tracing::warn!("cannot note that {target} failed: {error}");
        }
        Failure::Waits(reason)
    }

    /// Forms of the same trace for the same target that were set aside.
    fn set_aside_of(&self, job: &Job) -> Vec<(PathBuf, Rank)> {
        let mut paths = self.spool.set_aside();
        paths.retain(|path| Spool::trace_of(path) == Some(job.head.trace));
        let of_target = |path: PathBuf| {
            let head = Spool::head(&path).ok().filter(|head| head.target == job.head.target)?;
            Some((path, head.rank))
        };
        paths.into_iter().filter_map(of_target).collect()
    }

    /// What the delivery replaces goes first: alone it would be delivered over what is newer. If a removal fails
    /// the trace is delivered again, which changes nothing.
    fn clear(&self, job: &Job) -> Result<(), Failure> {
        let cleared =
            self.clear_aside(job).and_then(|()| Spool::remove_all(job.older.iter().chain([&job.path])));
        cleared.map_err(|error| Failure::Waits(error.to_string()))
    }

    fn clear_aside(&self, job: &Job) -> Result<(), SpoolError> {
        let replaced = self.set_aside_of(job).into_iter().filter(|(_, rank)| *rank <= job.head.rank);
        replaced.into_iter().try_for_each(|(path, _)| Spool::drop_aside(&path))
    }
}
