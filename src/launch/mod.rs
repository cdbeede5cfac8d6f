//! Running any command invisibly. Knows nothing of Codex.

pub mod companion;
pub mod exit;
pub mod inherit;
pub mod process;
pub mod program;
pub mod signals;
