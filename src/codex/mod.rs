//! The Codex program: its command line, home, versions and log.

pub mod command_line;
pub mod interface_log;
pub mod locate;
pub mod npm;
pub mod remote;
pub mod version;

mod surface;
