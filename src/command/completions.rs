//! `mlflow completions`: a shell's completions of `codex-traced`. Those of `mlflow …` are generated; an appended hook
//! gets all others from Codex's own completion.

use super::CommandError;
use crate::cli::{Cli, Completions, Shell};
use clap::{Command, CommandFactory};
use clap_complete::{generate, shells};

const NAME: &str = "codex-traced";

pub(super) fn run(completions: &Completions) -> Result<(), CommandError> {
    super::print(&script(completions.shell));
    Ok(())
}

fn script(shell: Shell) -> String {
    let (generator, name, hook) = match shell {
        // For a name with a hyphen, clap_complete 4.6 defines nested commands under one name and looks them up under
        // another.
        Shell::Bash => (shells::Shell::Bash, "codex_traced", include_str!("hooks/hook.bash")),
        Shell::Zsh => (shells::Shell::Zsh, NAME, include_str!("hooks/hook.zsh")),
        Shell::Fish => (shells::Shell::Fish, NAME, include_str!("hooks/hook.fish")),
    };
    let mut script = Vec::new();
    generate(generator, &mut command().name(name), name, &mut script);
    String::from_utf8_lossy(&script).into_owned() + hook
}

/// The program as a shell sees it: the command `mlflow`, and arguments that belong to Codex.
fn command() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let ours = Command::new("mlflow")
        .about(all.get_about().cloned().unwrap_or_default())
        .disable_help_subcommand(true)
        .subcommands(shown);
    Command::new(NAME).disable_help_subcommand(true).subcommand(ours)
}
