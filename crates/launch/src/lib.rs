//! Runs any command invisibly. Contains nothing about Codex.

mod before_main;
mod child;
pub mod companion;
pub mod detached;
mod dispositions;
mod ended;
mod entry_state;
pub mod exit;
mod inherit;
pub mod mode;
pub mod process;
pub mod program;
mod pty;
mod signal_probe;
pub mod signals;
pub mod terminals;
mod timeout;
pub mod watchdog;

use companion::Companion;
pub use ended::Ended;
use mode::LaunchMode;
use program::{Program, StartError};

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
