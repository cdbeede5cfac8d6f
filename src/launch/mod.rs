//! Running any command invisibly. Knows nothing of Codex.

pub mod exit;
pub mod inherit;
pub mod process;
pub mod program;
mod signals;
