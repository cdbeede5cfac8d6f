//! The arguments of the commands that look back: `list`, `usage`, `export`, `prices`, `show`.

use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct List {
    /// Only sessions that went on since then: 7d, 12h, 2026-11-01
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only sessions that began before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only sessions of this folder, or of the repository that it is in
    #[arg(long)]
    pub here: bool,
    /// Only sessions that ended so: completed, failed, interrupted, lost, or that run
    #[arg(long, value_name = "STATUS", hide_possible_values = true)]
    pub status: Option<SessionStatus>,
    /// Only sessions with this model; a part of its name is enough
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only sessions with this text in a prompt, an answer, a command or an output
    ///
    /// Letters of ASCII match in both cases.
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// How many sessions at most; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON for scripts; docs/json.md describes its keys
    #[arg(long)]
    pub json: bool,
}

/// How the last turn of a session ended, as users name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionStatus {
    Completed,
    Failed,
    Interrupted,
    Lost,
    Running,
}

#[derive(Debug, Args)]
pub struct Usage {
    /// One row for each day, week, month, model, project, branch, session or subagent; two with a comma
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        default_value = "day",
        hide_possible_values = true
    )]
    pub by: Vec<UsageKey>,
    /// Only responses since then: 7d, 12h, 2026-11-01
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only responses before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Print JSON for scripts; docs/json.md describes its keys
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print comma-separated values
    #[arg(long)]
    pub csv: bool,
    /// End with 1 if more was spent, in US dollars at list price
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    pub fail_over: Option<f64>,
}

/// What the rows of `usage` are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageKey {
    Day,
    Week,
    Month,
    Model,
    Project,
    Branch,
    Session,
    Subagent,
}

#[derive(Debug, Args)]
pub struct Export {
    /// A trace id (tr-…), a session id or its end, or the path of a session file
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: OsString,
    /// `md`, `html` (one file that needs no network), or `json`
    #[arg(long, value_name = "FORM", default_value = "md", hide_possible_values = true)]
    pub format: ExportFormat,
    /// Into this file instead of stdout
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Md,
    Html,
    Json,
}

#[derive(Debug, Args)]
pub struct Prices {
    /// Read new prices in the form of MLflow's model catalogue: a file, a folder of such files, or an address
    ///
    /// They hold from now on: what was used before keeps its price.
    #[arg(long, value_name = "FILE | URL")]
    pub update: Option<String>,
    /// Print JSON for scripts; docs/json.md describes its keys
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The newest trace (also without this option)
    #[arg(long, conflicts_with = "what")]
    pub last: bool,
    /// A trace id (tr-…), a session id or its end, or the path of a session file
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: Option<OsString>,
    /// As JSON, for other programs
    #[arg(long)]
    pub json: bool,
    /// Show a session while Codex writes it, until the session ends or Ctrl-C
    ///
    /// The newest session that runs, without a name. Redrawn on a terminal; otherwise one line for each span that ends.
    #[arg(long, conflicts_with_all = ["json", "last", "turn", "span", "diff", "times"])]
    pub follow: bool,
    /// Only this turn, counted from 1
    #[arg(long, value_name = "N")]
    pub turn: Option<usize>,
    /// Only spans of this name, whole: their inputs and outputs
    #[arg(long, value_name = "NAME", conflicts_with_all = ["diff", "times"])]
    pub span: Option<String>,
    /// What became of files, as one patch
    #[arg(long, conflicts_with = "times")]
    pub diff: bool,
    /// Where the time went: the model, tools, waiting for the user
    #[arg(long)]
    pub times: bool,
}
