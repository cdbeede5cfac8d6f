//! `mlflow setup`: three questions, then all that a user needs is written; `--undo` takes it back.

mod answers;
mod block;
mod change;
mod codex_word;
mod journal;
mod settings;
mod user_shell;

use super::text_layout::wrap;
use super::{CommandError, doctor, print};
use crate::base::paths::{CodexHome, Paths};
use crate::base::world::World;
use crate::cli::{CodexWord, Report, Setup};
use crate::command::enable::Changed;
use answers::Answers;
use change::{Before, Change};
use codex_word::ShimPlace;
use common::disk;
use common::printable::{clean, masked_with_queries};
use common::variables::Variables;
use journal::{Journal, Left, Outcome};
use launch::exit::ChildExit;
use launch::signals::SignalPipe;
use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// As shells report a program that Ctrl-C ended.
const INTERRUPTED: ChildExit = ChildExit::Code(130);

/// The worst end of `doctor`: traces are not made.
const BROKEN: ChildExit = ChildExit::Code(2);

/// The user's own text stays.
const NOT_ALL: ChildExit = ChildExit::Code(1);

/// A longer file is shown by its first lines.
const MOST_LINES: usize = 20;
const FIRST_LINES: usize = 2;

pub(super) fn run(setup: &Setup, world: &World) -> Result<ChildExit, CommandError> {
    let home = super::home(world)?;
    let path = Paths::new(&home).setup();
    if setup.undo {
        return undo(&home, &path);
    }
    if load(&path)?.is_some() && !setup.dry_run {
        print("An earlier setup is here; this one replaces it.\n\n");
    }
    let Some(answers) = Answers::gather(setup, world)? else {
        print("Nothing was written.\n");
        return Ok(NOT_ALL);
    };
    // Read after the answers: another process may have changed the files since the questions.
    let earlier = load(&path)?;
    let settings = answers.settings(world)?;
    let changes = planned(&answers, &settings, earlier.as_ref(), world)?;
    print(&plan(&changes));
    if let Some(moved) = settings.moved() {
        print(&format!("{}\n\n", wrap(&moved, 0)));
    }
    if setup.dry_run {
        print("Nothing was written: --dry-run.\n");
        return Ok(ChildExit::Code(0));
    }
    if let Some(interrupted) = write(changes, earlier.as_ref(), &path)? {
        return Ok(interrupted);
    }
    print(&next(&answers, &settings));
    let report = doctor::run(&Report { json: false }, &in_a_new_shell(&answers, world))?;
    Ok(if report == BROKEN { BROKEN } else { ChildExit::Code(0) })
}

fn load(path: &Path) -> Result<Option<Journal>, CommandError> {
    Journal::load(path).map_err(|error| {
        let path = clean(path.display());
        format!("cannot read {path}: {error}\n  hint: look at the file; setup notes in it what it wrote")
    })
}

/// All changes, in their order. A folder that two of them need comes once.
fn planned(
    answers: &Answers,
    settings: &Changed,
    earlier: Option<&Journal>,
    world: &World,
) -> Result<Vec<Change>, CommandError> {
    let word = codex_word::changes(answers.word, world, earlier).map_err(|refused| {
        format!(
            "{refused}\n  hint: nothing was written; choose another way for `codex` (--codex function, shim, nothing)"
        )
    })?;
    let journal = Paths::new(&settings.edit.home).setup();
    let mut changes: Vec<Change> = Vec::new();
    let folders = Change::missing_folders(&journal);
    for change in folders.into_iter().chain(configuration(settings, earlier)?).chain(word) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    // The folders of an earlier setup go with its undo.
    let folders =
        earlier.into_iter().flat_map(Journal::all).filter(|change| matches!(change, Change::Folder { .. }));
    let paths: Vec<&Path> = changes.iter().map(Change::path).chain([&*journal]).collect();
    let needed = folders.filter(|folder| paths.iter().any(|path| path.starts_with(folder.path())));
    let needed: Vec<Change> = needed.cloned().collect();
    changes.splice(0..0, needed);
    Ok(changes)
}

/// The configuration file as it becomes.
fn configuration(settings: &Changed, earlier: Option<&Journal>) -> Result<Vec<Change>, CommandError> {
    let edit = &settings.edit;
    let path = disk::followed(&edit.home.config());
    let broken = |why: String| format!("{} {why}\n  hint: mend or remove it first", clean(path.display()));
    if edit.is_broken {
        return Err(broken("is not valid".to_owned()));
    }
    let before = match earlier.and_then(|journal| journal.change_of(&path)) {
        Some(Change::Settings { before, .. }) => before.clone(),
        _ => {
            let bytes = change::read(&path).map_err(|error| broken(disk::reason(&error)))?;
            let text = bytes.map(String::from_utf8).transpose().map_err(|error| broken(error.to_string()))?;
            text.map(|text| Before { text, mode: change::mode(&path).unwrap_or(0o600) })
        }
    };
    let mut changes = Change::missing_folders(&path);
    changes.push(Change::Settings { path, before, text: edit.file.written() });
    Ok(changes)
}

