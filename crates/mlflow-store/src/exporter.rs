//! What an exporter does, and why a target may refuse a trace.

use crate::receipt::Receipt;
use crate::target::Target;
use crate::target::access::Access;
use crate::trace::{BadTree, Trace};
use jiff::Timestamp;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Writes traces to one target.
pub trait Exporter {
    /// Stores the trace; readers of the target see all of it or nothing. An existing trace is updated in
    /// place, and what users added to it (assessments, tags, a new name) stays.
    ///
    /// `before` is the receipt of what this target already took of the trace. An exporter that can send
    /// single spans sends only the others.
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered>;

    /// As `export`, for a trace whose session still runs: `update` follows.
    ///
    /// None: this target takes whole traces only, and got nothing (file store, Databricks, a server that keeps spans
    /// as an artifact). MLflow 3.2 keeps the previews of the first delivery, so the trace is sent when it has ended.
    fn begin(&mut self, _: &Trace, _: Option<&Receipt>) -> Option<Result<Delivered>> {
        None
    }

    /// Brings a trace that the target has up to date while its session runs. `changes` has all information of the
    /// trace, and only those spans that are new or changed; the target keeps the others.
    ///
    /// The root and the information belong together. Without the root, the target gets the spans alone: one request
    /// to a server. With it, the target gets the information too: a server is asked for the trace, and sent the spans
    /// and then the information. MLflow 3.6 to 3.18 ends a trace in progress when its root arrives; the information
    /// that follows reopens it.
    ///
    /// None: as for `begin`. `ExportError::Gone`: the target no longer has the trace; `begin` or `export` without a
    /// receipt sends it again. Any other error is of this update: only `export` shows whether the target takes the
    /// trace.
    fn update(&mut self, _: &Trace) -> Option<Result<Delivered>> {
        None
    }

    /// When the next `export`, `begin` or `update` gives up, if that is earlier than `Patience` allows. Local stores
    /// ignore it: they have a limit of their own for locks.
    fn give_up_at(&mut self, _: Option<Instant>) {}

    /// As `export` for each trace in order, at little more than the cost of one. None if the target takes one
    /// trace at a time, or refused one of these: then it stored none of them.
    fn export_together(&mut self, _: &[&Trace]) -> Option<Vec<Delivered>> {
        None
    }
}

/// The experiment that holds a delivered trace, and the number of spans sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub experiment_id: String,
    pub spans_sent: usize,
}

/// What a target that would take traces answers. The question sends and creates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The server's version, or the MLflow version of the database's schema, as text for users. None if the
    /// target does not exist yet or does not report it.
    pub version: Option<String>,
    /// The experiment's id; None if the first trace will create it.
    pub experiment_id: Option<String>,
    /// The server's time, from its response.
    pub clock: Option<Timestamp>,
}

pub type Result<T, E = ExportError> = std::result::Result<T, E>;

/// Why a target did not take a trace. The spool keeps the trace in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A later try may succeed; not before `after`, if the target requested a pause.
    #[error("{reason}")]
    Transient { reason: String, after: Option<Duration>, status: Option<u16> },
    /// The target failed while it searched for or took this trace: the cause may be either. The result of the
    /// next trace shows which.
    #[error("{reason}")]
    Unclear { reason: String, after: Option<Duration>, sign: Sign },
    /// The target takes nothing until a user changes it or the settings: credentials, an experiment, a
    /// version.
    #[error("{0}")]
    Target(String),
    /// The experiment of this trace is gone or not accessible; other traces may have another one.
    #[error("{0}")]
    Experiment(String),
    /// The target refuses this trace for good.
    #[error("{0}")]
    Trace(String),
    /// The target has archived the trace's spans and takes no more of them.
    #[error("{0}")]
    Archived(String),
    /// The target no longer has the trace that an update is for. Only `update` gives this error.
    #[error("{0}")]
    Gone(String),
    /// The user or the launcher asked the delivery to end.
    #[error("stopped when asked to")]
    Stopped,
}

/// What the exporter observed of the target after an unclear failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    None,
    /// The target shows this trace when asked, but does not take it.
    ShowsTrace,
}

/// The HTTP status of a rate limit: the trace is not its cause.
const TOO_MANY_REQUESTS: u16 = 429;

impl From<BadTree> for ExportError {
    fn from(error: BadTree) -> ExportError {
        ExportError::Trace(error.to_string())
    }
}

impl ExportError {
    pub fn transient(reason: impl Into<String>) -> ExportError {
        ExportError::Transient { reason: reason.into(), after: None, status: None }
    }

    pub fn unclear(reason: impl Into<String>) -> ExportError {
        ExportError::Unclear { reason: reason.into(), after: None, sign: Sign::None }
    }

    /// Converts the failure of a request that concerned one trace: a transient one becomes unclear.
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

/// How long a delivery may take.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// None: no limit.
    pub until: Option<Instant>,
    pub is_asked_to_end: &'a dyn Fn() -> bool,
    /// Called with the reason before a failed request is retried, and the delay until then.
    pub retrying: &'a dyn Fn(&str, Duration),
}

/// The random part of a pause: a number from 0 to 1, different for each process and each call, since std's hash
/// maps are seeded at random.
pub fn jitter() -> f64 {
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}

/// A target over a network, and what an exporter uses to reach it.
#[derive(Clone, Copy)]
pub struct Remote<'r, 'a> {
    pub target: &'r Target,
    pub access: &'r Access,
    pub patience: Patience<'a>,
}

impl Patience<'_> {
    /// The time left; None without a limit.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    pub fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}
