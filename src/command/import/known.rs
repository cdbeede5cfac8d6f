//! What an import keeps for the next one, `$CODEX_HOME/mlflow/imported.json`: the sessions that need not be read again.
//!
//! It is a cache. It holds one digest of what a session's traces are made from, and one of the receipts for them. The next
//! import reads a session where either differs.

use super::outcome::{ImportOutcome, ImportedSession};
use super::select::Subagents;
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
    /// Names the program and its settings. Sessions under another maker are read again.
    maker: String,
    sessions: BTreeMap<ThreadId, KnownSession>,
    /// Threads of unfinished launches. Such a launch decides about the thread's trace.
    claimed: BTreeSet<ThreadId>,
    /// What the rules in folders allow. Many sessions have the same folders.
    allowed: Mutex<HashMap<BTreeSet<String>, Option<Content>>>,
    /// Another import with other settings may send other forms of the same traces.
    _lock: disk::FileLock,
}

/// A session whose traces all have receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSession {
    /// Of what the traces are made from.
    sources: String,
    /// Of the state of the receipts.
    receipts: String,
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
    /// Empty without a file, or where another maker wrote it. None without a salt for placeholders, while another import
    /// runs, and where traces have images: those are read from the files a second time.
    pub(super) fn load(context: &'a Context<'a>, subagents: &'a Subagents) -> Option<KnownSessions<'a>> {
        if context.settings().shows_images {
            return None;
        }
        let maker = maker(context)?;
        let lock = disk::try_lock(&context.paths.imported_lock()).ok().flatten()?;
        let file = fs::read(context.paths.imported()).ok();
        let file = file.and_then(|bytes| serde_json::from_slice::<KnownFile>(&bytes).ok());
        let sessions = file.filter(|file| file.maker == maker).map(|file| file.sessions).unwrap_or_default();
        let claimed = claimed_threads(&context.paths);
        let allowed = Mutex::default();
        Some(KnownSessions { context, subagents, maker, sessions, claimed, allowed, _lock: lock })
    }

    /// The session, if it need not be read.
    pub(super) fn find(&self, files: &[SessionFile], answers: &Answers) -> Option<ImportedSession> {
        let known = self.sessions.get(&files.first()?.thread)?;
        let is_present = known.traces.iter().all(|trace| answers.is_everywhere(*trace));
        let sources = self.sources_of(files, &known.folders)?;
        let is_same = sources == known.sources && self.receipts_of(&known.traces)? == known.receipts;
        if answers.is_all_wanted || !is_present || !is_same {
            return None;
        }
        Some(ImportedSession {
            traces: known.traces.clone(),
            put: Vec::new(),
            prompt: None,
            target: known.target.clone(),
            folders: known.folders.clone(),
            sources: Some(sources),
            is_known: true,
            state: TargetState::Unchanged,
            problem: None,
        })
    }

    /// The digest of what a session's traces are made from. The caller asks for it before it makes them: a later change
    /// gives another digest. None where an unfinished launch claims the session.
    pub(super) fn sources_of(&self, files: &[SessionFile], folders: &BTreeSet<String>) -> Option<String> {
        let thread = &files.first()?.thread;
        if self.claimed.contains(thread) {
            return None;
        }
        let mut digest = Sha256::new();
        for file in files.iter().chain(self.subagents.below(thread)) {
            add(&mut digest, (&file.path, file.state));
        }
        add(&mut digest, state_of(&file_of(&self.context.paths.threads(), thread)));
        add(&mut digest, self.allowed_in(folders));
        Some(end(digest))
    }

    /// Takes over what became of these sessions, and writes that down. `is_all`: there are no other sessions.
    pub(super) fn update(mut self, threads: &[Vec<SessionFile>], outcomes: &[ImportOutcome], is_all: bool) {
        let is_known =
            |outcome: &&ImportOutcome| matches!(outcome, ImportOutcome::Made(session) if session.is_known);
        let known = outcomes.iter().filter(is_known).count();
        tracing::info!("import: {known} of {} sessions are as an earlier import left them", outcomes.len());
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
        let made = match outcome {
            ImportOutcome::NotReached => return,
            ImportOutcome::Made(session) if session.is_known => return,
            ImportOutcome::Made(session) if session.problem.is_none() => self.known_as(session),
            _ => None,
        };
        match made {
            Some(known) => _ = self.sessions.insert(first.thread.clone(), known),
            None => _ = self.sessions.remove(&first.thread),
        }
    }

    /// None where a trace has no receipt that can be read, or its target archived it: later turns are in another trace.
    fn known_as(&self, session: &ImportedSession) -> Option<KnownSession> {
        let of_session = receipts(&self.context.paths);
        let is_taken = |trace: &TraceId| {
            let all = of_session.all(*trace);
            !all.is_empty() && !all.iter().any(|receipt| receipt.archived)
        };
        let is_settled = session.traces.iter().all(is_taken);
        Some(KnownSession {
            sources: session.sources.clone()?,
            receipts: self.receipts_of(&session.traces).filter(|_| is_settled)?,
            traces: session.traces.clone(),
            target: session.target.clone(),
            folders: session.folders.clone(),
        })
    }

    /// Without a file the next import reads the sessions again.
    fn save(mut self) {
        // `mlflow forget` may have removed receipts since.
        let mut sessions = std::mem::take(&mut self.sessions);
        sessions.retain(|_, known| self.receipts_of(&known.traces).as_ref() == Some(&known.receipts));
        let path = self.context.paths.imported();
        let bytes = serde_json::to_vec(&KnownFile { maker: self.maker, sessions });
        if let Err(error) = bytes.map_err(Into::into).and_then(|bytes| disk::write_soon(&path, &bytes)) {
            tracing::warn!("cannot write {}: {error}", path.display());
        }
    }

    /// None where a trace has none.
    fn receipts_of(&self, traces: &[TraceId]) -> Option<String> {
        let of_session = receipts(&self.context.paths);
        let mut digest = Sha256::new();
        for trace in traces {
            add(&mut digest, state_of(&of_session.file_of(*trace))?);
        }
        Some(end(digest))
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

/// The program, and all else that applies to every session. None without a salt.
fn maker(context: &Context) -> Option<String> {
    context.redactor().ok()?;
    let salt = fs::read(context.paths.salt()).ok()?;
    // A build of the same version may make other traces.
    let program = std::env::current_exe().ok().map(|path| state_of(&path));
    let launch = LaunchContext { tags: context.settings().launch.tags.clone(), ..LaunchContext::default() };
    let settings = Settings { launch, ..context.settings().clone() };
    let rules = settings.file.redaction().map(ToString::to_string);
    let mut digest = Sha256::new();
    add(&mut digest, (program, settings, rules, context.prices().fingerprint(), context.user(), salt));
    Some(format!("{} {}", env!("CARGO_PKG_VERSION"), end(digest)))
}

fn state_of(path: &Path) -> Option<FileState> {
    fs::metadata(path).ok().map(|found| FileState::from_metadata(&found))
}

fn add(digest: &mut Sha256, part: impl Debug) {
    digest.update(format!("{part:?}\n"));
}

fn end(digest: Sha256) -> String {
    hex(&digest.finalize()[..16])
}