/// None when everything was written.
fn write(
    changes: Vec<Change>,
    earlier: Option<&Journal>,
    path: &Path,
) -> Result<Option<ChildExit>, CommandError> {
    let signals = SignalPipe::with_ending_signals().ok();
    let is_asked_to_end = || signals.as_ref().is_some_and(SignalPipe::is_asked_to_end);
    let outcome = Journal::new(changes, earlier).carry_out(path, earlier, is_asked_to_end);
    match outcome.map_err(|error| failed(path, &error, ""))? {
        Outcome::Made => Ok(None),
        Outcome::Interrupted(left) => {
            report_left(&left)?;
            print("Interrupted: all is as it was.\n");
            Ok(Some(INTERRUPTED))
        }
        Outcome::Failed { failed: at, error, left } => {
            report_left(&left)?;
            Err(failed(&at, &error, "; all is as it was"))
        }
    }
}

fn undo(home: &CodexHome, path: &Path) -> Result<ChildExit, CommandError> {
    let Some(journal) = load(path)? else {
        let home = clean(home.path().display());
        print(&format!("There is nothing to undo: setup has written nothing for the Codex home {home}.\n"));
        return Ok(ChildExit::Code(0));
    };
    let left = journal.take_back(path);
    report_left(&left)?;
    let mut page = "Taken back:\n".to_owned();
    for change in journal.all() {
        let stays = left.iter().any(|left| left.path == change.path());
        if !stays && !matches!(change, Change::Folder { .. }) {
            let _ = writeln!(page, "  {}", clean(change.path().display()));
        }
    }
    page.push_str(
        "Traces stay where they are. Shells that are open may know the word `codex` until they end.\n",
    );
    print(&page);
    Ok(if left.is_empty() { ChildExit::Code(0) } else { NOT_ALL })
}

/// Names the files that stay because the user changed them. An error for those that cannot be written.
fn report_left(left: &[Left]) -> Result<(), CommandError> {
    for one in left {
        match &one.error {
            Some(error) => return Err(failed(&one.path, error, "")),
            None => {
                let text = format!(
                    "{} was changed since setup wrote it; look what of setup is left in it.",
                    clean(one.path.display())
                );
                print(&format!("{}\n", wrap(&text, 0)));
            }
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error, state: &str) -> CommandError {
    format!(
        "cannot write {}: {}{state}\n  hint: look at its permissions, and at the disk (`df -h`)",
        clean(path.display()),
        disk::reason(error)
    )
}

/// What will be written, for the user to read.
fn plan(changes: &[Change]) -> String {
    let mut page = "Setup writes:\n".to_owned();
    for change in changes {
        let (what, text) = match change {
            Change::Folder { .. } => continue,
            Change::Lines { block, .. } => ("at its end", block),
            Change::File { text, .. } => ("new", text),
            Change::Settings { before: None, text, .. } => ("new", text),
            Change::Settings { text, .. } => ("which becomes", text),
        };
        let _ = writeln!(page, "\n{}, {what}:", clean(change.path().display()));
        let (count, shown) = (text.lines().count(), masked_with_queries(text));
        // The shim is long, and the same everywhere.
        let limit = if count > MOST_LINES { FIRST_LINES } else { count };
        shown.lines().take(limit).for_each(|line| _ = writeln!(page, "  {}", clean(line)));
        if limit < count {
            let _ = writeln!(page, "  … and {} lines more", count - limit);
        }
    }
    page.push('\n');
    page
}

fn next(answers: &Answers, settings: &Changed) -> String {
    let (begin, codex) = match answers.word {
        CodexWord::Nothing => ("Next:", "codex-traced"),
        CodexWord::Function | CodexWord::Shim => ("Open a new shell:", "codex"),
    };
    let look = if settings.is_remote() { "ui` opens" } else { "show` prints" };
    format!(
        "Written. `codex-traced mlflow setup --undo` takes it back.\n\
         {begin} `{codex} exec \"…\"` leaves a trace;\n`codex-traced mlflow {look} it.\n\n"
    )
}

/// With the folder of the shim on PATH, which this process does not have yet.
fn in_a_new_shell(answers: &Answers, world: &World) -> World {
    let mut world = world.clone();
    let place = ShimPlace::from_world(&world).filter(|_| answers.word == CodexWord::Shim);
    if let Some(ShimPlace::Own(folder)) = place {
        let path = world.variables.os("PATH").unwrap_or_default();
        let all = [folder.into_os_string(), OsString::from(path)].join(OsString::from(":").as_os_str());
        if let Some(all) = all.to_str() {
            world.variables = Variables::from([("PATH", all)]).or(&world.variables);
        }
    }
    world
}
