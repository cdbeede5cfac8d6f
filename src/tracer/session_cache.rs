//! Sessions in memory while their files grow: each line of a file is read once.

use codex_session::rollout::path::{is_compressed, is_rollout};
use codex_session::session::model::Session;
use codex_session::session::{self, Tail, Writer};
use codex_session::thread::ThreadId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Default)]
pub struct SessionCache {
    tails: RefCell<BTreeMap<PathBuf, Kept>>,
    /// The files that were read since the last `take_read`.
    read: RefCell<BTreeSet<PathBuf>>,
}

#[derive(Debug)]
struct Kept {
    tail: Tail,
    used: Instant,
}

/// What a look at a file has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Unchanged,
    /// A turn runs.
    Working,
    /// There are turns, and all of them have ended.
    AtRest,
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
        self.with_tail(file, |tail| {
            tail.read()?;
            Ok(if thread.is_some() { tail.session() } else { tail.ended_session() })
        })
    }

    /// Reads what was added to the file since the last look.
    pub fn look(&self, file: &Path) -> io::Result<Look> {
        self.with_tail(file, |tail| {
            Ok(match tail.read()? {
                false => Look::Unchanged,
                true if tail.is_at_rest() => Look::AtRest,
                true => Look::Working,
            })
        })
    }

    fn with_tail<T>(&self, file: &Path, work: impl FnOnce(&mut Tail) -> io::Result<T>) -> io::Result<T> {
        let (mut tails, used) = (self.tails.borrow_mut(), Instant::now());
        let new = || Kept { tail: Tail::new(file), used };
        let kept = tails.entry(file.to_path_buf()).or_insert_with(new);
        kept.used = used;
        work(&mut kept.tail)
    }

    pub fn take_read(&self) -> BTreeSet<PathBuf> {
        self.read.take()
    }

    /// Whether a file holds the prompt to which its client gave this id.
    pub fn holds_prompt(&self, client_id: &str) -> bool {
        self.tails.borrow().values().any(|kept| kept.tail.prompts().contains(client_id))
    }

    /// As `holds_prompt`, for one file.
    pub fn holds_prompt_in(&self, file: &Path, client_id: &str) -> bool {
        self.tails.borrow().get(file).is_some_and(|kept| kept.tail.prompts().contains(client_id))
    }

    pub fn forget(&self, files: &BTreeSet<PathBuf>) {
        self.tails.borrow_mut().retain(|file, _| !files.contains(file));
    }

    /// Forgets files that were last read before this time.
    pub fn forget_before(&self, time: Instant) {
        self.tails.borrow_mut().retain(|_, kept| kept.used >= time);
    }
}
