//! Exports traces to a Databricks workspace: information by its REST API, spans as a file in the cloud's
//! storage.

mod exporter;
mod grant;
mod login;
mod profile;
mod refusal;
mod rest;
mod upload;
mod workspace;

pub use exporter::DatabricksExporter;
pub use login::host;

use crate::exporter::{ExportError, Readiness, Remote};
use crate::lost::{self, Lost, SentTrace};
use crate::rest::experiments;
use crate::rest::stored::StoredTrace;
use crate::target::Experiment;
use std::collections::HashSet;
use workspace::connect;

/// Asks whether the workspace answers and has the experiment; changes nothing.
pub fn readiness(
    remote: Remote,
    profile: Option<&str>,
    wanted: &Experiment,
) -> Result<Readiness, ExportError> {
    let experiment_id = experiments::find(&connect(remote, profile)?, wanted)?;
    Ok(Readiness { experiment_id, ..Readiness::default() })
}

/// The traces that the workspace no longer has, by one request for each: a search by ids is untested there.
pub fn lost(remote: Remote, profile: Option<&str>, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    let workspace = connect(remote, profile)?;
    let mut present = HashSet::new();
    for one in sent {
        if StoredTrace::look(&workspace, one.trace)?.is_some() {
            present.insert(one.trace);
        }
    }
    lost::find(sent, &present, |experiment_id| experiments::created_at(&workspace, experiment_id))
}
