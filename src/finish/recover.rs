//! The work of launches that died before they finished it, or whose turns still run.

use super::assemble::assemble;
use super::context::Context;
use super::open_turns::OpenLaunch;
use crate::base::log::quietly;
use crate::claim::launches::LaunchLock;
use crate::claim::{launch_record, launches, observer};
use crate::queue::receipts;
use common::disk;
use jiff::Timestamp;
use std::fs;
use std::time::Duration;

/// Why the work of a launch is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub reason: String,
    /// A delivery frees the room that the trace needs.
    pub wants_room: bool,
}

/// What is left to do after a recovery.
#[derive(Debug, Default)]
pub struct Recovered {
    pub unfinished: Vec<Unfinished>,
    pub open: Vec<OpenLaunch>,
}

impl Recovered {
    fn give_up(&mut self, reason: String, wants_room: bool) {
        self.unfinished.push(Unfinished { reason, wants_room });
    }
}

/// Finishes the work of other launches that died, or whose turns went on after their end. `patience` is how long to
/// wait for a process that does the same.
pub fn recover(context: &Context, patience: Duration) -> Recovered {
    let launches = context.paths.launches();
    // What processes that died left half written.
    launches::sweep(&launches);
    observer::sweep_logs(&launches, Timestamp::now());
    disk::sweep(&context.paths.threads());
    receipts(&context.paths).sweep();
    for later in launches::later_versions(&launches) {
        tracing::warn!("cannot finish a launch: {later}");
    }
    let mut recovered = Recovered::default();
    if launches::left_behind(&launches).is_empty() {
        return recovered;
    }
    // Without this lock, forty launches that end at once each do all of it. A file system without locks costs time
    // only.
    let lock = disk::lock_within(&context.paths.launches_lock(), patience);
    if let Ok(None) = lock {
        recovered.give_up("another codex-traced is at it".into(), false);
        return recovered;
    }
    for (record, _) in launches::left_behind(&launches) {
        let Some(lock) = LaunchLock::take(&record) else { continue };
        // Read again: before the lock, another process could write to it.
        let Some(mut launch) = launch_record::load(&record) else { continue };
        observer::take_log_of(&mut launch, &launches);
        // A panic over one launch keeps no other back.
        match quietly(|| assemble(&launch, context)) {
            Some(Ok(turns)) if turns.is_empty() => {
                tracing::info!("finished the work of launch {}", launch.id);
                let _ = fs::remove_file(record);
            }
            Some(Ok(turns)) => recovered.open.push(OpenLaunch { launch, record, turns, lock }),
            Some(Err(error)) => {
                tracing::error!("cannot finish the work of launch {}: {error}", launch.id);
                recovered.give_up(error.to_string(), error.wants_room());
            }
            None => recovered.give_up("a defect of codex-traced (see its log)".into(), false),
        }
    }
    recovered
}
