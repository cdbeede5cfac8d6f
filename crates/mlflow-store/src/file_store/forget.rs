//! Removes one trace from a store, with its tags, assessments and artifacts.

use super::error::FileStoreError;
use super::experiment;
use super::files::Files;
use super::lock;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Removes the trace from every experiment, with what users added to it. False if there was none; creates
/// nothing.
pub fn forget(root: &Path, id: TraceId, busy: Duration) -> Result<bool, ExportError> {
    forget_folders(root, id, busy).map_err(|error| error.at(root))
}

fn forget_folders(root: &Path, id: TraceId, busy: Duration) -> Result<bool, FileStoreError> {
    if !root.try_exists()? {
        return Ok(false);
    }
    let _lock = lock::take(root, &Files::open(root)?, busy)?;
    let mut any = false;
    for experiment in experiment::all(root)? {
        let folder = experiment.trace(&id.to_string());
        match fs::remove_dir_all(&folder) {
            Ok(()) => any = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(above) = folder.parent() {
            fs::File::open(above)?.sync_all()?;
        }
    }
    Ok(any)
}
