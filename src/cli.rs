//! The command line of `codex-traced mlflow …`. All other arguments belong to Codex.

mod history;

use crate::settings::modes::{Content, Granularity, Live};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

pub use history::{Export, ExportFormat, List, Prices, SessionStatus, Show, Usage, UsageKey};

const EXAMPLES: &str = "\
Examples:
  codex-traced mlflow enable                             keep traces here
  codex-traced mlflow enable -u http://localhost:5000    send them to a server
  codex-traced mlflow enable -u databricks -e 123456789  or to Databricks
  codex-traced mlflow status                             what is set, and why
  codex-traced mlflow doctor                             what is wrong
  codex-traced mlflow show                               the newest trace
  codex-traced mlflow show --follow                      a session, live

All other words are Codex's: `codex-traced exec \"…\"` runs `codex exec \"…\"`
and traces it.";

/// Internal; spawned by the launcher.
pub const FINISH: &str = "finish";

#[derive(Debug, Parser)]
#[command(
    name = "codex-traced mlflow",
    bin_name = "codex-traced mlflow",
    version,
    about = "MLflow traces of your Codex sessions",
    after_help = EXAMPLES,
    max_term_width = 80,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set everything up by three questions; --undo takes it back
    ///
    /// Where traces go, what `codex` runs, what traces hold. Shows what it will write, writes it, and looks for problems as
    /// `doctor` does. Options answer questions, which are then not asked.
    Setup(Setup),
    /// Switch tracing on, and choose where traces go
    #[command(after_help = Enable::AFTER)]
    Enable(Enable),
    /// Switch tracing off; the settings stay
    ///
    /// codex-traced then runs Codex in its place and does nothing else. For one launch only: CODEX_TRACED=0.
    Disable,
    /// Show what is set and why, what waits, and what was sent
    Status(Report),
    /// Find out what is wrong, and what to do about it
    ///
    /// Changes nothing, but fills columns of traces that MLflow's upgrade of a database left empty. Ends with 0 when all is well, 1 when there are warnings, 2 when there are errors.
    Doctor(Report),
    /// Show a trace as a tree of turns, answers and tool calls
    Show(Show),
    /// List sessions, newest first, with what they cost
    ///
    /// All sessions of Codex's home, traced or not. Costs are list prices.
    #[command(visible_alias = "ls")]
    List(List),
    /// Sum up tokens and cost by day, model, project and more
    ///
    /// Of all sessions of Codex's home, traced or not; each response counts once. Costs are list prices.
    Usage(Usage),
    /// Write a session as Markdown, HTML or JSON, to read or to attach
    ///
    /// Redacted like a trace.
    Export(Export),
    /// Show the prices that costs are made from, or update them
    Prices(Prices),
    /// Deliver what waits on disk, and finish launches that died
    Sync(Sync),
    /// Remove a session's trace from everything here
    ///
    /// From the local store, with what people added to it in MLflow, from the spool, and from our records. Prints where
    /// else the trace is: what a server or Databricks has is removed there. Codex's own session file stays.
    Forget(Forget),
    /// Bring in sessions made without codex-traced
    ///
    /// In an IDE, in the desktop app, before it was installed. Each session once; what its target has already is
    /// not sent again.
    Import(Import),
    /// Bring in the session whose file was written last
    TraceLatest,
    /// Trace sessions of other Codexes whenever a turn ends
    ///
    /// Of this home: an IDE's, the desktop app's, those of a plain `codex`. Until Ctrl-C.
    Watch(Watch),
    /// Open a trace on MLflow's page in the browser
    ///
    /// A local store is served by `mlflow server` for as long as you look, if MLflow is installed.
    Ui(Ui),
    /// Print completions for bash, zsh or fish
    ///
    /// Codex's own words are completed by Codex's own completion.
    #[command(after_help = Completions::AFTER)]
    Completions(Completions),
    /// Print the manual page
    ///
    /// To read it: `codex-traced mlflow man | man -l -`
    Man,
    /// The tracer, which the launcher starts
    #[command(name = FINISH, hide = true)]
    Finish(Finish),
}

#[derive(Debug, Args)]
pub struct Setup {
    /// Where traces go, in a form of `enable --help`
    #[arg(short = 'u', long, value_name = "URI")]
    pub tracking_uri: Option<String>,
    /// What makes `codex` run codex-traced: a `function` of your shell, a `shim` on PATH, or `nothing`
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub codex: Option<CodexWord>,
    /// What traces hold: `full`, or `metadata` (figures only)
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub content: Option<Content>,
    /// Ask nothing: take the first answer where no option gives one
    #[arg(long)]
    pub yes: bool,
    /// Show what would be written, and write nothing
    #[arg(long, conflicts_with = "undo")]
    pub dry_run: bool,
    /// Take back what setup wrote
    #[arg(long, conflicts_with_all = ["tracking_uri", "codex", "content", "yes"])]
    pub undo: bool,
}

