//! Each kind of target: what MLflow's own clients and servers read of a trace that we wrote.

mod databricks;
mod file_store;
mod http;
mod http_access;
mod older_mlflow;
mod otlp;
mod rows;
mod sqlite;
mod updates;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
