//! Bringing a trace to where people look at it.

pub mod deliver;
pub mod mlflow;

use crate::trace::model::Trace;

/// A place that takes traces.
pub trait Exporter {
    /// Stores the trace, whole or not at all. A trace that is there already is updated in place, and
    /// what people added to it (assessments, tags, a new name) stays.
    fn export(&mut self, trace: &Trace) -> Result<Delivered, ExportError>;
}

/// Where a trace stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub experiment_id: String,
}

/// Why a trace is not there yet. It stays in the spool either way.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Trying again later may help.
    #[error("{0}")]
    Transient(String),
    /// Only a change of the target or of its contents helps.
    #[error("{0}")]
    Permanent(String),
}
