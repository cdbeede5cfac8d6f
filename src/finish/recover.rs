//! The work of launches that died before they finished it, or whose turns still run.

use super::assemble::{Assembled, assemble};
use super::context::Context;
use super::open_turns::OpenLaunch;
use crate::claim::hold::Hold;
use crate::claim::{launch_record, launches, observer};
use crate::queue::receipts;
use common::disk;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

impl Unfinished {
    fn because(reason: String) -> Unfinished {
        Unfinished { reason, wants_room: false }
    }
}

/// Finishes the work of other launches that died, or whose turns went on after their end. `patience` is how long to
/// wait for a process that does the same.
pub fn recover(context: &Context, patience: Duration) -> Recovered {
    let launches = context.paths.launches();
    sweep(context);
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
        recovered.unfinished.push(Unfinished::because("another codex-traced is at it".into()));
        return recovered;
    }
    for (record, _) in launches::left_behind(&launches) {
        let Some(hold) = Hold::take(&record) else { continue };
        // Read again: before the hold, another process could write to it.
        let Some(mut launch) = launch_record::load(&record) else { continue };
        observer::take_log_of(&mut launch, &launches);
        // A panic over one launch keeps no other back.
        match catch_unwind(AssertUnwindSafe(|| assemble(&launch, context))) {
            Ok(Ok(Assembled::Done)) => {
                tracing::info!("finished the work of launch {}", launch.id);
                let _ = fs::remove_file(record);
            }
            Ok(Ok(Assembled::Open(turns))) => {
                recovered.open.push(OpenLaunch::new(launch, record, turns, hold));
            }
            Ok(Err(error)) => {
                tracing::error!("cannot finish the work of launch {}: {error}", launch.id);
                let unfinished = Unfinished { reason: error.to_string(), wants_room: error.wants_room() };
                recovered.unfinished.push(unfinished);
            }
            Err(_) => {
                let unfinished = Unfinished::because("a defect of codex-traced (see its log)".into());
                recovered.unfinished.push(unfinished);
            }
        }
    }
    recovered
}

/// Removes half-written files of processes that died.
fn sweep(context: &Context) {
    launches::sweep(&context.paths.launches());
    observer::sweep_logs(&context.paths.launches());
    disk::sweep(&context.paths.threads());
    receipts(&context.paths).sweep();
}
