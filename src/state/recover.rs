//! What launches left that died before their work was done, or whose turns went on without them.

use super::{OpenTurn, State, StateError, Work};
use crate::claim::hold::Hold;
use crate::claim::journal::{self, Launch};
use crate::claim::watch;
use crate::disk;
use crate::env::World;
use crate::spool::SpoolError;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

/// Why the work of a launch that died is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub reason: String,
    /// When the spool holds less, it may be.
    pub wants_room: bool,
}

/// A launch with turns that still run. As long as this lives nobody else finishes it.
#[derive(Debug)]
pub struct Going {
    pub launch: Launch,
    pub notes: PathBuf,
    pub open: Vec<OpenTurn>,
    _hold: Hold,
}

/// What is left of what launches left.
#[derive(Debug, Default)]
pub struct Recovered {
    pub unfinished: Vec<Unfinished>,
    pub going_on: Vec<Going>,
}

impl Unfinished {
    fn because(reason: String) -> Unfinished {
        Unfinished { reason, wants_room: false }
    }
}

impl Going {
    pub fn of(launch: Launch, notes: PathBuf, open: Vec<OpenTurn>, hold: Hold) -> Going {
        Going { launch, notes, open, _hold: hold }
    }
}

impl State {
    /// Finishes the work of launches that died before they could, or whose turn went on without them; unless
    /// somebody else is at it.
    pub fn recover(&self, world: &World) -> Recovered {
        self.recover_within(world, Duration::ZERO)
    }

    /// As `recover`, for somebody who waits until others have done theirs.
    pub fn recover_within(&self, world: &World, patience: Duration) -> Recovered {
        self.sweep();
        let mut recovered = Recovered::default();
        if journal::left_behind(&self.launches()).is_empty() {
            return recovered;
        }
        // Forty launches that end at once would each do it all. Where there are no locks they do: it costs time only.
        let lock = disk::lock_within(&self.folder.join(".lock-launches"), patience);
        if let Ok(None) = lock {
            recovered.unfinished.push(Unfinished::because("another codex-traced is at it".into()));
            return recovered;
        }
        for (notes, _) in journal::left_behind(&self.launches()) {
            let Some(hold) = Hold::take(&notes) else { continue };
            // Only now nobody else writes there.
            let Some(mut launch) = journal::load(&notes) else { continue };
            watch::take_log_of(&mut launch, &self.launches());
            // A rollout that trips us over must not keep the others from being finished.
            match catch_unwind(AssertUnwindSafe(|| self.spool_launch(&launch, world))) {
                Ok(Ok(Work::Done)) => {
                    tracing::info!("finished the work of launch {}", launch.id);
                    let _ = fs::remove_file(notes);
                }
                Ok(Ok(Work::GoesOn(open))) => recovered.going_on.push(Going::of(launch, notes, open, hold)),
                Ok(Err(error)) => {
                    tracing::error!("cannot finish the work of launch {}: {error}", launch.id);
                    let wants_room = matches!(error, StateError::Spool(_, SpoolError::Full { .. }));
                    let unfinished = Unfinished { wants_room, ..Unfinished::because(error.to_string()) };
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

    /// Removes what crashes left half written.
    fn sweep(&self) {
        journal::sweep(&self.launches());
        watch::sweep_logs(&self.launches());
        disk::sweep(&self.threads());
        self.receipts().sweep();
    }
}
