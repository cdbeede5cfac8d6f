//! Our own commands as a stranger meets them: transcripts to review, and claims that no transcript shows.

mod enable;
mod export;
mod follow;
mod history;
mod history_index;
mod import;
mod json;
mod prices;
mod prices_file;
mod setup;
mod shells;
mod situation;
mod stand_in;
mod transcripts;
mod ui;
mod views;
mod watch;
mod watch_service;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
