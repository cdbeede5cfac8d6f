//! Emptying the spool: each entry to its target, oldest first, removed once it is there.

use super::{Delivered, ExportError, Exporter};
use crate::config::target::{Experiment, Target};
use crate::spool::{Entry, Spool};
use crate::trace::ids::TraceId;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How one drain went.
#[derive(Debug, Default)]
pub struct Drained {
    pub delivered: Vec<(TraceId, Delivered)>,
    pub waiting: Vec<Waiting>,
}

/// An entry that stays in the spool, and why.
#[derive(Debug)]
pub struct Waiting {
    pub path: PathBuf,
    pub reason: String,
}

/// Another delivery is at work; it takes what it finds, and at the latest the next launch takes the rest.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("another codex-traced is delivering")]
    Busy,
    #[error("cannot lock the spool: {0}")]
    Lock(std::io::Error),
}

/// How often a busy spool is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Delivers what the spool holds. A target that could not be reached once is left alone for the rest of
/// the drain: each further try would wait as long.
pub fn drain(
    spool: &Spool,
    patience: Duration,
    mut connect: impl FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter>, ExportError>,
) -> Result<Drained, DrainError> {
    let _lock = lock(spool, patience)?;
    let mut drained = Drained::default();
    let mut out_of_reach: HashSet<Target> = HashSet::new();
    for path in spool.paths() {
        let result = Spool::load(&path).map_err(|error| error.to_string()).and_then(|entry| {
            if out_of_reach.contains(&entry.target) {
                return Err("its target could not be reached just now".to_owned());
            }
            let id = entry.trace.id;
            let delivered = deliver(&entry, &mut connect).map_err(|error| {
                if matches!(error, ExportError::Transient(_)) {
                    out_of_reach.insert(entry.target.clone());
                }
                error.to_string()
            })?;
            // If this fails the trace is delivered again, which changes nothing.
            Spool::remove(&path).map_err(|error| error.to_string())?;
            Ok((id, delivered))
        });
        match result {
            Ok(delivered) => drained.delivered.push(delivered),
            Err(reason) => drained.waiting.push(Waiting { path, reason }),
        }
    }
    Ok(drained)
}

fn deliver(
    entry: &Entry,
    connect: &mut impl FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter>, ExportError>,
) -> Result<Delivered, ExportError> {
    connect(&entry.target, &entry.experiment)?.export(&entry.trace)
}

fn lock(spool: &Spool, patience: Duration) -> Result<crate::spool::DrainLock, DrainError> {
    let begun = Instant::now();
    loop {
        if let Some(lock) = spool.try_lock().map_err(DrainError::Lock)? {
            return Ok(lock);
        }
        if begun.elapsed() > patience {
            return Err(DrainError::Busy);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
