//! Our own commands: `codex-traced mlflow …`.

mod finish;
mod import;
mod named;
mod queue;
mod show;
mod sync;
pub mod tree;
mod ui;
mod watch;

use crate::cli::{Cli, Command};
use crate::env::World;
use crate::launch::exit::ChildExit;
use clap::Parser;
use std::ffi::OsString;
use std::io::Write;

/// What went wrong, as the person reads it: what happened, then what to do.
type Failure = String;

pub(crate) fn run(words: &[OsString], world: &World) -> ChildExit {
    let name = OsString::from("codex-traced mlflow");
    let cli = match Cli::try_parse_from(std::iter::once(&name).chain(words)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap; it knows where each is printed.
            let _ = error.print();
            return ChildExit::Code(error.exit_code());
        }
    };
    let well = |()| ChildExit::Code(0);
    let done = match cli.command {
        Command::Show(show) => show::run(&show, world).map(well),
        Command::Finish(finish) => finish::run(&finish, world).map(well),
        Command::Sync(sync) => sync::run(&sync, world).map(well),
        Command::Import(import) => import::run(&import, world),
        Command::Ui(ui) => ui::run(&ui, world),
        Command::Watch => watch::run(world),
        Command::TraceLatest => import::latest(world),
    };
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            crate::notice::tell(&failure);
            ChildExit::Code(1)
        }
    }
}

/// To stdout. Whoever reads us may have seen enough (`| head`), which is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
