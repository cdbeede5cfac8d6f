//! Emptying the spool: the newest form of each trace to its target; what it replaces is removed with it.

mod blame;
mod drain;
#[cfg(test)]
mod tests;

use super::receipts::Receipts;
use super::{Delivered, ExportError, Exporter};
use crate::config::target::{Experiment, Target};
use crate::spool::Spool;
use crate::spool::policy::Lane;
use crate::trace::ids::TraceId;
use drain::Drain;
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

/// How one drain went.
#[derive(Debug, Default)]
pub struct Drained {
    pub delivered: Vec<(TraceId, Delivered)>,
    /// What stays in the spool, oldest first.
    pub waiting: Vec<Waiting>,
    /// What was set aside in this drain.
    pub set_aside: Vec<Waiting>,
    /// What its target has archived, and is not continued yet; each waits, too.
    pub archived: Vec<Archived>,
    /// Somebody else delivers, and takes what was left.
    pub is_elsewhere: bool,
}

/// An entry that is not delivered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub path: PathBuf,
    pub reason: String,
}

/// Forms of a trace that its target takes no more of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    pub trace: TraceId,
    pub target: Target,
    /// Oldest first.
    pub paths: Vec<PathBuf>,
    pub reason: String,
}

/// How to deliver.
pub struct Limits<'a> {
    /// How long to wait for another delivery to end; it takes what it finds, so nobody has to.
    pub patience: Duration,
    /// How long to begin further traces; None for as long as it takes.
    pub budget: Option<Duration>,
    /// Whether somebody wants us to end.
    pub is_asked_to_end: &'a dyn Fn() -> bool,
    pub eagerness: Eagerness,
    pub now: &'a dyn Fn() -> Timestamp,
    /// Between 0 and 1: keeps those who failed together from coming back together.
    pub luck: &'a dyn Fn() -> f64,
    pub told: &'a dyn Fn(&Step),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// A launch: targets that failed are left alone for a while.
    Patient,
    /// Somebody asked for it: every target is tried.
    Asked,
}

/// One trace of a drain, for whoever watches.
#[derive(Debug)]
pub struct Step<'a> {
    /// From 1.
    pub number: usize,
    /// As many as are known of now.
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

/// Makes the exporter of a target.
pub trait Connect<'a>: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError> {}
impl<'a, F: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError>> Connect<'a> for F {}

/// Delivers what the spool holds, and what comes meanwhile; to local targets first.
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
