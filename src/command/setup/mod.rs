//! `mlflow setup`: three questions, then all that a user needs is written; `--undo` takes it back.

mod answers;
mod change;
mod codex_word;
mod journal;

use super::text_layout::wrap;
use super::{CommandError, doctor, print};
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::cli::{CodexWord, Report, Setup};
use answers::Answers;
use change::Change;
use common::disk;
use common::printable::{clean, masked_with_queries};
use journal::{Journal, Left, Outcome};
use launch::exit::ChildExit;
use launch::signals::SignalPipe;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// As shells report a program that Ctrl-C ended.
const INTERRUPTED: ChildExit = ChildExit::Code(130);

/// A longer file is shown by its first lines.
const MOST_LINES: usize = 20;
const FIRST_LINES: usize = 2;

/// The worst end of `doctor`: traces are not made.
const BROKEN: ChildExit = ChildExit::Code(2);

pub(super) fn run(setup: &Setup, world: &World) -> Result<ChildExit, CommandError> {
    let path = Paths::new(&super::home(world)?).setup();
    let before = Journal::read(&path).map_err(|error| {
        let path = clean(path.display());
        format!("cannot read {path}: {error}\n  hint: look at the file; setup notes in it what it wrote")
    })?;
    if setup.undo {
        return undo(before.as_ref(), &path);
    }
    if let Some(journal) = &before {
        let what = if journal.is_complete() { "is replaced" } else { "was interrupted; it is taken back" };
        print(&format!("The setup of before {what} when you have answered.\n\n"));
    }
    let Some(answers) = Answers::gather(setup, world)? else {
        print("Nothing was written.\n");
        return Ok(ChildExit::Code(1));
    };
    // What cannot be written is refused before anything is taken back.
    let mut changes = planned(&answers, &path, world)?;
    if let Some(journal) = before.filter(|_| !setup.dry_run) {
        report_left(&journal.take_back(&path))?;
        changes = planned(&answers, &path, world)?;
    }
    print(&plan(&changes));
    if setup.dry_run {
        print("Nothing was written: --dry-run.\n");
        return Ok(ChildExit::Code(0));
    }
    if let Some(interrupted) = write(changes, &path)? {
        return Ok(interrupted);
    }
    print(&next(&answers));
    let report = doctor::run(&Report { json: false }, world)?;
    Ok(if report == BROKEN { BROKEN } else { ChildExit::Code(0) })
}

/// All changes, in their order. A folder that two of them need comes once.
fn planned(answers: &Answers, journal: &Path, world: &World) -> Result<Vec<Change>, CommandError> {
    let mut changes = Change::missing_folders(journal);
    let config = answers.config()?;
    let word = codex_word::changes(answers.word, world).map_err(|refused| {
        format!("nothing was written: {refused}\n  hint: choose another way for `codex` (--codex function, shim, nothing)")
    })?;
    for change in config.into_iter().chain(word) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    Ok(changes)
}

/// None when everything was written.
fn write(changes: Vec<Change>, path: &Path) -> Result<Option<ChildExit>, CommandError> {
    let signals = SignalPipe::with_ending_signals().ok();
    let is_asked_to_end = || signals.as_ref().is_some_and(SignalPipe::is_asked_to_end);
    let outcome = Journal::new(changes).carry_out(path, is_asked_to_end);
    match outcome.map_err(|error| failed(path, &error))? {
        Outcome::Made => Ok(None),
        Outcome::Interrupted(left) => {
            report_left(&left)?;
            print("Interrupted: nothing was written.\n");
            Ok(Some(INTERRUPTED))
        }
        Outcome::Failed { failed: at, error, left } => {
            report_left(&left)?;
            Err(format!("{}; nothing was written", failed(&at, &error)))
        }
    }
}

fn undo(journal: Option<&Journal>, path: &Path) -> Result<ChildExit, CommandError> {
    let Some(journal) = journal else {
        print("There is nothing to undo: setup has written nothing here.\n");
        return Ok(ChildExit::Code(0));
    };
    let left = journal.take_back(path);
    report_left(&left)?;
    let mut page = "Taken back:\n".to_owned();
    for change in journal.changes() {
        let stays = left.iter().any(|left| left.path == change.path());
        if !stays && !matches!(change, Change::Folder { .. }) {
            let _ = writeln!(page, "  {}", clean(change.path().display()));
        }
    }
    page.push_str("Traces stay where they are. Shells that are open keep the function until they end.\n");
    print(&page);
    Ok(ChildExit::Code(0))
}

/// Names the files that stay because the user changed them. An error for those that cannot be written.
fn report_left(left: &[Left]) -> Result<(), CommandError> {
    for one in left {
        match &one.error {
            Some(error) => return Err(failed(&one.path, error)),
            None => {
                let text = format!(
                    "{} was changed since setup wrote it, and stays: remove from it what you do not want.",
                    clean(one.path.display())
                );
                print(&format!("{}\n", wrap(&text, 0)));
            }
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> CommandError {
    format!(
        "cannot write {}: {}\n  hint: look at its permissions, and at the disk (`df -h`)",
        clean(path.display()),
        disk::reason(error)
    )
}

/// What will be written, for the user to read.
fn plan(changes: &[Change]) -> String {
    let mut page = "Setup writes:\n".to_owned();
    for change in changes {
        let path = clean(change.path().display());
        match change {
            Change::Folder { .. } => {}
            Change::Lines { text, .. } => {
                let _ = writeln!(page, "\n{path}, at its end:");
                text.trim_matches('\n').lines().for_each(|line| _ = writeln!(page, "  {}", clean(line)));
            }
            Change::File { text, before, .. } => {
                let what = if before.is_some() { "which becomes" } else { "new" };
                let _ = writeln!(page, "\n{path}, {what}:");
                let (count, shown) = (text.lines().count(), masked_with_queries(text));
                // The shim is long, and the same everywhere.
                let limit = if count > MOST_LINES { FIRST_LINES } else { count };
                shown.lines().take(limit).for_each(|line| _ = writeln!(page, "  {}", clean(line)));
                if limit < count {
                    let _ = writeln!(page, "  … and {} lines more", count - limit);
                }
            }
        }
    }
    page.push('\n');
    page
}

fn next(answers: &Answers) -> String {
    let (begin, codex) = match answers.word {
        CodexWord::Nothing => ("Next:", "codex-traced"),
        CodexWord::Function | CodexWord::Shim => ("Open a new shell:", "codex"),
    };
    format!(
        "Written. `codex-traced mlflow setup --undo` takes it back.\n\
         {begin} `{codex} exec \"…\"` leaves a trace;\n`codex-traced mlflow show` prints it.\n\n"
    )
}
