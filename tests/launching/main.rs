//! Launching Codex: finding it, running it invisibly, and how a launch ends.

mod endings;
mod finding;
mod pass_through;
mod pty;
mod pty_codex;
mod shims;
mod streams;
#[cfg(target_os = "linux")]
mod transparency;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
