//! The journal, with a setup that is interrupted, killed, or fails at every step.

use super::*;
use crate::command::setup::block;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

/// A shim, and lines in a startup file whose last line has no newline.
fn first(home: &Path) -> Vec<Change> {
    let file = home.join("bin/codex");
    let mut changes = Change::missing_folders(&file);
    changes.push(Change::File { path: file, mode: 0o755, text: "#!/bin/sh\n".to_owned(), replaces: None });
    changes.push(lines(home, "one"));
    changes
}

/// The same lines with another text, and a file elsewhere.
fn second(home: &Path) -> Vec<Change> {
    let path = home.join("other");
    let file = Change::File { path, mode: 0o644, text: "new".to_owned(), replaces: None };
    vec![lines(home, "two"), file]
}

fn lines(home: &Path, code: &str) -> Change {
    let block = block::of(&format!("{code}\n"));
    Change::Lines { path: home.join(".bashrc"), is_new: false, had_no_newline: true, block }
}

struct Machine {
    home: tempfile::TempDir,
    /// The user's own files.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Machine {
    fn new() -> Machine {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".bashrc"), "PS1=x").unwrap();
        let mut machine = Machine { home, before: BTreeMap::new() };
        machine.before = machine.files();
        machine
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn journal(&self) -> PathBuf {
        self.path().join("setup.json")
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in disk::entries(&folder) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
                found.insert(entry.path(), fs::read(entry.path()).unwrap_or_default());
            }
        }
        found
    }

    /// Asked to end at this step.
    fn run(&self, changes: Vec<Change>, at: usize) -> Outcome {
        let earlier = Journal::load(&self.journal()).unwrap();
        let left = Cell::new(at);
        let is_asked = || left.replace(left.get().wrapping_sub(1)) == 0;
        let journal = Journal::new(changes, earlier.as_ref());
        journal.carry_out(&self.journal(), earlier.as_ref(), is_asked).unwrap()
    }
}

const NEVER: usize = 1000;

#[test]
fn asked_to_end_at_any_step_all_is_as_it_was() {
    for at in 0..3 {
        let machine = Machine::new();
        let outcome = machine.run(first(machine.path()), at);
        assert!(matches!(outcome, Outcome::Interrupted(left) if left.is_empty()));
        assert_eq!(machine.files(), machine.before, "at {at}");
    }
    for at in 0..4 {
        let machine = Machine::new();
        assert!(matches!(machine.run(first(machine.path()), NEVER), Outcome::Made));
        let after_first = machine.files();
        let outcome = machine.run(second(machine.path()), at);
        assert!(matches!(outcome, Outcome::Interrupted(left) if left.is_empty()));
        assert_eq!(machine.files(), after_first, "the second, at {at}");
    }
}

#[test]
fn what_was_killed_after_any_step_is_taken_back() {
    for made in 0..=3 {
        let machine = Machine::new();
        let begun = Journal::new(first(machine.path()), None);
        begun.store(&machine.journal()).unwrap();
        begun.changes[..made].iter().for_each(|change| change.make().unwrap());
        let found = Journal::load(&machine.journal()).unwrap().unwrap();
        assert_eq!((found.take_back(&machine.journal()).len(), machine.files()), (0, machine.before.clone()));
    }
    // While it replaced another.
    for done in 0..=4 {
        let machine = Machine::new();
        assert!(matches!(machine.run(first(machine.path()), NEVER), Outcome::Made));
        let earlier = Journal::load(&machine.journal()).unwrap().unwrap();
        let begun = Journal::new(second(machine.path()), Some(&earlier));
        begun.store(&machine.journal()).unwrap();
        begun.leaving.iter().rev().take(done).for_each(|change| _ = change.take_back().unwrap());
        begun
            .changes
            .iter()
            .take(done.saturating_sub(begun.leaving.len()))
            .for_each(|change| change.make().unwrap());
        let found = Journal::load(&machine.journal()).unwrap().unwrap();
        assert_eq!((found.take_back(&machine.journal()).len(), machine.files()), (0, machine.before.clone()));
    }
}

#[test]
fn after_a_failure_all_is_as_it_was() {
    for has_earlier in [false, true] {
        let machine = Machine::new();
        if has_earlier {
            assert!(matches!(machine.run(first(machine.path()), NEVER), Outcome::Made));
        }
        let before = machine.files();
        let mut changes = second(machine.path());
        let path = machine.path().join("missing/file");
        changes.push(Change::File { path, mode: 0o644, text: String::new(), replaces: None });
        let Outcome::Failed { failed, left, .. } = machine.run(changes, NEVER) else { panic!("it fails") };
        assert_eq!((failed, left.len()), (machine.path().join("missing/file"), 0));
        assert_eq!(machine.files(), before, "{has_earlier}");
    }
}

#[test]
fn the_second_replaces_the_first_and_undo_takes_back_both() {
    let machine = Machine::new();
    assert!(matches!(machine.run(first(machine.path()), NEVER), Outcome::Made));
    assert!(matches!(machine.run(second(machine.path()), NEVER), Outcome::Made));
    let startup = fs::read_to_string(machine.path().join(".bashrc")).unwrap();
    assert!(startup.contains("two\n") && !startup.contains("one\n"), "{startup}");
    assert!(machine.path().join("other").exists() && !machine.path().join("bin").exists());
    let journal = Journal::load(&machine.journal()).unwrap().unwrap();
    assert!(journal.is_complete && journal.leaving.is_empty());
    assert_eq!((journal.take_back(&machine.journal()).len(), machine.files()), (0, machine.before));
}

#[test]
fn a_file_that_the_user_changed_stays_and_the_journal_goes() {
    let machine = Machine::new();
    assert!(matches!(machine.run(first(machine.path()), NEVER), Outcome::Made));
    fs::write(machine.path().join("bin/codex"), "mine").unwrap();
    let left = Journal::load(&machine.journal()).unwrap().unwrap().take_back(&machine.journal());
    let paths: Vec<_> = left.iter().map(|left| left.path.clone()).collect();
    assert_eq!(paths, [machine.path().join("bin/codex")]);
    assert!(Journal::load(&machine.journal()).unwrap().is_none());
}

#[test]
fn a_journal_of_another_version_is_named() {
    let machine = Machine::new();
    fs::write(machine.journal(), r#"{"version": 2}"#).unwrap();
    assert!(Journal::load(&machine.journal()).unwrap_err().to_string().contains("version 2"));
}
