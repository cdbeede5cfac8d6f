//! Running any command invisibly. Knows nothing of Codex.

pub mod companion;
pub mod exit;
mod inherit;
pub mod mode;
pub mod process;
pub mod program;
mod pty;
mod signals;

use companion::Companion;
use exit::ChildExit;
use mode::LaunchMode;
use program::{Program, StartError};

/// Runs the command to its end. An error means that it never ran.
pub fn run(
    mode: LaunchMode,
    program: &Program,
    companion: &mut dyn Companion,
) -> Result<ChildExit, StartError> {
    if let LaunchMode::Pty(interface) = mode {
        match pty::run(program, interface, companion) {
            Ok(ended) => return ended,
            Err(error) => tracing::warn!("cannot relay the terminal, so the command gets ours: {error}"),
        }
    }
    inherit::run(program, companion)
}
