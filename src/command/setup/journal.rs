//! What setup changed, noted before it changes anything, so that `--undo` can take back also what was interrupted.

use super::change::{Change, TakenBack, read};
use common::disk;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the file.
const VERSION: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u64,
    /// In the order in which they are made.
    changes: Vec<Change>,
    /// Those of an earlier setup, while this one takes them back.
    leaving: Vec<Change>,
    is_complete: bool,
}

/// A change that was not taken back, or not whole.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) path: PathBuf,
    /// None where the user has changed it since.
    pub(super) error: Option<io::Error>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Made,
    Interrupted(Vec<Left>),
    Failed { failed: PathBuf, error: io::Error, left: Vec<Left> },
}

impl Journal {
    /// `earlier`: the setup that this one replaces.
    pub(super) fn new(changes: Vec<Change>, earlier: Option<&Journal>) -> Journal {
        let earlier = earlier.into_iter().flat_map(Journal::all);
        let stays = |change: &&Change| changes.iter().any(|new| new.path() == change.path());
        let leaving = earlier.filter(|change| !stays(change)).cloned().collect();
        Journal { version: VERSION, changes, leaving, is_complete: false }
    }

    /// None where setup has written nothing.
    pub(super) fn load(path: &Path) -> io::Result<Option<Journal>> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let value: Value = serde_json::from_slice(&bytes)?;
        match value.get("version").and_then(Value::as_u64) {
            Some(VERSION) => Ok(Some(serde_json::from_value(value)?)),
            Some(other) => {
                Err(io::Error::other(format!("it has version {other}, and this program knows {VERSION}")))
            }
            None => Err(io::Error::other("it has no version")),
        }
    }

    /// Every change that may be on disk.
    pub(super) fn all(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.leaving)
    }

    pub(super) fn change_of(&self, path: &Path) -> Option<&Change> {
        self.all().find(|change| change.path() == path)
    }

    /// Makes all changes in place of an earlier setup's. If the user asks it to end, or a change fails, all is as it was.
    pub(super) fn carry_out(
        mut self,
        path: &Path,
        earlier: Option<&Journal>,
        is_asked_to_end: impl Fn() -> bool,
    ) -> io::Result<Outcome> {
        self.store(path)?;
        let undone = |journal: &Journal| match earlier {
            None => journal.take_back(path),
            Some(earlier) => journal.give_way_to(earlier, path),
        };
        // A folder goes after what is in it.
        let steps = self.leaving.iter().rev().map(|change| (change, Step::TakeBack));
        for (change, step) in steps.chain(self.changes.iter().map(|change| (change, Step::Make))) {
            if is_asked_to_end() {
                return Ok(Outcome::Interrupted(undone(&self)));
            }
            let done = match step {
                Step::TakeBack => change.take_back().map(drop),
                Step::Make => change.make(),
            };
            if let Err(error) = done {
                return Ok(Outcome::Failed { failed: change.path().to_owned(), error, left: undone(&self) });
            }
        }
        self.leaving.clear();
        self.is_complete = true;
        self.store(path)?;
        Ok(Outcome::Made)
    }

    fn store(&self, path: &Path) -> io::Result<()> {
        disk::write_private(path, &serde_json::to_vec_pretty(self)?)
    }

    /// The earlier setup is there again.
    fn give_way_to(&self, earlier: &Journal, path: &Path) -> Vec<Left> {
        let is_new = |change: &&Change| earlier.change_of(change.path()).is_none();
        let mut left = taken_back(self.changes.iter().rev().filter(is_new));
        for change in &earlier.changes {
            if let Err(error) = change.make() {
                left.push(Left { path: change.path().to_owned(), error: Some(error) });
            }
        }
        if let Err(error) = earlier.store(path) {
            left.push(Left { path: path.to_owned(), error: Some(error) });
        }
        left
    }

    /// What stays. The journal goes when all that can be taken back was.
    pub(super) fn take_back(&self, path: &Path) -> Vec<Left> {
        let (mut folders, files): (Vec<&Change>, Vec<&Change>) =
            self.all().partition(|change| matches!(change, Change::Folder { .. }));
        let mut left = taken_back(files.into_iter());
        if left.iter().all(|left| left.error.is_none())
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            left.push(Left { path: path.to_owned(), error: Some(error) });
        }
        // The journal's own folder is among them. Others may have put files there since.
        folders.sort_by_key(|change| std::cmp::Reverse(change.path().components().count()));
        for folder in folders {
            let _ = folder.take_back();
        }
        left
    }
}

#[derive(Clone, Copy)]
enum Step {
    TakeBack,
    Make,
}

fn taken_back<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Left> {
    let left = changes.filter_map(|change| {
        let error = match change.take_back() {
            Ok(TakenBack::Done | TakenBack::NotThere) => return None,
            Ok(TakenBack::ChangedSince) => None,
            Err(error) => Some(error),
        };
        Some(Left { path: change.path().to_owned(), error })
    });
    left.collect()
}

#[cfg(test)]
mod tests;