/// What makes the word `codex` run codex-traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodexWord {
    Function,
    Shim,
    Nothing,
}

#[derive(Debug, Default, Args)]
pub struct Enable {
    /// Where traces go, in one of the forms below
    #[arg(short = 'u', long, value_name = "URI")]
    pub tracking_uri: Option<String>,
    /// The experiment by its id, which must exist
    #[arg(short = 'e', long, value_name = "ID", conflicts_with = "experiment_name")]
    pub experiment_id: Option<String>,
    /// The experiment by its name, made when missing
    #[arg(short = 'n', long, value_name = "NAME")]
    pub experiment_name: Option<String>,
    /// One trace for each `session`, or for each `turn`
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub granularity: Option<Granularity>,
    /// A further folder of session files for `import`
    #[arg(short = 's', long, value_name = "DIR")]
    pub sessions_dir: Option<PathBuf>,
    /// One more target for traces; -e and -n are for it
    #[arg(long, value_name = "URI", conflicts_with_all = ["tracking_uri", "granularity", "sessions_dir"])]
    pub add: Option<String>,
    /// With --add: what it gets, `full` or `metadata`
    #[arg(long, value_name = "WHAT", hide_possible_values = true, requires = "add")]
    pub content: Option<Content>,
    /// With --add: its updates, `on`, `turn` or `off`
    #[arg(long, value_name = "WHEN", hide_possible_values = true, requires = "add")]
    pub live: Option<Live>,
    /// A further target that gets no more traces
    #[arg(
        long,
        value_name = "URI",
        conflicts_with_all = ["add", "tracking_uri", "experiment_id", "experiment_name", "granularity", "sessions_dir"]
    )]
    pub remove: Option<String>,
    /// Write the settings without a look at the target
    #[arg(long)]
    pub no_check: bool,
}

impl Enable {
    const AFTER: &'static str = "\
Forms of a URI:
  http://HOST:PORT      https://HOST            an MLflow server
  databricks            databricks://PROFILE    a Databricks workspace
  sqlite:///FILE.db     sqlite:////DIR/FILE.db  a database (relative, absolute)
  ./DIR                 file:///DIR             a folder of files
  otlp+http://HOST:4318 otlp+https://HOST       an OpenTelemetry collector

Without -u the target stays what the configuration file has, else it is the
file mlflow/mlflow.db in Codex's home.

The target is looked at first. When it cannot take traces nothing is written,
so that what worked before goes on working; with --no-check it is written all
the same, for a server that is not up yet.";
}

#[derive(Debug, Args)]
pub struct Report {
    /// Print JSON for scripts; docs/json.md describes its keys
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell to print for
    pub shell: Shell,
}

impl Completions {
    const AFTER: &'static str = "\
To install, add this line:
  bash   eval \"$(codex-traced mlflow completions bash)\"   to ~/.bashrc
  zsh    eval \"$(codex-traced mlflow completions zsh)\"    to ~/.zshrc
  fish   codex-traced mlflow completions fish | source    to config.fish
In ~/.zshrc it stands after compinit.";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct Forget {
    /// A trace id (tr-…), a Codex session id, or the path of a session file
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: OsString,
}

#[derive(Debug, Args)]
pub struct Ui {
    /// A trace id (tr-…), a Codex session id, or the path of a session file; the newest trace without it
    #[arg(value_name = "TRACE_ID | SESSION_ID | ROLLOUT_PATH")]
    pub what: Option<OsString>,
    /// Only print the address, and for a local store the command that serves it
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("service").args(["install", "uninstall"])))]
pub struct Watch {
    /// Watch from each login on: write a service for systemd (Linux) or launchd (macOS), and start it
    #[arg(long)]
    pub install: bool,
    /// Stop the service and remove it
    #[arg(long)]
    pub uninstall: bool,
    /// Do not ask before a file is written or removed
    #[arg(long, requires = "service")]
    pub yes: bool,
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

#[derive(Debug, Default, Args)]
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
    /// Send all of them whole, also what their target has
    #[arg(long)]
    pub again: bool,
    /// Show what would be new, updated and unchanged, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
