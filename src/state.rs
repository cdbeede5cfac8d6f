//! Our folder in Codex's home, and what a launch leaves in it: from claims to traces in the spool, and on.

mod archived;
mod claims;
pub mod delivery;
pub mod families;
pub mod forget;
pub mod found;
pub mod lost;
pub mod recover;
mod redaction;
pub mod traces;

use crate::claim::Claim;
use crate::claim::journal::{Destination, Launch};
use crate::claim::record::ThreadRecord;
use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use crate::config::target::Target;
use crate::disk;
use crate::env::World;
use crate::export;
use crate::export::receipts::Receipts;
use crate::launch::process::Process;
use crate::spool::entry::Entry;
use crate::spool::{Spool, SpoolError};
use crate::trace::model::TraceState;
use crate::trace::redact::{Redacted, Redactor};
use jiff::Timestamp;
use lost::{Answers, Seen};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug)]
pub struct State {
    home: CodexHome,
    folder: PathBuf,
    /// Made for the first trace: before Codex starts there is none.
    redactor: Arc<OnceLock<Redactor>>,
}

/// How a launch's work stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    Done,
    /// Turns still run in Codex's daemon: their traces stand as far as they got.
    GoesOn(Vec<OpenTurn>),
}

/// A turn that somebody may still end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTurn {
    pub rollout: PathBuf,
    pub writer: Process,
}

/// A thread's traces, and who may change what they were made of.
struct Made {
    traces: Vec<Redacted>,
    /// The thread's own, and those of the sub-agents that outlive it.
    open: Vec<OpenTurn>,
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {0}: {1}")]
    Rollout(PathBuf, io::Error),
    #[error("cannot write to {0}: {reason}", reason = disk::reason(.1))]
    Record(PathBuf, io::Error),
    #[error("cannot write to {0}: {1}")]
    Spool(PathBuf, SpoolError),
    #[error("cannot keep the salt of placeholders in {0}: {reason}", reason = disk::reason(.1))]
    Salt(PathBuf, io::Error),
    #[error("another codex-traced is delivering")]
    Busy,
}

impl State {
    pub fn of(home: &CodexHome) -> State {
        State { home: home.clone(), folder: home.state(), redactor: Arc::default() }
    }

    pub fn home(&self) -> &CodexHome {
        &self.home
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
            let thread = ThreadId::from_meta(entry.file_name().to_str()?.strip_suffix(".json")?)?;
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
        let verdict = self.verdict_of(launch);
        self.tell_unclear(launch, &verdict.unclear);
        let (mut open, mut failed) = (Vec::new(), None);
        for claim in verdict.claims {
            match self.spool_thread(&claim, launch, world) {
                Ok(turns) => open.extend(turns),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (failed, open.is_empty()) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(Work::Done),
            (None, false) => Ok(Work::GoesOn(open)),
        }
    }

    /// The turns that still run in it.
    fn spool_thread(
        &self,
        claim: &Claim,
        launch: &Launch,
        world: &World,
    ) -> Result<Vec<OpenTurn>, StateError> {
        let mut made = self.traces(claim, launch, world)?;
        let is_open = |made: &Made| made.traces.iter().any(|trace| trace.state == TraceState::InProgress);
        if made.as_ref().is_some_and(|made| is_open(made) && made.open.is_empty()) {
            // Whoever wrote to it has ended since it was read.
            made = self.traces(claim, launch, world)?;
        }
        let Some(Made { traces, open }) = made else { return Ok(Vec::new()) };
        let destination = self.destination_of(&claim.thread, launch);
        // A session is sent as it stands; of many turns most are there already.
        let is_single = traces.len() == 1;
        let believed = Answers::default();
        let is_archived = |trace: &Redacted| self.receipts().archived(trace.id).is_some();
        let is_new = |trace: &Redacted| {
            (is_single && !is_archived(trace))
                || self.standing(trace, &destination.target, &believed).is_wanting()
        };
        let (new, sent): (Vec<_>, Vec<_>) = traces.into_iter().partition(is_new);
        self.put_all(new, &destination)?;
        // Only when the new turns are safe is the target asked for those before them.
        if !sent.is_empty() {
            let answers = self.ask([&claim.thread], world);
            let mut lost = sent;
            lost.retain(|trace| matches!(answers.of(trace.id, &destination.target), Seen::Lost(_)));
            for trace in &lost {
                self.receipts()
                    .empty(trace.id, &destination.target)
                    .map_err(|error| StateError::Record(self.folder.join("receipts"), error))?;
            }
            self.put_all(lost, &destination)?;
        }
        Ok(open)
    }

    fn put_all(&self, traces: Vec<Redacted>, to: &Destination) -> Result<(), StateError> {
        for trace in traces {
            let Destination { target, experiment } = to.clone();
            let put = self.spool().put(&Entry { target, experiment, trace }, Timestamp::now());
            put.map_err(|error| StateError::Spool(self.folder.join("spool"), error))?;
        }
        Ok(())
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
}
