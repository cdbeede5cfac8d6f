//! MLflow's file store (a folder `mlruns`), written and read without MLflow.
//!
//! MLflow takes no lock and reads every file, so MLflow must be able to read the store at every moment:
//! - Each file is written to a temporary file and renamed: a reader finds the old one or the new one. The
//!   temporary file is in the folder of the trace, since in `tags` and `request_metadata` every file is a
//!   key.
//! - `trace_info.yaml` is written last. MLflow does not list a trace without it, so a new trace appears
//!   complete, and a crash before it leaves nothing visible. (A temporary folder for the trace would be
//!   worse: MLflow reads any folder with a `trace_info.yaml`, and fails for the whole experiment if its name
//!   is not the trace's id.)
//! - An update replaces single files, not the folder, so that a tag or an assessment that a user adds during
//!   the update stays. A crash in between leaves spans that are newer than the totals; the trace is still in
//!   the spool then, and its next delivery completes it.

mod error;
mod experiment;
mod files;
mod pairs;
#[cfg(test)]
mod tests;
mod trace;
mod yaml;

use crate::exporter::{Delivered, ExportError, Exporter, Readiness};
use crate::ids::TraceId;
use crate::lost_traces::{self, Lost, SentTrace};
use crate::receipt::Receipt;
use crate::target::Experiment;
use crate::trace::Trace;
use crate::wire;
use common::disk::{followed, make_private_folder, sync_folder, would_take_files};
use error::{FileStoreError, Result};
use experiment::{DEFAULT_ID, TRASH};
use files::{Files, if_there};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes traces to one store and one experiment.
#[derive(Debug)]
pub struct FileStoreExporter {
    root: PathBuf,
    experiment: Experiment,
    busy: Duration,
}

impl FileStoreExporter {
    /// `busy` is the longest wait for another codex-traced that writes to the store.
    pub fn open(
        root: &Path,
        experiment: Experiment,
        busy: Duration,
    ) -> Result<FileStoreExporter, ExportError> {
        let root = std::path::absolute(root).map_err(|error| FileStoreError::from(error).at(root))?;
        Ok(FileStoreExporter { root, experiment, busy })
    }

    fn write(&self, trace: &Trace) -> Result<String> {
        trace.check_tree()?;
        if !self.root.try_exists()? {
            create(&self.root)?;
        }
        let mut files = Files::open(&self.root)?;
        let lock = files.lock(self.busy)?;
        trace::write(&mut files, lock, trace, &self.experiment)
    }
}

impl Exporter for FileStoreExporter {
    /// Ignores the receipt: files that already have the right content are not written again.
    fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
        match self.write(trace) {
            Ok(experiment_id) => Ok(Delivered { experiment_id, spans_sent: trace.spans.len() }),
            Err(error) => Err(error.at(&self.root)),
        }
    }
}

/// Reads a trace. None if the trace or the store does not exist.
pub fn read(root: &Path, id: TraceId) -> Result<Option<Trace>, ExportError> {
    trace::read(root, id).map_err(|error| error.at(root))
}

/// Creates the store with experiment 0, as MLflow does, unless another process creates it at the same time.
/// Complete in a temporary folder first, then renamed: MLflow checks only whether the folder exists, so it must never
/// find an incomplete store. Only its owner can access the folder.
fn create(root: &Path) -> io::Result<()> {
    let end = followed(root);
    let parent = end.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_private_folder(parent)?;
    let private = Permissions::from_mode(0o700);
    let aside = tempfile::Builder::new().prefix(".mlruns-").permissions(private).tempdir_in(parent)?;
    let mut files = Files::open(aside.path())?;
    files.make_folder(&aside.path().join(TRASH))?;
    experiment::make_default(root, &mut files)?;
    files.settle()?;
    match fs::rename(aside.path(), &end) {
        Ok(()) => drop(aside.keep()),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {}
        Err(error) => return Err(error),
    }
    sync_folder(parent)
}

/// Asks whether the store would take traces. Creates and changes nothing.
pub fn readiness(root: &Path, wanted: &Experiment) -> Result<Readiness, ExportError> {
    look(root, wanted).map_err(|error| error.at(root))
}

fn look(root: &Path, wanted: &Experiment) -> Result<Readiness> {
    would_take_files(&followed(root))?;
    let there = experiment::all(root)?;
    let version = (!there.is_empty()).then(|| "a folder of files".to_owned());
    let experiment_id = experiment::among(there, wanted)?.map(|found| found.id);
    match wanted {
        Experiment::Id(id) if experiment_id.is_none() && (version.is_some() || id != DEFAULT_ID) => {
            Err(FileStoreError::NoExperiment(id.clone()))
        }
        _ => Ok(Readiness { version, experiment_id, clock: None }),
    }
}

/// Removes the trace from every experiment, with what users added to it. False if there was none; creates
/// nothing.
pub fn forget(root: &Path, id: TraceId, busy: Duration) -> Result<bool, ExportError> {
    forget_folders(root, id, busy).map_err(|error| error.at(root))
}

fn forget_folders(root: &Path, id: TraceId, busy: Duration) -> Result<bool> {
    if !root.try_exists()? {
        return Ok(false);
    }
    let _lock = Files::open(root)?.lock(busy)?;
    let mut any = false;
    for experiment in experiment::all(root)? {
        let folder = experiment.trace(&id.to_string());
        if if_there(fs::remove_dir_all(&folder))?.is_some() {
            any = true;
            sync_folder(folder.parent().unwrap_or(root))?;
        }
    }
    Ok(any)
}

/// The traces that the store no longer has.
pub fn lost(root: &Path, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    let failed = |error: io::Error| FileStoreError::from(error).at(root);
    let experiments = experiment::all(root).map_err(failed)?;
    let is_present = |trace: TraceId| {
        Ok(experiments.iter().any(|experiment| {
            let folder = experiment.trace(&trace.to_string());
            folder.join(trace::INFO).is_file() && folder.join("artifacts").join(wire::ARTIFACT).is_file()
        }))
    };
    lost_traces::find(sent, is_present, |experiment_id| {
        let experiment = experiments.iter().find(|experiment| experiment.id == experiment_id);
        experiment.map_or(Ok(None), |experiment| experiment.made().map_err(failed))
    })
}
