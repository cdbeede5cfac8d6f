//! Our folder in Codex's home, and what a launch leaves in it: from claims to traces in the spool, and on.

mod claims;
pub mod delivery;
pub mod found;
pub mod recover;

use crate::claim::journal::{Destination, Launch};
use crate::claim::record::{LaunchRecord, ThreadRecord};
use crate::claim::{Claim, writer_of};
use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use crate::config::target::Target;
use crate::disk;
use crate::env::World;
use crate::export;
use crate::export::receipts::Receipts;
use crate::launch::process::Process;
use crate::session::{self, Writer};
use crate::spool::entry::Entry;
use crate::spool::{Spool, SpoolError};
use crate::trace::build::{Surroundings, build};
use crate::trace::ids::TraceId;
use crate::trace::model::{Trace, TraceState};
use claims::Unwritten;
use jiff::Timestamp;
use std::fs;
use std::io;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct State {
    home: CodexHome,
    folder: PathBuf,
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

/// A thread's trace, and who may change what it was made of.
struct Made {
    trace: Trace,
    rollout: PathBuf,
    writer: Option<Process>,
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

    /// Puts a trace of every thread that the launch wrote into the spool. One that cannot be put keeps no
    /// other back; the first failure is told.
    pub fn spool_launch(&self, launch: &Launch, world: &World) -> Result<Work, StateError> {
        let verdict = self.verdict_of(launch);
        self.tell_unclear(launch, &verdict.unclear);
        let (mut open, mut failed) = (Vec::new(), None);
        for claim in verdict.claims {
            match self.spool_thread(&claim, launch, world) {
                Ok(turn) => open.extend(turn),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (failed, open.is_empty()) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(Work::Done),
            (None, false) => Ok(Work::GoesOn(open)),
        }
    }

    /// The turn that still runs in it, if one does.
    fn spool_thread(
        &self,
        claim: &Claim,
        launch: &Launch,
        world: &World,
    ) -> Result<Option<OpenTurn>, StateError> {
        let Some(Made { trace, rollout, writer }) = self.trace_of(claim, launch, world)? else {
            return Ok(None);
        };
        let is_open = trace.state == TraceState::InProgress;
        let Destination { target, experiment } = self.destination_of(&claim.thread, launch);
        let put = self.spool().put(&Entry { target, experiment, trace }, Timestamp::now());
        put.map_err(|error| StateError::Spool(self.folder.join("spool"), error))?;
        Ok(writer.filter(|_| is_open).map(|writer| OpenTurn { rollout, writer }))
    }

    /// Where the thread was first sent; now, if it never was.
    fn destination_of(&self, thread: &ThreadId, launch: &Launch) -> Destination {
        let now = &launch.destination;
        let first = |record: &ThreadRecord| {
            self.first_destination(record, TraceId::of_thread(thread.as_str())).unwrap_or_else(|| now.clone())
        };
        let keep = |record: &mut ThreadRecord| record.destination = Some(first(record));
        // A record that cannot be changed was told of already.
        let record = ThreadRecord::update(&self.threads(), thread, keep);
        let kept = record.ok().and_then(|record| record.destination).unwrap_or_else(|| now.clone());
        if kept != *now {
            tracing::info!("thread {thread} stays where it was first sent, as the settings of then have it");
        }
        kept
    }

    /// None when the thread has nothing to show; the log says why.
    fn trace_of(&self, claim: &Claim, launch: &Launch, world: &World) -> Result<Option<Made>, StateError> {
        let thread = &claim.thread;
        let path = match self.written_rollout_of(thread, launch.started_at) {
            Ok(path) => path,
            Err(Unwritten::SinceThen) => {
                tracing::info!("thread {thread} was opened and nothing was written to it: no trace");
                return Ok(None);
            }
            // Without the folder no session was ever meant to be kept (`--ephemeral` on a new home).
            Err(Unwritten::AtAll) if !self.home.sessions().is_dir() => return Ok(None),
            Err(Unwritten::AtAll) => {
                tracing::warn!(
                    "thread {thread} left no rollout (it was never written, or is gone): no trace"
                );
                return Ok(None);
            }
        };
        // The daemon may go on with a turn when its interface has ended.
        let writer = writer_of(&self.home, thread);
        let may_go_on = if writer.is_some() { Writer::Alive } else { Writer::Gone };
        let session =
            session::read(&path, may_go_on).map_err(|error| StateError::Rollout(path.clone(), error))?;
        if let Some(parent) = &session.meta.parent_thread_id {
            tracing::info!("thread {thread} is a sub-agent of {parent}: no trace of its own");
            return Ok(None);
        }
        let record = self.remember(thread, claim, launch)?;
        let user = world.variables.text("USER").or(world.variables.text("LOGNAME"));
        let trace = build(&session, &record, Surroundings { rollout: &path, user });
        Ok(trace.map(|trace| Made { trace, rollout: path, writer }))
    }

    /// The thread's record, with this launch in it.
    fn remember(
        &self,
        thread: &ThreadId,
        claim: &Claim,
        launch: &Launch,
    ) -> Result<ThreadRecord, StateError> {
        let this = LaunchRecord {
            launch_id: launch.id.clone(),
            attribution: claim.attribution,
            started_at: launch.started_at,
            exit: launch.exit,
        };
        match ThreadRecord::update(&self.threads(), thread, |record| record.add(this.clone())) {
            Ok(record) => Ok(record),
            // A later version may have written it: to write over it would lose it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                tracing::warn!("the record of thread {thread} cannot be read, and is left as it is: {error}");
                Ok(ThreadRecord { launches: vec![this], ..ThreadRecord::default() })
            }
            Err(error) => Err(StateError::Record(self.threads(), error)),
        }
    }
}
