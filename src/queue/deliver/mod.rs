//! Delivery of the spool: the newest form of each trace goes to its target; the forms it replaces are
//! removed.

mod blame;
mod drain;
#[cfg(test)]
mod tests;

use crate::queue::receipts::Receipts;
use crate::queue::spool::Spool;
use crate::queue::spool::policy::Lane;
use drain::Drain;
use jiff::Timestamp;
use mlflow_store::exporter::{Delivered, ExportError, Exporter};
use mlflow_store::ids::TraceId;
use mlflow_store::target::{Experiment, Target};
use std::path::PathBuf;
use std::time::Duration;

/// The result of one drain.
#[derive(Debug, Default)]
pub struct Drained {
    pub delivered: Vec<(TraceId, Delivered)>,
    /// Entries that stay in the spool, oldest first.
    pub waiting: Vec<Waiting>,
    /// Entries that this drain quarantined.
    pub set_aside: Vec<Waiting>,
    /// Traces that their target has archived and that are not continued yet; their entries are in `waiting`
    /// too.
    pub archived: Vec<Archived>,
    /// Another process delivers, and takes the rest.
    pub is_elsewhere: bool,
}

/// An entry that is not delivered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub path: PathBuf,
    pub reason: String,
}

/// Forms of a trace that its target has archived and takes no more of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    pub trace: TraceId,
    pub target: Target,
    /// Oldest first.
    pub paths: Vec<PathBuf>,
    pub reason: String,
}

/// The limits of one drain, and its sources of time and chance.
pub struct Limits<'a> {
    /// How long to wait for another process's drain. It takes every entry that it finds, so this may be zero.
    pub patience: Duration,
    /// How long the drain starts further traces; None: no limit.
    pub budget: Option<Duration>,
    /// Whether the drain was asked to end.
    pub is_asked_to_end: &'a dyn Fn() -> bool,
    pub eagerness: Eagerness,
    pub now: &'a dyn Fn() -> Timestamp,
    /// Between 0 and 1: spreads the retries of processes that failed at the same time.
    pub jitter: &'a dyn Fn() -> f64,
    pub report: &'a dyn Fn(&DrainStep),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// For a launch: a target that failed is not tried during its pause.
    Patient,
    /// For a user's command: every target is tried.
    Asked,
}

/// Progress of a drain: the outcome of one trace.
#[derive(Debug)]
pub struct DrainStep<'a> {
    /// From 1.
    pub number: usize,
    /// Number of deliveries known so far.
    pub of: usize,
    pub trace: TraceId,
    pub target: &'a Target,
    pub outcome: Result<(), &'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("cannot lock the spool: {0}")]
    Lock(std::io::Error),
}

/// Opens the exporter of a target.
pub trait Connect<'a>: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError> {}
impl<'a, F: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError>> Connect<'a> for F {}

/// Delivers the spool's entries, including those put during the drain; local targets first.
pub fn drain<'a>(
    spool: &Spool,
    receipts: &Receipts,
    limits: &Limits,
    connect: impl Connect<'a>,
) -> Result<Drained, DrainError> {
    let mut drain = Drain::begin(spool, receipts, limits, connect);
    for lane in [Lane::Local, Lane::Remote] {
        drain.lane(lane)?;
    }
    Ok(drain.end())
}
