//! Running any command invisibly. Knows nothing of Codex.

mod before_main;
mod child;
pub mod companion;
pub mod detached;
mod dispositions;
pub mod exit;
mod inherit;
pub mod mode;
pub mod process;
pub mod program;
mod pty;
pub mod signals;
pub mod watchdog;
mod witness;

use companion::Companion;
use exit::ChildExit;
use mode::LaunchMode;
use program::{Program, StartError};
use signals::SignalPipe;
use std::time::Instant;

/// A command that ran.
pub struct Ended {
    pub exit: ChildExit,
    /// When we learned of it.
    pub at: Instant,
    /// From now on, signals ask us to be quick; while this lives they change nothing else.
    pub signals: SignalPipe,
}

/// Runs the command to its end. An error means that it never ran.
pub fn run(mode: LaunchMode, program: &Program, companion: &mut dyn Companion) -> Result<Ended, StartError> {
    if let LaunchMode::Pty(interface) = mode {
        match pty::run(program, interface, companion) {
            Ok(ended) => return ended,
            Err(error) => tracing::warn!("cannot relay the terminal, so the command gets ours: {error}"),
        }
    }
    inherit::run(program, companion)
}
