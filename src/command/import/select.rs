//! Selects sessions by paths, by ids, or all: each thread once, with all files that hold its id.

use super::subagents::Subagents;
use crate::base::codex_home::CodexHome;
use crate::command::CommandError;
use crate::settings::Settings;
use crate::trace::ids::trace_of_thread;
use codex_session::rollout::files::{SessionFile, SessionFiles};
use codex_session::rollout::path;
use codex_session::thread::ThreadId;
use common::disk::entries;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::SystemTime;

/// The sessions to import.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The files of each thread, those in Codex's own folders first.
    pub(super) threads: Vec<Vec<SessionFile>>,
    /// Paths and errors.
    pub(super) unreadable: Vec<(String, String)>,
    /// Their sub-agents, which are part of their traces.
    pub(super) subagents: Subagents,
    /// How many sub-agents have no file of their root thread.
    pub(super) sub_agents: usize,
}

/// The files of the folders that are always searched, Codex's own first.
fn known(home: &CodexHome, settings: &Settings) -> SessionFiles {
    let archive = home.path().join("archived_sessions");
    let mut walk = SessionFiles::default();
    [&home.sessions(), &archive, &settings.sessions_dir.value]
        .into_iter()
        .for_each(|folder| walk.add_folder(folder));
    walk
}

/// Every session there is.
pub(super) fn all(home: &CodexHome, settings: &Settings) -> Selection {
    Selection::from_files(known(home, settings), |_| true)
}

/// The session whose file was written last.
pub(super) fn latest(home: &CodexHome, settings: &Settings) -> Selection {
    let walk = known(home, settings);
    let own = walk.files.iter().filter(|file| file.parent.is_none());
    let latest = own.max_by_key(|file| file.modified).map(|file| file.thread.clone());
    Selection::from_files(walk, |thread| Some(thread) == latest.as_ref())
}

/// The named sessions, with the files of the same threads in Codex's own folders: a named copy may be older.
pub(super) fn named(
    words: &[OsString],
    home: &CodexHome,
    settings: &Settings,
    cwd: Option<&Path>,
) -> Result<Selection, CommandError> {
    let mut walk = known(home, settings);
    let (mut threads, mut named) = (BTreeSet::new(), Vec::new());
    for word in words {
        let path = cwd.unwrap_or(Path::new("")).join(word);
        if path.is_dir() {
            let mut below = SessionFiles::default();
            below.add_folder(&path);
            threads.extend(below.files.iter().map(|file| file.thread.clone()));
            named.push(below);
        } else if path.exists() {
            let mut one = SessionFiles::default();
            match one.add_file(&path) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(format!(
                        "{} is no session file of Codex\n  hint: session files are called rollout-….jsonl and begin with a session_meta line",
                        path.display()
                    ));
                }
                Err(error) => one.unreadable.push((path.clone(), error)),
            }
            threads.extend(one.files.iter().map(|file| file.thread.clone()));
            add_siblings(&path, &mut one);
            named.push(one);
        } else {
            threads.insert(by_id(word, &walk)?);
        }
    }
    // The user named sessions, so unreadable files of other sessions in Codex's own folders do not matter.
    walk.unreadable.clear();
    for more in named {
        walk.files.extend(more.files);
        walk.unreadable.extend(more.unreadable);
    }
    Ok(Selection::from_files(walk, |thread| threads.contains(thread)))
}

/// Adds the other session files of the folder: a copied session may come with its sub-agents and other files.
fn add_siblings(path: &Path, walk: &mut SessionFiles) {
    let siblings = path.parent().into_iter().flat_map(entries);
    for path in siblings.map(|entry| entry.path()).filter(|path| path::is_rollout(path)) {
        // An unreadable sibling is no error: the user did not name it.
        let _ = walk.add_file(&path);
    }
}

/// Reads a session's id, or the id of its trace.
fn by_id(word: &OsString, walk: &SessionFiles) -> Result<ThreadId, CommandError> {
    let text = word.to_string_lossy();
    let is_named = |file: &&SessionFile| file.thread.as_str() == text;
    if let Some(file) = walk.files.iter().find(is_named) {
        return Ok(file.thread.clone());
    }
    let thread = ThreadId::parse(&text).map(|thread| trace_of_thread(thread.as_str()));
    let Some(wanted) = thread.or_else(|| text.parse().ok()) else {
        return Err(format!(
            "{text} is neither a file, a folder nor a session id\n  hint: `codex-traced mlflow import --all` takes every session there is"
        ));
    };
    let of = |file: &&SessionFile| trace_of_thread(file.thread.as_str()) == wanted;
    let found = walk.files.iter().find(of).map(|file| file.thread.clone());
    found.ok_or_else(|| {
        format!("there is no session file of {text}\n  hint: name the file, if it lies elsewhere")
    })
}

impl Selection {
    fn from_files(walk: SessionFiles, is_meant: impl Fn(&ThreadId) -> bool) -> Selection {
        let subagents = Subagents::from_files(&walk.files);
        let meant: BTreeSet<ThreadId> = walk
            .files
            .iter()
            .filter(|file| is_meant(&file.thread))
            .map(|file| subagents.root_of(&file.thread).clone())
            .collect();
        let mut threads: BTreeMap<ThreadId, Vec<SessionFile>> = BTreeMap::new();
        let is_root = |file: &&SessionFile| file.parent.is_none();
        let roots: BTreeSet<ThreadId> =
            walk.files.iter().filter(is_root).map(|file| file.thread.clone()).collect();
        let mut sub_agents = BTreeSet::new();
        for file in walk.files {
            if file.parent.is_some() {
                if is_meant(&file.thread) && !roots.contains(subagents.root_of(&file.thread)) {
                    sub_agents.insert(file.thread);
                }
                continue;
            }
            if !meant.contains(&file.thread) {
                continue;
            }
            let files = threads.entry(file.thread.clone()).or_default();
            if !files.iter().any(|known| known.path == file.path) {
                files.push(file);
            }
        }
        let unreadable =
            walk.unreadable.into_iter().map(|(path, error)| (path.display().to_string(), error.to_string()));
        Selection {
            // A thread's id begins with its creation time, so the oldest comes first.
            threads: threads.into_values().collect(),
            unreadable: unreadable.collect(),
            subagents,
            sub_agents: sub_agents.len(),
        }
    }

    /// Keeps sessions with a file written since then. The time of the last line is checked later, once it is read.
    pub(super) fn written_since(&mut self, since: Timestamp) {
        let since = SystemTime::from(since);
        let subagents = &self.subagents;
        self.threads.retain(|files| {
            let below = files.first().map(|file| subagents.below(&file.thread)).unwrap_or_default();
            files.iter().chain(below).any(|file| file.modified >= since)
        });
    }
}
