//! What setup changed, noted before it changes anything, so that `--undo` can take back also what was interrupted.

use super::change::{Change, TakenBack};
use common::disk;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The version of the file.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// In the order in which they are made.
    changes: Vec<Change>,
    is_complete: bool,
}

/// A change that was not taken back.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) path: PathBuf,
    /// None where the user has changed it since.
    pub(super) error: Option<io::Error>,
}

impl Journal {
    pub(super) fn new(changes: Vec<Change>) -> Journal {
        Journal { version: VERSION, changes, is_complete: false }
    }

    /// None where setup has written nothing.
    pub(super) fn read(path: &Path) -> io::Result<Option<Journal>> {
        let Some(bytes) = super::change::read(path)? else { return Ok(None) };
        let journal: Journal = serde_json::from_slice(&bytes)?;
        match journal.version {
            VERSION => Ok(Some(journal)),
            other => {
                Err(io::Error::other(format!("it has version {other}, and this program knows {VERSION}")))
            }
        }
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Makes all changes, unless the user asks it to end: then it takes back what it has made.
    pub(super) fn carry_out(
        mut self,
        path: &Path,
        is_asked_to_end: impl Fn() -> bool,
    ) -> io::Result<Outcome> {
        self.store(path)?;
        for change in &self.changes {
            if is_asked_to_end() {
                return Ok(Outcome::Interrupted(self.take_back(path)));
            }
            if let Err(error) = change.make() {
                let failed = change.path().to_owned();
                return Ok(Outcome::Failed { failed, error, left: self.take_back(path) });
            }
        }
        self.is_complete = true;
        self.store(path)?;
        Ok(Outcome::Made)
    }

    fn store(&self, path: &Path) -> io::Result<()> {
        disk::write_private(path, &serde_json::to_vec_pretty(self)?)
    }

    /// What stays. The journal goes when all that can be taken back was.
    pub(super) fn take_back(&self, path: &Path) -> Vec<Left> {
        let folder = |change: &&Change| matches!(change, Change::Folder { .. });
        let mut left = Vec::new();
        for change in self.changes.iter().rev().filter(|change| !folder(change)) {
            let error = match change.take_back() {
                Ok(TakenBack::Done | TakenBack::NotThere) => continue,
                Ok(TakenBack::ChangedSince) => None,
                Err(error) => Some(error),
            };
            left.push(Left { path: change.path().to_owned(), error });
        }
        if left.iter().all(|left| left.error.is_none())
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            left.push(Left { path: path.to_owned(), error: Some(error) });
        }
        // The journal's own folder is among them. Others may have put files there since.
        for change in self.changes.iter().rev().filter(folder) {
            let _ = change.take_back();
        }
        left
    }
}

#[derive(Debug)]
pub(super) enum Outcome {
    Made,
    Interrupted(Vec<Left>),
    Failed { failed: PathBuf, error: io::Error, left: Vec<Left> },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::fs;

    fn journal(folder: &Path) -> Journal {
        let file = folder.join("bin/codex");
        let mut changes = Change::missing_folders(&file);
        changes.push(Change::File { path: file, mode: 0o755, before: None, text: "#!/bin/sh\n".to_owned() });
        changes.push(Change::with_lines(folder.join(".bashrc"), "codex() { :; }\n").unwrap());
        Journal::new(changes)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            disk::entries(folder).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn asked_to_end_after_any_change_nothing_stays() {
        for after in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("setup.json");
            let left = Cell::new(after);
            let is_asked = || left.replace(left.get() - 1) == 0;
            let outcome = journal(folder.path()).carry_out(&path, is_asked).unwrap();
            assert!(matches!(outcome, Outcome::Interrupted(left) if left.is_empty()));
            assert_eq!(names(folder.path()), [""; 0], "after {after} changes");
        }
    }

    #[test]
    fn what_was_killed_after_any_change_is_taken_back_by_the_next() {
        for made in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("setup.json");
            let begun = journal(folder.path());
            begun.store(&path).unwrap();
            begun.changes()[..made].iter().for_each(|change| change.make().unwrap());
            let found = Journal::read(&path).unwrap().unwrap();
            assert!(!found.is_complete());
            assert_eq!(found.take_back(&path).len(), 0);
            assert_eq!(names(folder.path()), [""; 0], "after {made} changes");
        }
    }

    #[test]
    fn a_failure_takes_back_what_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setup.json");
        fs::create_dir(folder.path().join(".bashrc")).unwrap();
        let mut begun = journal(&folder.path().join("missing"));
        begun.changes.push(Change::Lines { path: folder.path().join(".bashrc"), text: "x".to_owned() });
        begun.changes.insert(0, Change::Folder { path: folder.path().join("missing") });
        let outcome = begun.carry_out(&path, || false).unwrap();
        assert!(
            matches!(outcome, Outcome::Failed { left, .. } if left.len() == 1),
            "the folder cannot be read"
        );
        assert_eq!(names(folder.path()), [".bashrc", "setup.json"]);
    }

    #[test]
    fn a_file_that_the_user_changed_stays_and_the_journal_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setup.json");
        assert!(matches!(journal(folder.path()).carry_out(&path, || false).unwrap(), Outcome::Made));
        assert!(Journal::read(&path).unwrap().unwrap().is_complete());
        fs::write(folder.path().join("bin/codex"), "mine").unwrap();
        let left = Journal::read(&path).unwrap().unwrap().take_back(&path);
        assert_eq!(
            left.iter().map(|left| &left.path).collect::<Vec<_>>(),
            [&folder.path().join("bin/codex")]
        );
        assert_eq!(names(folder.path()), ["bin"]);
        assert!(Journal::read(&path).unwrap().is_none());
    }
}
