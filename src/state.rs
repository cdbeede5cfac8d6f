//! Our folder in Codex's home, and what a launch leaves in it: from claims to traces in the spool, and on.

pub mod delivery;
pub mod families;
pub mod found;
pub mod traces;

use crate::claim::hold::Hold;
use crate::claim::journal::{self, Destination, Launch};
use crate::claim::record::{Attribution, ThreadRecord};
use crate::claim::{Claim, watch};
use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use crate::codex::tui_log::Logged;
use crate::config::target::Target;
use crate::disk;
use crate::env::World;
use crate::export;
use crate::export::receipts::Receipts;
use crate::rollout;
use crate::spool::entry::Entry;
use crate::spool::{Spool, SpoolError};
use crate::trace::model::{Trace, TraceState};
use found::Standing;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct State {
    home: CodexHome,
    folder: PathBuf,
}

/// How a launch's work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Done,
    /// A turn still runs in Codex's daemon: the trace stands as far as it got, and the next launch
    /// completes it.
    GoesOn,
}

/// Why the work of a launch that died is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub reason: String,
    /// When the spool holds less, it may be.
    pub wants_room: bool,
}

impl Unfinished {
    fn because(reason: String) -> Unfinished {
        Unfinished { reason, wants_room: false }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {0}: {1}")]
    Rollout(PathBuf, io::Error),
    #[error("cannot write to {0}: {reason}", reason = disk::reason(.1))]
    Record(PathBuf, io::Error),
    #[error("cannot write to {0}: {1}")]
    Spool(PathBuf, SpoolError),
    #[error("another codex-traced is delivering")]
    Busy,
}

impl State {
    pub fn of(home: &CodexHome) -> State {
        State { home: home.clone(), folder: home.state() }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("codex_tracing.log")
    }

    pub fn launches(&self) -> PathBuf {
        self.folder.join("launches")
    }

    /// What a launch could not tell any more: the next one does.
    pub fn untold(&self) -> PathBuf {
        self.folder.join("notice")
    }

    /// Whether there is work that launches other than this one left.
    pub fn has_leftovers(&self, launch: &str) -> bool {
        let entries = fs::read_dir(self.launches()).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        names.any(|name| !name.as_encoded_bytes().starts_with(launch.as_bytes()))
            || !self.spool().paths().is_empty()
    }

    pub fn threads(&self) -> PathBuf {
        self.folder.join("threads")
    }

    /// The thread whose record was written last: the one that was worked in last.
    pub fn last_thread(&self) -> Option<ThreadId> {
        self.recent_threads(1).pop()
    }

    /// The threads that were worked in last, the last one first.
    pub fn recent_threads(&self, at_most: usize) -> Vec<ThreadId> {
        let records = fs::read_dir(self.threads()).into_iter().flatten().flatten();
        let dated = records.filter_map(|entry| {
            let thread = ThreadId::parse(entry.file_name().to_str()?.strip_suffix(".json")?)?;
            Some((entry.metadata().ok()?.modified().ok()?, thread))
        });
        let mut dated: Vec<_> = dated.collect();
        dated.sort();
        dated.into_iter().rev().take(at_most).map(|(_, thread)| thread).collect()
    }

    /// What to know about a target before the first trace goes there, once. It is remembered here: to look at
    /// the target itself may take for ever, where its disk does not answer.
    pub fn introduce(&self, target: &Target) -> Option<String> {
        let sentence = export::mlflow::introduction(target)?;
        let path = self.folder.join("introduced");
        let known = fs::read_to_string(&path).unwrap_or_default();
        let line = target.to_string();
        if known.lines().any(|known| known == line) {
            return None;
        }
        if let Err(error) = disk::write_private(&path, format!("{known}{line}\n").as_bytes()) {
            tracing::warn!("cannot remember that {target} was introduced: {error}");
        }
        Some(sentence)
    }

    pub fn receipts(&self) -> Receipts {
        Receipts::at(self.folder.join("receipts"))
    }

    pub fn spool(&self) -> Spool {
        Spool::at(self.folder.join("spool"))
    }

    /// Puts the traces of every thread that the launch wrote into the spool. One that cannot be put keeps no
    /// other back; the first failure is told.
    pub fn spool_launch(&self, launch: &Launch, world: &World) -> Result<Work, StateError> {
        let mut result = Ok(Work::Done);
        for claim in self.claims_of(launch) {
            let done = self.spool_thread(&claim, launch, world);
            result = match (result, done) {
                (Err(first), _) => Err(first),
                (Ok(_), Err(error)) => Err(error),
                (Ok(before), Ok(work)) => Ok(before.max(work)),
            };
        }
        result
    }

