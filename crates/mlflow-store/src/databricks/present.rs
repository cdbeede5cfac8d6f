//! Which traces a workspace still has, one request for each: a search by ids is untested there.

use super::exporter::DatabricksExporter;
use crate::exporter::{ExportError, Remote};
use crate::ids::TraceId;
use crate::lost::{self, Lost, SentTrace, TraceIndex};
use crate::rest::experiments;
use crate::rest::stored::StoredTrace;
use crate::target::Experiment;
use jiff::Timestamp;
use std::collections::HashSet;

pub fn lost(remote: Remote, profile: Option<&str>, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    // Nothing is sent, so this experiment is never used.
    let nowhere = Experiment::Id(String::new());
    lost::find(sent, &mut DatabricksExporter::open(remote, profile, nowhere)?)
}

impl TraceIndex for DatabricksExporter<'_> {
    fn present(&mut self, sent: &[SentTrace]) -> Result<HashSet<TraceId>, ExportError> {
        let mut present = HashSet::new();
        for one in sent {
            if StoredTrace::look(&self.workspace, one.trace)?.is_some() {
                present.insert(one.trace);
            }
        }
        Ok(present)
    }

    fn made(&mut self, experiment_id: &str) -> Result<Option<Timestamp>, ExportError> {
        experiments::created_at(&self.workspace, experiment_id)
    }
}
