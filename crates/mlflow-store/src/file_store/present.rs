//! Which traces a file store still has.

use super::error::FileStoreError;
use super::experiment;
use super::write::INFO;
use crate::artifact;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use crate::lost::{self, Lost, SentTrace};
use std::io;
use std::path::Path;

pub fn lost(root: &Path, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    let failed = |error: io::Error| FileStoreError::from(error).at(root);
    let experiments = experiment::all(root).map_err(failed)?;
    let is_there = |trace: &TraceId| {
        experiments.iter().any(|experiment| {
            let folder = experiment.trace(&trace.to_string());
            folder.join(INFO).is_file() && folder.join("artifacts").join(artifact::FILE).is_file()
        })
    };
    let present = sent.iter().map(|one| one.trace).filter(is_there).collect();
    lost::find(sent, &present, |experiment_id| {
        let experiment = experiments.iter().find(|experiment| experiment.id == experiment_id);
        experiment.map_or(Ok(None), |experiment| experiment.made().map_err(failed))
    })
}
