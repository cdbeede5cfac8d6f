//! Which traces a workspace still has, one request for each: a search by ids is untested there.

use super::exporter::DatabricksExporter;
use crate::exporter::{ExportError, Remote};
use crate::lost::{self, Lost, SentTrace};
use crate::rest::experiments;
use crate::rest::stored::StoredTrace;
use crate::target::Experiment;
use std::collections::HashSet;

pub fn lost(remote: Remote, profile: Option<&str>, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    // Nothing is sent, so this experiment is never used.
    let nowhere = Experiment::Id(String::new());
    let workspace = DatabricksExporter::open(remote, profile, nowhere)?.workspace;
    let mut present = HashSet::new();
    for one in sent {
        if StoredTrace::look(&workspace, one.trace)?.is_some() {
            present.insert(one.trace);
        }
    }
    lost::find(sent, &present, |experiment_id| experiments::created_at(&workspace, experiment_id))
}
