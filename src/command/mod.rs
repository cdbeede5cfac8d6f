//! The commands of `codex-traced mlflow …`.

mod completions;
mod config_edit;
mod disable;
mod doctor;
mod enable;
mod export;
mod follow;
mod forget;
mod further_target;
mod history_index;
mod import;
mod list;
mod man;
mod named_trace;
mod pager;
mod prices;
mod progress;
mod question;
mod recorded_change;
mod setup;
mod show;
mod status;
mod survey;
mod sync;
mod table;
mod text_layout;
mod trace_argument;
mod tree;
mod ui;
mod units;
mod usage;
mod watch;
mod watch_service;

use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::cli::{Cli, Command};
use crate::finish::context::Context;
use crate::tracer::tracer;
use clap::Parser;
use launch::exit::ChildExit;
use std::ffi::OsString;
use std::io::Write;

/// The error text for the user: what happened, then what to do.
type CommandError = String;

pub(crate) fn run(words: &[OsString], world: &World) -> ChildExit {
    let name = OsString::from("codex-traced mlflow");
    let cli = match Cli::try_parse_from(std::iter::once(&name).chain(words)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors in clap, which selects stdout or stderr.
            let _ = error.print();
            return ChildExit::Code(error.exit_code());
        }
    };
    let done = match cli.command {
        Command::Setup(setup) => setup::run(&setup, world),
        Command::Enable(enable) => enable::run(&enable, world),
        Command::Disable => disable::run(world).map(well),
        Command::Status(report) => status::run(&report, world).map(well),
        Command::Doctor(report) => doctor::run(&report, world),
        Command::Finish(finish) => Ok(finish_launch(&finish.launch, world)),
        Command::Forget(forget) => forget::run(&forget, world).map(well),
        Command::Show(show) if show.follow => follow::run(&show, world),
        Command::Show(show) => show::run(&show, world).map(well),
        Command::List(list) => list::run(&list, world).map(well),
        Command::Usage(usage) => usage::run(&usage, world),
        Command::Export(export) => export::run(&export, world).map(well),
        Command::Prices(prices) => prices::run(&prices, world).map(well),
        Command::Sync(sync) => sync::run(&sync, world).map(well),
        Command::Completions(completions) => completions::run(&completions).map(well),
        Command::Man => man::run().map(well),
        Command::Import(import) => import::run(&import, world),
        Command::TraceLatest => import::latest(world),
        Command::Watch(watch) if watch.install || watch.uninstall => watch_service::run(&watch, world),
        Command::Watch(_) => watch::run(world),
        Command::Ui(ui) => ui::run(&ui, world),
    };
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            crate::base::notice::print(&failure);
            ChildExit::Code(1)
        }
    }
}

/// Internal; started by the launcher.
fn finish_launch(launch: &str, world: &World) -> ChildExit {
    crate::base::log::take_panics();
    tracer(launch, world);
    ChildExit::Code(0)
}

fn well((): ()) -> ChildExit {
    ChildExit::Code(0)
}

fn context(world: &World) -> Result<Context<'_>, CommandError> {
    Ok(Context::new(world, &home(world)?))
}

fn home(world: &World) -> Result<CodexHome, CommandError> {
    CodexHome::from_world(world).ok_or_else(|| "there is no home folder\n  hint: set CODEX_HOME".to_owned())
}

/// One indented object, to stdout.
fn print_json(value: &impl serde::Serialize) {
    print(&json_text(value));
}

/// One indented object that is safe for a terminal, and a line feed.
fn json_text(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("values with text keys always serialize");
    format!("{}\n", common::printable::json(&text))
}

/// To stdout. Ignores a closed pipe (`| head`).
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
