//! What a drain is asked for, and its results.

use crate::queue::spool::PATIENCE;
use jiff::Timestamp;
use mlflow_store::exporter::{Delivered, ExportError, Exporter, jitter};
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

impl Drained {
    /// Adds the result of another drain. An entry that both name is named once.
    pub fn add(&mut self, other: Drained) {
        self.delivered.extend(other.delivered);
        self.set_aside.extend(other.set_aside);
        self.archived.extend(other.archived);
        self.is_elsewhere |= other.is_elsewhere;
        let is_new = |waiting: &Waiting| self.waiting.iter().all(|known| known.path != waiting.path);
        let new: Vec<Waiting> = other.waiting.into_iter().filter(is_new).collect();
        self.waiting.extend(new);
        self.waiting.sort_by(|one, other| one.path.cmp(&other.path));
    }
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

/// Who asks for a delivery, what it may cost, and its sources of time and chance.
#[derive(Clone, Copy)]
pub struct DeliveryRequest<'a> {
    pub eagerness: Eagerness,
    /// How long further traces are begun; None: no limit.
    pub budget: Option<Duration>,
    /// How long to wait for another process's drain. It takes every entry that it finds, so this may be zero.
    pub patience: Duration,
    pub is_asked_to_end: &'a dyn Fn() -> bool,
    /// Remote targets that get nothing now.
    pub is_left_out: &'a dyn Fn(&Target) -> bool,
    /// Called before a request is tried again: why, and how soon.
    pub retrying: &'a dyn Fn(&str, Duration),
    /// Called after each trace.
    pub progress: &'a dyn Fn(&DrainStep),
    pub now: &'a dyn Fn() -> Timestamp,
    /// Between 0 and 1: spreads the retries of processes that failed at the same time.
    pub jitter: &'a dyn Fn() -> f64,
}

impl DeliveryRequest<'_> {
    /// A launch, which leaves targets alone that failed lately.
    pub fn of_launch(budget: Duration) -> DeliveryRequest<'static> {
        DeliveryRequest { eagerness: Eagerness::Patient, budget: Some(budget), ..DeliveryRequest::of_user() }
    }

    /// A command of a user, which tries every target.
    pub fn of_user() -> DeliveryRequest<'static> {
        DeliveryRequest {
            eagerness: Eagerness::Asked,
            budget: None,
            patience: PATIENCE,
            is_asked_to_end: &|| false,
            is_left_out: &|_| false,
            retrying: &|_, _| {},
            progress: &|_| {},
            now: &Timestamp::now,
            jitter: &jitter,
        }
    }
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
#[error("cannot lock the spool: {0}")]
pub struct DrainError(pub std::io::Error);

/// Opens the exporter of a target.
pub trait Connect<'a>: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError> {}
impl<'a, F: FnMut(&Target, &Experiment) -> Result<Box<dyn Exporter + 'a>, ExportError>> Connect<'a> for F {}
