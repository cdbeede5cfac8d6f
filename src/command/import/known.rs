//! What an import keeps for the next one, `$CODEX_HOME/mlflow/imported.json`: which sessions it need not read again,
//! because nothing changed that their traces are made from.
//!
//! A cache: what a session's traces are made from has one digest, and a session with another digest is read.

use super::select::Subagents;
use super::work::{ImportOutcome, ImportedSession};
use crate::claim::claims::claimed_threads;
use crate::claim::thread_record::file_of;
use crate::finish::context::Context;
use crate::finish::session_traces::allowed_in;
use crate::queue::receipts;
use crate::queue::target_state::{Answers, TargetState};
use crate::settings::Settings;
use crate::settings::launch_context::LaunchContext;
use crate::settings::modes::Content;
use codex_session::rollout::files::SessionFile;
use codex_session::thread::ThreadId;
use common::disk;
use common::disk::file_state::FileState;
use common::printable::hex;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The sessions of earlier imports.
pub(super) struct KnownSessions<'a> {
    context: &'a Context<'a>,
    subagents: &'a Subagents,
    /// Of this program and its settings: another maker's sessions are read again.
    maker: String,
    sessions: BTreeMap<ThreadId, KnownSession>,
    /// Threads of launches that are not finished, which may change what becomes of a session.
    claimed: BTreeSet<ThreadId>,
    /// What folders allow, looked up once for sessions in the same ones.
    allowed: Mutex<HashMap<BTreeSet<String>, Option<Content>>>,
}

/// A session of which every target has all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSession {
    digest: String,
    traces: Vec<TraceId>,
    target: Target,
    folders: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct KnownFile {
    maker: String,
    sessions: BTreeMap<ThreadId, KnownSession>,
}

impl<'a> KnownSessions<'a> {
    /// None where traces are made from more than is looked at here. Nothing is known without the file, and after a change
    /// of program, settings or prices.
    pub(super) fn load(context: &'a Context<'a>, subagents: &'a Subagents) -> Option<KnownSessions<'a>> {
        // They are read from files that a session names.
        if context.settings().shows_images {
            return None;
        }
        let maker = maker(context)?;
        let known = fs::read(context.paths.imported()).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<KnownFile>(&bytes).ok());
        Some(KnownSessions {
            sessions: known
                .filter(|known| known.maker == maker)
                .map(|known| known.sessions)
                .unwrap_or_default(),
            claimed: claimed_threads(&context.paths),
            allowed: Mutex::default(),
            context,
            subagents,
            maker,
        })
    }

    /// The session, if it need not be read.
    pub(super) fn find(&self, files: &[SessionFile], answers: &Answers) -> Option<ImportedSession> {
        let thread = &files.first()?.thread;
        let known = self.sessions.get(thread)?;
        let is_present = known.traces.iter().all(|trace| answers.is_everywhere(*trace));
        if answers.is_all_wanted || !is_present || self.digest(files, known)? != known.digest {
            return None;
        }
        Some(ImportedSession {
            traces: known.traces.clone(),
            put: Vec::new(),
            prompt: None,
            target: known.target.clone(),
            folders: known.folders.clone(),
            is_running: false,
            is_known: true,
            state: TargetState::Unchanged,
            problem: None,
        })
    }

    /// Takes over what became of these sessions, and writes that down. `is_all`: there are no other sessions.
    pub(super) fn update(mut self, threads: &[Vec<SessionFile>], outcomes: &[ImportOutcome], is_all: bool) {
        let is_known =
            |outcome: &&ImportOutcome| matches!(outcome, ImportOutcome::Made(session) if session.is_known);
        let known = outcomes.iter().filter(is_known).count();
        tracing::info!("{known} of {} sessions are as an earlier import left them", outcomes.len());
        let before = self.sessions.clone();
        for (files, outcome) in threads.iter().zip(outcomes) {
            self.note(files, outcome);
        }
        if is_all {
            let threads: BTreeSet<&ThreadId> =
                threads.iter().filter_map(|files| Some(&files.first()?.thread)).collect();
            self.sessions.retain(|thread, _| threads.contains(thread));
        }
        if self.sessions != before {
            self.save();
        }
    }

    fn note(&mut self, files: &[SessionFile], outcome: &ImportOutcome) {
        let Some(first) = files.first() else { return };
        let session = match outcome {
            ImportOutcome::NotReached => return,
            ImportOutcome::Made(session) if session.is_known => return,
            ImportOutcome::Made(session) if session.problem.is_none() && !session.is_running => session,
            _ => {
                self.sessions.remove(&first.thread);
                return;
            }
        };
        let mut known = KnownSession {
            digest: String::new(),
            traces: session.traces.clone(),
            target: session.target.clone(),
            folders: session.folders.clone(),
        };
        if let Some(digest) = self.digest(files, &known) {
            known.digest = digest;
            self.sessions.insert(first.thread.clone(), known);
        }
    }

    /// Without a file the next import reads the sessions again.
    fn save(self) {
        let path = self.context.paths.imported();
        let bytes = serde_json::to_vec(&KnownFile { maker: self.maker, sessions: self.sessions });
        if let Err(error) = bytes.map_err(Into::into).and_then(|bytes| disk::write_soon(&path, &bytes)) {
            tracing::warn!("cannot write {}: {error}", path.display());
        }
    }

    /// Of all that the session's traces are made from, and of what its targets took. None where that is not settled.
    fn digest(&self, files: &[SessionFile], known: &KnownSession) -> Option<String> {
        let thread = &files.first()?.thread;
        if self.claimed.contains(thread) {
            return None;
        }
        let mut digest = Sha256::new();
        for file in files.iter().chain(self.subagents.below(thread)) {
            add(&mut digest, (&file.path, file.state));
        }
        let paths = &self.context.paths;
        let state_of = |path: &Path| fs::metadata(path).ok().map(|found| FileState::from_metadata(&found));
        add(&mut digest, state_of(&file_of(&paths.threads(), thread)));
        for trace in &known.traces {
            add(&mut digest, state_of(&receipts(paths).file_of(*trace)));
        }
        add(&mut digest, self.allowed_in(&known.folders));
        Some(hex(&digest.finalize()[..16]))
    }

    fn allowed_in(&self, folders: &BTreeSet<String>) -> Option<Content> {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = allowed.get(folders) {
            return *known;
        }
        let paths = folders.iter().map(PathBuf::from).collect();
        let found = allowed_in(&paths, Content::Full, self.context.home()).ok();
        allowed.insert(folders.clone(), found);
        found
    }
}

/// Everything else that decides about all traces. None without a salt, which another import may find.
fn maker(context: &Context) -> Option<String> {
    context.redactor().ok()?;
    let salt = fs::read(context.paths.salt()).ok()?;
    let launch = LaunchContext { tags: context.settings().launch.tags.clone(), ..LaunchContext::default() };
    let settings = Settings { launch, ..context.settings().clone() };
    let mut digest = Sha256::new();
    add(&mut digest, (settings, context.prices().fingerprint(), context.user(), salt));
    Some(format!("{} {}", env!("CARGO_PKG_VERSION"), hex(&digest.finalize()[..16])))
}

fn add(digest: &mut Sha256, part: impl Debug) {
    digest.update(format!("{part:?}\n"));
}
