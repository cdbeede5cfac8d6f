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
    /// How much of it the last look saw.
    seen: u64,
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
        self.session_with(file, if thread.is_some() { Writer::Alive } else { Writer::Gone })
    }

    /// As `session`, where the caller knows whether a process may still write to the file.
    pub fn session_with(&self, file: &Path, writer: Writer) -> io::Result<Session> {
        self.read.borrow_mut().insert(file.to_path_buf());
        // Codex appends to no others.
        if !is_rollout(file) || is_compressed(file) {
            return session::read(file, writer);
        }
        self.with_tail(file, |Kept { tail, .. }| {
            tail.read()?;
            Ok(tail.session_with(writer))
        })
    }

    /// What was added to the file since the last look; an update may have read it already.
    pub fn look(&self, file: &Path) -> io::Result<Look> {
        self.with_tail(file, |Kept { tail, seen, .. }| {
            tail.read()?;
            let before = std::mem::replace(seen, tail.position());
            Ok(match tail.position() == before {
                true => Look::Unchanged,
                false if tail.is_at_rest() => Look::AtRest,
                false => Look::Working,
            })
        })
    }

    fn with_tail<T>(&self, file: &Path, work: impl FnOnce(&mut Kept) -> io::Result<T>) -> io::Result<T> {
        let (mut tails, used) = (self.tails.borrow_mut(), Instant::now());
        let new = || Kept { tail: Tail::new(file), used, seen: 0 };
        let kept = tails.entry(file.to_path_buf()).or_insert_with(new);
        kept.used = used;
        work(kept)
    }

    pub fn take_read(&self) -> BTreeSet<PathBuf> {
        self.read.take()
    }

    pub fn holds(&self, file: &Path) -> bool {
        self.tails.borrow().contains_key(file)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_look_sees_what_an_update_has_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let thread = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
        let file = folder.path().join(format!("rollout-2026-11-22T10-04-14-{thread}.jsonl"));
        let session = fs::read("tests/corpus/0.169.0/exec-basic.jsonl").unwrap();
        let cache = SessionCache::default();
        let half = session[..session.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        fs::write(&file, &session[..half]).unwrap();
        assert_eq!(cache.look(&file).unwrap(), Look::Working);
        fs::write(&file, &session).unwrap();
        assert!(!cache.session(&file, ThreadId::parse(thread).as_ref()).unwrap().is_running());
        assert_eq!(cache.look(&file).unwrap(), Look::AtRest);
        assert_eq!(cache.look(&file).unwrap(), Look::Unchanged);
    }
}
