//! Bringing a trace to where people look at it.

pub mod deliver;
pub mod lost;
pub mod mlflow;
pub mod receipt;
pub mod receipts;

use crate::trace::model::Trace;
use jiff::Timestamp;
use receipt::Receipt;
use std::time::{Duration, Instant};

/// A place that takes traces.
pub trait Exporter {
    /// Stores the trace, whole or not at all as seen there. A trace that is there already is updated in
    /// place, and what people added to it (assessments, tags, a new name) stays.
    ///
    /// `before` tells what this place took of the trace earlier; a place that keeps single spans need only
    /// be sent the others.
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered, ExportError>;

    /// When the next `export` is to give up, if it should before our patience ends. A place on this machine answers
    /// soon enough.
    fn give_up_at(&mut self, _: Option<Instant>) {}

    /// As `export` for each, in their order, for the price of little more than one. None where the place takes
    /// one at a time, or would not take all of these: then none is there.
    fn export_together(&mut self, _: &[&Trace]) -> Option<Vec<Delivered>> {
        None
    }
}

/// Where a trace stands now, and how much had to go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub experiment_id: String,
    pub spans_sent: usize,
}

/// What a look at a place found. Nothing was sent there, and nothing made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Of the server, or of the database's schema, as a person says it; None where nothing is there yet, or
    /// nothing tells.
    pub version: Option<String>,
    /// The experiment's id; None when the first trace makes it.
    pub experiment_id: Option<String>,
    /// What the server's clock said.
    pub clock: Option<Timestamp>,
}

/// Why a trace is not there yet. It is kept in either case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Trying again later may help; not before `after`, if the place said so.
    #[error("{reason}")]
    Transient { reason: String, after: Option<Duration>, status: Option<u16> },
    /// The place failed while it looked for this trace or took it: either may be at fault. What becomes of the next
    /// trace shows which.
    #[error("{reason}")]
    Unclear { reason: String, after: Option<Duration>, sign: Sign },
    /// Nothing gets there until somebody changes the target, or what is asked of it: credentials, an
    /// experiment, a version.
    #[error("{0}")]
    Target(String),
    /// The experiment that this trace is for is gone, or closed to us: the others may have another one.
    #[error("{0}")]
    Experiment(String),
    /// The place will not take this trace, however often it is sent.
    #[error("{0}")]
    Trace(String),
    /// The place has moved the trace's spans away, and takes no more of them.
    #[error("{0}")]
    Archived(String),
    /// Somebody asked us to end.
    #[error("stopped when asked to")]
    Stopped,
}

/// What an unclear failure shows of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    None,
    /// It shows this very trace when asked, and does not take it.
    ShowsTrace,
}

/// The status with which a server limits how much is sent: the trace has no part in it.
const TOO_MANY_REQUESTS: u16 = 429;

impl ExportError {
    pub fn transient(reason: impl Into<String>) -> ExportError {
        ExportError::Transient { reason: reason.into(), after: None, status: None }
    }

    pub fn unclear(reason: impl Into<String>) -> ExportError {
        ExportError::Unclear { reason: reason.into(), after: None, sign: Sign::None }
    }

    /// The same failure, of a request that was about one trace.
    pub fn over_trace(self) -> ExportError {
        match self {
            ExportError::Transient { status: Some(TOO_MANY_REQUESTS), .. } => self,
            ExportError::Transient { reason, after, .. } => {
                ExportError::Unclear { reason, after, sign: Sign::None }
            }
            other => other,
        }
    }
}

/// How long a delivery may go on.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// None for as long as it takes.
    pub until: Option<Instant>,
    pub is_asked_to_end: &'a dyn Fn() -> bool,
    /// Told why a request has failed that will be tried again, and how soon.
    pub retrying: &'a dyn Fn(&str, Duration),
}

impl Patience<'_> {
    /// What is left of it; None when there is no end.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    pub fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}
