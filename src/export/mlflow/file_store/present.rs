//! Which traces a file store still has.

use super::error::StoreError;
use super::experiment;
use super::write::INFO;
use crate::export::ExportError;
use crate::export::lost::{self, Lost, Place, Sent};
use crate::export::mlflow::artifact;
use crate::trace::ids::TraceId;
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::Path;

pub fn lost(root: &Path, sent: &[Sent]) -> Result<Lost, ExportError> {
    lost::of(sent, &mut Store(root))
}

struct Store<'a>(&'a Path);

impl Store<'_> {
    fn failed(&self, error: impl Into<StoreError>) -> ExportError {
        error.into().at(self.0)
    }
}

impl Place for Store<'_> {
    fn present(&mut self, sent: &[Sent]) -> Result<HashSet<TraceId>, ExportError> {
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
