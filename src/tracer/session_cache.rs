//! Sessions in memory while their files grow: each line of a file is read once.

use codex_session::rollout::path::{is_compressed, is_rollout};
use codex_session::session::model::Session;
use codex_session::session::{self, Tail, Writer};
use codex_session::thread::ThreadId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Default)]
pub struct SessionCache {
    tails: RefCell<BTreeMap<PathBuf, Tail>>,
    /// The files that were read since the last `take_read`.
    read: RefCell<BTreeSet<PathBuf>>,
}

impl SessionCache {
    /// The session of the file as it is now. `thread`: as for `gather::Read`. A file with a thread counts as one whose
    /// writer lives, for Codex runs.
    pub fn session(&self, file: &Path, thread: Option<&ThreadId>) -> io::Result<Session> {
        self.read.borrow_mut().insert(file.to_path_buf());
        // Codex appends to no others.
        if !is_rollout(file) || is_compressed(file) {
            return session::read(file, if thread.is_some() { Writer::Alive } else { Writer::Gone });
        }
        let mut tails = self.tails.borrow_mut();
        let tail = tails.entry(file.to_path_buf()).or_insert_with(|| Tail::new(file));
        tail.read()?;
        Ok(if thread.is_some() { tail.session() } else { tail.ended_session() })
    }

    pub fn take_read(&self) -> BTreeSet<PathBuf> {
        self.read.take()
    }

    /// Whether one of these files holds the prompt to which its client gave this id.
    pub fn holds_prompt(&self, client_id: &str) -> bool {
        self.tails.borrow().values().any(|tail| tail.prompts().contains(client_id))
    }

    pub fn forget(&self, files: &BTreeSet<PathBuf>) {
        self.tails.borrow_mut().retain(|file, _| !files.contains(file));
    }
}