    fn spool_thread(&self, claim: &Claim, launch: &Launch, world: &World) -> Result<Work, StateError> {
        let traces = self.traces(claim, launch, world)?;
        if traces.is_empty() {
            return Ok(Work::Done);
        }
        let runs = traces.iter().any(|trace| trace.state == TraceState::InProgress);
        let Destination { target, experiment } = self.destination_of(&claim.thread, launch);
        // A session is sent as it stands; of many turns most are there already.
        let is_new =
            |trace: &&Trace| traces.len() == 1 || self.standing(trace, &target) != Standing::Unchanged;
        for trace in traces.iter().filter(is_new) {
            let (target, experiment, trace) = (target.clone(), experiment.clone(), trace.clone());
            let put = self.spool().put(&Entry { target, experiment, trace }, Timestamp::now());
            put.map_err(|error| StateError::Spool(self.folder.join("spool"), error))?;
        }
        Ok(if runs { Work::GoesOn } else { Work::Done })
    }

    /// Where the thread was first sent; now, if it never was.
    fn destination_of(&self, thread: &ThreadId, launch: &Launch) -> Destination {
        let now = &launch.destination;
        let first =
            |record: &ThreadRecord| self.first_destination(record, thread).unwrap_or_else(|| now.clone());
        let keep = |record: &mut ThreadRecord| record.destination = Some(first(record));
        // A record that cannot be changed was told of already.
        let record = ThreadRecord::update(&self.threads(), thread, keep);
        let kept = record.ok().and_then(|record| record.destination).unwrap_or_else(|| now.clone());
        if kept != *now {
            tracing::info!("thread {thread} stays where it was first sent, as the settings of then have it");
        }
        kept
    }

    /// One claim per thread, by its strongest evidence: what Codex held, and what its interface logged.
    fn claims_of(&self, launch: &Launch) -> Vec<Claim> {
        let mut prompts = BTreeSet::new();
        let mut logged = Vec::new();
        for line in &launch.logged {
            match line {
                Logged::Prompt { client_id } => _ = prompts.insert(client_id.clone()),
                Logged::Rollout(path) => logged.extend(rollout::path::thread_of(path)),
            }
        }
        logged.extend(rollout::prompts::threads_holding(self.home.path(), &prompts, launch.started_at));
        let logged = logged.into_iter().map(|thread| Claim { thread, attribution: Attribution::TuiLog });
        let claims = launch.claims.iter().cloned().chain(logged);
        // What a sub-agent did is part of its root's trace.
        let mut claims: Vec<Claim> =
            claims.map(|claim| Claim { thread: self.root_of(&claim.thread), ..claim }).collect();
        claims.sort_by(|a, b| (&a.thread, a.attribution).cmp(&(&b.thread, b.attribution)));
        claims.dedup_by(|later, first| later.thread == first.thread);
        claims
    }

    /// Finishes the work of launches that died before they could, or whose turn went on without them; unless
    /// somebody else is at it.
    pub fn recover(&self, world: &World) {
        self.recover_within(world, Duration::ZERO);
    }

    /// As `recover`, for somebody who waits until others have done theirs. Tells what could not be finished.
    pub fn recover_within(&self, world: &World, patience: Duration) -> Vec<Unfinished> {
        self.sweep();
        if journal::left_behind(&self.launches()).is_empty() {
            return Vec::new();
        }
        // Forty launches that end at once would each do it all. Where there are no locks they do: it costs time only.
        let lock = disk::lock_within(&self.folder.join(".lock-launches"), patience);
        if let Ok(None) = lock {
            return vec![Unfinished::because("another codex-traced is at it".into())];
        }
        let mut unfinished = Vec::new();
        for (notes, _) in journal::left_behind(&self.launches()) {
            let Some(_hold) = Hold::take(&notes) else { continue };
            // Only now nobody else writes there.
            let Some(mut launch) = journal::load(&notes) else { continue };
            watch::take_log_of(&mut launch, &self.launches());
            // A rollout that trips us over must not keep the others from being finished.
            let work = catch_unwind(AssertUnwindSafe(|| self.spool_launch(&launch, world)));
            match work {
                Ok(Ok(Work::Done)) => {
                    tracing::info!("finished the work of launch {}", launch.id);
                    let _ = fs::remove_file(notes);
                }
                Ok(Ok(Work::GoesOn)) => {}
                Ok(Err(error)) => {
                    tracing::error!("cannot finish the work of launch {}: {error}", launch.id);
                    let wants_room = matches!(error, StateError::Spool(_, SpoolError::Full { .. }));
                    unfinished.push(Unfinished { wants_room, ..Unfinished::because(error.to_string()) });
                }
                Err(_) => {
                    unfinished.push(Unfinished::because("a defect of codex-traced (see its log)".into()))
                }
            }
        }
        unfinished
    }

    /// Removes what crashes left half written.
    fn sweep(&self) {
        journal::sweep(&self.launches());
        watch::sweep_logs(&self.launches());
        disk::sweep(&self.threads());
        self.receipts().sweep();
    }
}
