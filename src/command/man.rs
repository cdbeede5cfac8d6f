//! `mlflow man`: one manual page for all commands of `codex-traced mlflow`.

use super::CommandError;
use crate::cli::Cli;
use crate::settings::variable_reference;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::io;

/// The page's name for `man`.
const NAME: &str = "codex-traced-mlflow";

const FILES: [(&str, &str); 9] = [
    (
        "$CODEX_HOME/mlflow_config.json",
        "the settings that enable and disable write; Codex's home is ~/.codex unless CODEX_HOME names another",
    ),
    ("$CODEX_HOME/mlflow/mlflow.db", "the traces, unless they go elsewhere"),
    ("$CODEX_HOME/mlflow/spool/", "traces that are not delivered yet"),
    ("$CODEX_HOME/mlflow/threads/", "which launches wrote a session, and how they ended"),
    ("$CODEX_HOME/mlflow/salt", "what makes the hashes of placeholders this machine's own"),
    ("$CODEX_HOME/mlflow/launches/", "notes of launches that run now, or died"),
    ("$CODEX_HOME/mlflow/codex_tracing.log", "what went wrong, if anything did"),
    (
        ".codex/mlflow_config.json",
        "in a project's folder: MLFLOW_CODEX_TRACING_ENABLED=false or CODEX_TRACED_CONTENT=metadata for what is done there, and nothing else",
    ),
    ("$CODEX_HOME/sessions/", "Codex's own session files, which are only read"),
];

const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "it is done; for doctor, all is well"),
    ("1", "it could not be done, and stderr says why; for doctor, there are warnings"),
    ("2", "it was called wrongly, or was given a value that is none; for doctor, there are errors"),
];

pub(super) fn run() -> Result<(), CommandError> {
    let page = page().map_err(|error| format!("cannot make the manual page: {error}"))?;
    super::print(&page);
    Ok(())
}

fn page() -> io::Result<String> {
    let mut command = Cli::command().name(NAME);
    command.build();
    let manual = format!("codex-traced {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(NAME.to_uppercase()).manual("codex-traced").source(manual);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let mut text = Roff::new();
    text.control("SH", ["SYNOPSIS"]);
    text.text([bold("codex-traced mlflow"), roman(" "), italic("command"), roman(" [options]")]);
    text.control("br", []);
    text.text([bold("codex-traced"), roman(" "), italic("words for codex")]);
    text.control("SH", ["DESCRIPTION"]);
    text.text([
        bold("codex-traced"),
        roman(" runs the real "),
        bold("codex"),
        roman(" and leaves an MLflow trace of every session that it wrote. The commands below say where traces go, show them, and find out what is wrong. All other words are Codex's: see "),
        bold("codex-traced --help"),
        roman(", which is Codex's own."),
    ]);
    text.control("SH", ["COMMANDS"]);
    text.to_writer(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        page.extend_from_slice(section(subcommand)?.as_bytes());
    }
    let mut text = Roff::new();
    listed(
        &mut text,
        "ENVIRONMENT",
        variable_reference::all()
            .map(|variable| (variable.name, sentence(variable.meaning, variable.default))),
    );
    listed(&mut text, "FILES", FILES.iter().map(|(name, meaning)| (*name, *meaning)));
    listed(&mut text, "EXIT STATUS", EXIT_STATUS.iter().map(|(name, meaning)| (*name, *meaning)));
    if let Some(examples) = command.get_after_help() {
        text.control("SH", ["EXAMPLES"]);
        verbatim(&mut text, examples.to_string().trim_start_matches("Examples:\n"));
    }
    text.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The help text of one command.
fn section(command: &Command) -> io::Result<String> {
    let mut text = Roff::new();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace(NAME, "codex-traced mlflow");
    text.control("SS", [usage.as_str()]);
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (index, paragraph) in about.split("\n\n").enumerate() {
        if index > 0 {
            text.control("PP", []);
        }
        text.text([roman(ended(paragraph))]);
    }
    let mut section = text.to_roff();
    if command.get_arguments().any(|argument| argument.get_id() != "help") {
        let mut options = Vec::new();
        let bare = command.clone().disable_help_flag(true).mut_arg("help", |argument| argument.hide(true));
        Man::new(bare).render_options_section(&mut options)?;
        // All commands share one page, so a command's options get no section heading.
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
        section.push_str(options.rsplit_once(".ft P\n").map_or(&options[..], |(_, rest)| rest));
    }
    if let Some(after) = command.get_after_help() {
        let mut text = Roff::new();
        text.control("PP", []);
        verbatim(&mut text, &after.to_string());
        section.push_str(&text.to_roff());
    }
    Ok(section)
}

/// Keeps the ends of lines.
fn verbatim(text: &mut Roff, block: &str) {
    text.control("nf", []);
    text.text([roman(block)]);
    text.control("fi", []);
}

fn listed<'a>(text: &mut Roff, heading: &str, rows: impl Iterator<Item = (&'a str, impl AsRef<str>)>) {
    text.control("SH", [heading]);
    for (name, meaning) in rows {
        text.control("TP", []);
        text.text([bold(name)]);
        text.text(marked(meaning.as_ref()));
    }
}

fn sentence(meaning: &str, default: &str) -> String {
    if default.is_empty() { meaning.to_owned() } else { format!("{meaning} (default: {default})") }
}

/// Text between backticks becomes bold.
fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { roman(part) } else { bold(part) }).collect()
}

fn ended(sentence: &str) -> String {
    if sentence.ends_with(['.', '`', '!', '?']) { sentence.to_owned() } else { format!("{sentence}.") }
}
