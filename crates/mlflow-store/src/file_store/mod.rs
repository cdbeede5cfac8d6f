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

mod check;
mod create;
mod error;
mod experiment;
mod files;
mod forget;
mod lock;
mod pairs;
mod present;
mod read;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

pub use check::check;
pub use forget::forget;
pub use present::lost;

use crate::exporter::{Delivered, ExportError, Exporter};
use crate::ids::TraceId;
use crate::receipt::Receipt;
use crate::target::Experiment;
use crate::trace::Trace;
use error::FileStoreError;
use files::Files;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of a store that holds deleted experiments.
const TRASH: &str = ".trash";

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

    fn write(&self, trace: &Trace) -> Result<String, FileStoreError> {
        super::tree::check(&trace.spans)?;
        let now = Timestamp::now();
        if !self.root.try_exists()? {
            create::create(&self.root, now)?;
        }
        let mut files = Files::open(&self.root)?;
        let lock = lock::take(&self.root, &files, self.busy)?;
        write::write(&mut files, lock, trace, &self.experiment, now)
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
    read::trace(root, id).map_err(|error| error.at(root))
}
