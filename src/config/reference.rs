//! Every environment variable that we read, in one table: the README's, the manual's and `status`'s.

/// One that people may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// As Markdown, within a table.
    pub meaning: &'static str,
    /// As Markdown; empty where there is none.
    pub default: &'static str,
    pub value: Value,
}

/// Whether anybody may see what it is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Open,
    Secret,
}

const fn open(name: &'static str, meaning: &'static str, default: &'static str) -> Variable {
    Variable { name, meaning, default, value: Value::Open }
}

pub const VARIABLES: &[Variable] = &[
    open("CODEX_HOME", "Codex's home, as Codex reads it", "`~/.codex`"),
    open("CODEX_TRACED", "`0`: no trace; codex-traced becomes Codex", "trace"),
    open("CODEX_TRACED_CODEX_BIN", "path of the real codex", "first on `PATH`"),
    open(
        "CODEX_TRACED_PTY",
        "`always`: also `exec` and `review` get a terminal of their own; `never`: nothing does; only ever when \
         stdin, stdout and stderr are the same terminal",
        "`auto`: the full-screen interface does",
    ),
    open(
        "CODEX_TRACED_NOTICE",
        "`always` or `never`: whether we may say a line on stderr",
        "only if stderr is a terminal",
    ),
    open(
        "MLFLOW_CODEX_TRACING_ENABLED",
        "`false`: no trace; `true`: a server in `MLFLOW_TRACKING_URI` is meant for us",
        "trace, local",
    ),
    open("MLFLOW_TRACKING_URI", "where traces go", "`sqlite:///` and `$CODEX_HOME/mlflow/mlflow.db`"),
    open("MLFLOW_EXPERIMENT_NAME", "experiment, made when missing", "`codex-sessions`"),
    open("MLFLOW_EXPERIMENT_ID", "experiment, must exist; the name comes first", ""),
    open("NO_COLOR", "set to anything: our commands print no colours", "colours on a terminal"),
];

/// Codex's own, which we read so as to leave what the user asked of them; told in the README's text.
pub const OF_CODEX: &[&str] = &["CODEX_TUI_RECORD_SESSION", "CODEX_TUI_SESSION_LOG_PATH"];

/// Ours, for Codex's children to find.
pub const SET_BY_US: &[&str] = &["CODEX_TRACED_DEPTH"];

/// The table of the README, row by row.
pub fn markdown() -> String {
    let rows = VARIABLES.iter().map(|Variable { name, meaning, default, .. }| match *default {
        "" => format!("| `{name}` | {meaning} | |\n"),
        default => format!("| `{name}` | {meaning} | {default} |\n"),
    });
    std::iter::once("| variable | meaning | default |\n|---|---|---|\n".to_owned()).chain(rows).collect()
}
