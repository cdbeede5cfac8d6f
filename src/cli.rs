//! Our own commands, as they are typed: `codex-traced mlflow …`. All other words are Codex's.

use clap::{ArgGroup, Args, Parser, Subcommand};
use std::ffi::OsString;

/// Ours alone: nobody types it.
pub const FINISH: &str = "finish";

#[derive(Debug, Parser)]
#[command(
    name = "codex-traced mlflow",
    bin_name = "codex-traced mlflow",
    version,
    about = "MLflow traces of your Codex sessions",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a trace as a tree: what was asked, what the model said, what its tools did
    Show(Show),
    /// Deliver what waits on disk, and finish the work of launches that died
    Sync(Sync),
    /// Bring in sessions made without codex-traced: in an IDE, in the desktop app, before it was installed
    Import(Import),
    /// Bring in the session whose file was written last
    TraceLatest,
    /// Trace sessions of other Codexes of this home (IDE, desktop app) whenever a turn ends, until Ctrl-C
    Watch,
    /// Open a trace in the browser; a local store is served for as long as you look
    Ui(Ui),
    /// What the launcher starts when Codex has ended
    #[command(name = FINISH, hide = true)]
    Finish(Finish),
}

#[derive(Debug, Args)]
pub struct Show {
    /// The newest trace (also without this option)
    #[arg(long, conflicts_with = "what")]
    pub last: bool,
    /// A trace id (tr-…), a Codex session id, or the path of a session file
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: Option<OsString>,
    /// As JSON, for other programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Ui {
    /// A trace id (tr-…), a Codex session id, or the path of a session file; the newest trace without it
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: Option<OsString>,
    /// Only say the address, and for a local store the command that serves it
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
pub struct Finish {
    /// The launch's id, as its notes are named
    pub launch: String,
}

#[derive(Debug, Args)]
pub struct Sync {
    /// Show what waits and what was set aside, and deliver nothing
    #[arg(long, conflicts_with_all = ["retry", "drop"])]
    pub list: bool,
    /// Try again also what was set aside
    #[arg(long, conflicts_with = "drop")]
    pub retry: bool,
    /// Remove one trace for good, by an id that --list shows, and deliver nothing
    #[arg(long, value_name = "ID")]
    pub drop: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["what", "all", "since"])))]
pub struct Import {
    /// Session files, folders of them, or session ids
    #[arg(value_name = "PATH | SESSION_ID")]
    pub what: Vec<OsString>,
    /// Every session of Codex's folders, the archive and the configured `sessions_dir`
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Only sessions that went on since then: 7d, 12h, 2026-11-01
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Tell what would be new, updated and unchanged, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
