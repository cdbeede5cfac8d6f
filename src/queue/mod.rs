//! Traces on their way to targets, and what targets took of them.

pub mod drain;
pub mod put;
pub mod receipts;
pub mod spool;
pub mod straight;
pub mod target_state;
pub mod thread_history;

use crate::base::paths::Paths;
use crate::queue::receipts::Receipts;
use crate::queue::spool::Spool;

pub fn spool(paths: &Paths) -> Spool {
    Spool::new(paths.spool())
}

pub fn receipts(paths: &Paths) -> Receipts {
    Receipts::new(paths.receipts())
}
