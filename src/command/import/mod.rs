//! `mlflow import` and `mlflow trace-latest`: trace sessions that ran without codex-traced.

mod known;
mod outcome;
mod report;
mod room;
mod select;
mod work;

use super::progress::{FEW, Progress};
use super::{CommandError, context, print};
use crate::base::notice;
use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::claim::launch_record::Destination;
use crate::cli::Import;
use crate::finish::imported::Toward;
use crate::history::time_range::TimeRange;
use crate::queue::target_state::ask;
use crate::queue::thread_history::taken_by;
use crate::settings::Settings;
use known::KnownSessions;
use launch::exit::ChildExit;
use nix::libc::SIGINT;
use outcome::ImportOutcome;
use select::Selection;
use std::time::Duration;
use work::ImportRun;

pub(super) fn run(import: &Import, world: &World) -> Result<ChildExit, CommandError> {
    begin(import, world, |home, settings| {
        if import.what.is_empty() {
            return Ok(select::all(home, settings));
        }
        select::named(&import.what, home, settings, world.cwd.as_deref())
    })
}

pub(super) fn latest(world: &World) -> Result<ChildExit, CommandError> {
    begin(&Import::default(), world, |home, settings| Ok(select::latest(home, settings)))
}

fn begin(
    import: &Import,
    world: &World,
    select: impl FnOnce(&CodexHome, &Settings) -> Result<Selection, CommandError>,
) -> Result<ChildExit, CommandError> {
    let since = TimeRange::from_options(import.since.as_deref(), None)?.since;
    let context = context(world)?;
    let (home, settings) = (context.home(), context.settings());
    crate::base::log::begin(context.paths.log());
    let mut selection = select(home, settings)?;
    if selection.threads.is_empty() && selection.unreadable.is_empty() && selection.orphans == 0 {
        return Err(nothing_there(home, settings));
    }
    // First of all, the user must know when traces go elsewhere than asked.
    settings.problems.iter().chain(context.price_problems()).for_each(|problem| notice::print(problem));
    if let Some(since) = since {
        selection.written_since(since);
    }
    let destination = Destination::from_settings(settings);
    let threads = selection.threads.iter().filter_map(|files| Some(&files.first()?.thread));
    let taken = threads.flat_map(|thread| taken_by(settings.roles(), thread, &context.paths));
    let mut answers = ask(taken, world);
    answers.is_all_wanted = import.again;
    let is_for_known = import.since.is_none() && !import.dry_run && selection.threads.len() > FEW;
    let known = is_for_known.then(|| KnownSessions::load(&context, &selection.subagents)).flatten();
    let mut run = ImportRun {
        context: &context,
        toward: Toward {
            further: &context.settings().further,
            destination: &destination,
            granularity: settings.granularity.value,
            answers: &answers,
        },
        subagents: &selection.subagents,
        known,
        since,
        is_dry_run: import.dry_run,
    };
    let progress = Progress::choose(world, selection.threads.len(), Duration::ZERO);
    let outcomes = run.run(&selection.threads, || progress.one_more());
    drop(progress);
    if let Some(known) = run.known.take() {
        known.update(&selection.threads, &outcomes, import.what.is_empty());
    }
    let (text, is_well) = report::render(&outcomes, &selection, import.dry_run);
    print(&text);
    Ok(match is_well {
        // Ends as by Ctrl-C, so that a calling script stops too.
        _ if outcomes.contains(&ImportOutcome::NotReached) => ChildExit::Signal(SIGINT),
        true => ChildExit::Code(0),
        false => ChildExit::Code(1),
    })
}

fn nothing_there(home: &CodexHome, settings: &Settings) -> CommandError {
    let mut looked = vec![home.sessions(), settings.sessions_dir.value.clone()];
    looked.dedup();
    let looked: Vec<String> = looked.iter().map(|folder| folder.display().to_string()).collect();
    format!(
        "No session files found in {}\n  hint: is CODEX_HOME the home that Codex writes to? has a Codex with this home been asked anything? are its \
         sessions elsewhere (name the folder, or set `sessions_dir` in {})?",
        looked.join(" and "),
        home.config().display()
    )
}
