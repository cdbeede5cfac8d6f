//! Which traces a file store still has.

use super::error::FileStoreError;
use super::experiment;
use super::write::INFO;
use crate::artifact;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use crate::lost::{self, Lost, SentTrace, TraceIndex};
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::Path;

pub fn lost(root: &Path, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    lost::find(sent, &mut StoreIndex(root))
}

struct StoreIndex<'a>(&'a Path);

impl StoreIndex<'_> {
    fn failed(&self, error: impl Into<FileStoreError>) -> ExportError {
        error.into().at(self.0)
    }
}

impl TraceIndex for StoreIndex<'_> {
    fn present(&mut self, sent: &[SentTrace]) -> Result<HashSet<TraceId>, ExportError> {
        let experiments = experiment::all(self.0).map_err(|error| self.failed(error))?;
        let is_there = |trace: TraceId| {
            experiments.iter().any(|experiment| {
                let folder = experiment.trace(&trace.to_string());
                folder.join(INFO).is_file() && folder.join("artifacts").join(artifact::FILE).is_file()
            })
        };
        Ok(sent.iter().map(|one| one.trace).filter(|trace| is_there(*trace)).collect())
    }

    fn made(&mut self, experiment_id: &str) -> Result<Option<Timestamp>, ExportError> {
        let mut experiments = experiment::all(self.0).map_err(|error| self.failed(error))?;
        experiments.retain(|experiment| experiment.id == experiment_id);
        experiments.first().map_or(Ok(None), |found| found.made().map_err(|error| self.failed(error)))
    }
}
