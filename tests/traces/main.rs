//! The content of traces: of recorded sessions, of damaged ones, and of those of a real Codex.

mod attributes;
mod corpus;
mod exec_trace;
mod families;
mod generations;
mod launch_context;
mod live;
mod odd_lines;
mod prices;
mod properties;
mod recordings;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
