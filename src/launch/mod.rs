//! Runs any command invisibly. Contains nothing about Codex.

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
mod signal_probe;
pub mod signals;
pub mod watchdog;

use companion::Companion;
use exit::ChildExit;
use mode::LaunchMode;
use program::{Program, StartError};
use signals::SignalPipe;
use std::time::Instant;

/// A command that has ended.
pub struct Ended {
    pub exit: ChildExit,
    /// When the launcher learned of it.
    pub at: Instant,
    /// From now on signals only ask the launcher to finish quickly, for as long as this value lives.
    pub signals: SignalPipe,
}

/// Runs the command to its end. An error means that the command never ran.
pub fn run(mode: LaunchMode, program: &Program, companion: &mut dyn Companion) -> Result<Ended, StartError> {
    if let LaunchMode::Pty(interface) = mode {
        match pty::run(program, interface, companion) {
            Ok(ended) => return ended,
            Err(error) => {
                tracing::warn!("cannot relay the terminal, so the command gets the user's: {error}")
            }
        }
    }
    inherit::run(program, companion)
}
