//! Selects sessions by paths, by ids, or all: each thread once, with all files that hold its id.

use crate::base::paths::CodexHome;
use crate::command::CommandError;
use crate::settings::Settings;
use crate::trace::ids::trace_of_thread;
use codex_session::rollout::files::{SessionFile, SessionFiles};
use codex_session::rollout::path;
use codex_session::thread::ThreadId;
use common::disk::entries;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The sessions to import.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The files of each thread, those in Codex's own folders first.
    pub(super) threads: Vec<Vec<SessionFile>>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    /// Their sub-agents, which are part of their traces.
    pub(super) subagents: Subagents,
    /// How many sub-agents have no file of their root thread.
    pub(super) orphans: usize,
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
        let mut found = SessionFiles::default();
        if path.is_dir() {
            found.add_folder(&path);
        } else if path.exists() {
            match found.add_file(&path) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(format!(
                        "{} is no session file of Codex\n  hint: session files are called rollout-….jsonl and begin with a session_meta line",
                        path.display()
                    ));
                }
                Err(error) => found.unreadable.push((path.clone(), error)),
            }
        } else {
            threads.insert(by_id(word, &walk)?);
        }
        threads.extend(found.files.iter().map(|file| file.thread.clone()));
        if path.exists() && !path.is_dir() {
            add_siblings(&path, &mut found);
        }
        named.push(found);
    }
    // The user named sessions, so unreadable files of other sessions in Codex's own folders do not matter.
    walk.unreadable.clear();
    // A named file may also be in Codex's own folders.
    let mut seen: HashSet<PathBuf> = walk.files.iter().map(|file| file.path.clone()).collect();
    for more in named {
        walk.files.extend(more.files.into_iter().filter(|file| seen.insert(file.path.clone())));
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
        let named = walk.files.iter().filter(|file| is_meant(&file.thread));
        let meant: BTreeSet<ThreadId> = named.map(|file| subagents.root_of(&file.thread).clone()).collect();
        let (below, own): (Vec<_>, Vec<_>) = walk.files.into_iter().partition(|file| file.parent.is_some());
        let mut threads: BTreeMap<ThreadId, Vec<SessionFile>> = BTreeMap::new();
        for file in own.into_iter().filter(|file| meant.contains(&file.thread)) {
            threads.entry(file.thread.clone()).or_default().push(file);
        }
        let orphans: BTreeSet<&ThreadId> = below
            .iter()
            .map(|file| &file.thread)
            .filter(|thread| is_meant(thread) && !threads.contains_key(subagents.root_of(thread)))
            .collect();
        let orphans = orphans.len();
        Selection {
            unreadable: walk.unreadable,
            orphans,
            subagents,
            // A thread's id begins with its creation time, so the oldest comes first.
            threads: threads.into_values().collect(),
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

/// Which threads started which sub-agents, among the session files that were found.
#[derive(Debug, Default)]
pub(super) struct Subagents {
    parents: BTreeMap<ThreadId, ThreadId>,
    /// By parent, then by thread: all files with the thread's id.
    children: BTreeMap<ThreadId, BTreeMap<ThreadId, Vec<SessionFile>>>,
}

impl Subagents {
    fn from_files(files: &[SessionFile]) -> Subagents {
        let mut subagents = Subagents::default();
        for file in files {
            let Some(parent) = file.parent.as_deref().and_then(ThreadId::from_meta) else { continue };
            subagents.parents.entry(file.thread.clone()).or_insert_with(|| parent.clone());
            let children = subagents.children.entry(parent).or_default();
            children.entry(file.thread.clone()).or_default().push(file.clone());
        }
        subagents
    }

    /// The first thread in the chain of parents.
    fn root_of<'a>(&'a self, thread: &'a ThreadId) -> &'a ThreadId {
        let (mut root, mut seen) = (thread, HashSet::new());
        while let Some(parent) = self.parents.get(root).filter(|_| seen.insert(root)) {
            root = parent;
        }
        root
    }

    pub(super) fn children(&self, parent: &ThreadId) -> impl Iterator<Item = &[SessionFile]> {
        self.children.get(parent).into_iter().flatten().map(|(_, files)| &**files)
    }

    /// The files of all direct and indirect sub-agents of this thread.
    pub(super) fn below(&self, thread: &ThreadId) -> Vec<&SessionFile> {
        let (mut found, mut seen, mut next) = (Vec::new(), HashSet::new(), vec![thread]);
        while let Some(parent) = next.pop() {
            for (child, files) in self.children.get(parent).into_iter().flatten() {
                if seen.insert(child) {
                    found.extend(files);
                    next.push(child);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::disk::file_state::FileState;
    use std::time::SystemTime;

    fn thread(number: u8) -> ThreadId {
        ThreadId::parse(&format!("01a202b6-a73e-7ee3-8243-2500000000{number:02}")).unwrap()
    }

    fn subagents(started: &[(u8, u8)]) -> Subagents {
        let file = |(child, parent): &(u8, u8)| SessionFile {
            path: format!("/{child}").into(),
            thread: thread(*child),
            parent: Some(thread(*parent).to_string()),
            modified: SystemTime::UNIX_EPOCH,
            state: FileState { bytes: 1, changed: 0, inode: 1 },
        };
        Subagents::from_files(&started.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn roots_and_subagents_are_found_also_in_circles_of_parents() {
        let subagents = subagents(&[(2, 1), (3, 2), (4, 1), (6, 7), (7, 6)]);
        assert_eq!(subagents.root_of(&thread(3)), &thread(1));
        assert_eq!(subagents.root_of(&thread(9)), &thread(9));
        let below = |number| {
            let mut names: Vec<_> =
                subagents.below(&thread(number)).iter().map(|file| file.path.clone()).collect();
            names.sort();
            names.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(below(1), ["/2", "/3", "/4"]);
        assert_eq!(below(6), ["/6", "/7"]);
        assert!([thread(6), thread(7)].contains(subagents.root_of(&thread(6))));
        assert_eq!(subagents.children(&thread(1)).count(), 2);
    }
}
