//! Runs any command invisibly.

mod before_main;
mod child;
pub mod companion;
pub mod detached;
mod dispositions;
mod ended;
mod entry_state;
pub mod exit;
pub mod first_block;
mod fork;
mod inherit;
pub mod memory;
pub mod mode;
mod node_state;
pub mod orphan;
pub mod process;
pub mod program;
mod pty;
mod shown_name;
mod signal_probe;
pub mod signals;
mod spawn;
pub mod streams;
pub mod terminals;
mod timeout;
pub mod watchdog;

use companion::Companion;
pub use ended::Ended;
use mode::LaunchMode;
use program::{Program, StartError};
use std::ffi::CStr;

/// Runs the command to its end. An error means that the command never ran. Process lists show the signal probe as
/// `probe`. That must not be the launcher's name: signals to all processes of that name would reach both.
pub fn run(
    mode: LaunchMode,
    program: &Program,
    probe: &CStr,
    companion: &mut dyn Companion,
) -> Result<Ended, StartError> {
    if let LaunchMode::Pty(interface) = mode {
        match pty::run(program, interface, probe, companion) {
            Ok(ended) => return ended,
            Err(error) => {
                tracing::warn!("cannot relay the terminal, so the command gets the user's: {error}")
            }
        }
    }
    inherit::run(program, probe, companion)
}
