//! From Codex's end to a delivered trace, with every failure on the way.

mod crashes;
mod faults;
mod finishing;
mod formats;
mod live;
mod live_faults;
mod live_files;
mod live_kills;
mod live_modes;
mod live_stage;
mod network_faults;
mod spool;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
