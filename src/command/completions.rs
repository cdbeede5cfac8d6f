//! `mlflow completions`: completions of `codex-traced` for a shell. Ours are generated; a hook behind them asks
//! Codex for its own.

use super::Failure;
use crate::cli::{Cli, Completions, Shell};
use clap::{Command, CommandFactory};
use clap_complete::generate;
use clap_complete::shells;

const NAME: &str = "codex-traced";

pub(super) fn run(completions: &Completions) -> Result<(), Failure> {
    super::print(&script(completions.shell));
    Ok(())
}

fn script(shell: Shell) -> String {
    let mut command = command();
    let mut script = Vec::new();
    let hook = match shell {
        Shell::Bash => {
            generate(shells::Bash, &mut command, NAME, &mut script);
            include_str!("hooks/hook.bash")
        }
        Shell::Zsh => {
            generate(shells::Zsh, &mut command, NAME, &mut script);
            include_str!("hooks/hook.zsh")
        }
        Shell::Fish => {
            generate(shells::Fish, &mut command, NAME, &mut script);
            include_str!("hooks/hook.fish")
        }
    };
    String::from_utf8_lossy(&script).into_owned() + hook
}

/// The program as a shell sees it: the word `mlflow`, and all other words, which are Codex's.
fn command() -> Command {
    let ours = Cli::command().name("mlflow");
    Command::new(NAME).disable_help_flag(true).disable_help_subcommand(true).subcommand(ours)
}
