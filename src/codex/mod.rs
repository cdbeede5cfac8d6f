//! The Codex program: its command line, home, versions and log.

pub mod command_line;
pub mod locate;
pub mod tui_log;
pub mod version;
