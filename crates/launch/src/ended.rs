//! The result of a launch.

use super::exit::ChildExit;
use super::signals::SignalPipe;
use std::time::Instant;

/// A command that has ended.
pub struct Ended {
    pub exit: ChildExit,
    /// When the launcher learned of it.
    pub at: Instant,
    /// From now on signals only ask the launcher to finish quickly, for as long as this value lives.
    pub signals: SignalPipe,
}
