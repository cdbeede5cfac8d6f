//! Why a file store did not take a trace, and whether a later try may succeed.

use crate::exporter::ExportError;
use crate::trace::BadTree;
use std::io;
use std::path::Path;

pub(super) type Result<T, E = FileStoreError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(super) enum FileStoreError {
    #[error("{0}")]
    Tree(#[from] BadTree),
    #[error("experiment {0} does not exist")]
    NoExperiment(String),
    #[error("experiment {0} was deleted in MLflow (restore it, or choose another)")]
    DeletedExperiment(String),
    #[error("experiment {0} has no meta.yaml that can be read (repair it, or choose another experiment)")]
    BadExperiment(String),
    #[error("another codex-traced is writing to the file store")]
    Busy,
    /// MLflow keeps `a/b` as a file in the folder `a`.
    #[error("the key {0} has no room beside another that begins or goes on with it")]
    Key(String),
    #[error("write to the file store: {0}")]
    File(#[from] io::Error),
}

impl FileStoreError {
    /// Converts to an exporter's error, which names the store.
    pub(super) fn at(self, root: &Path) -> ExportError {
        let said = format!("{self}: {}", root.display());
        match &self {
            FileStoreError::Tree(_) | FileStoreError::Key(_) => ExportError::Trace(said),
            FileStoreError::NoExperiment(_)
            | FileStoreError::DeletedExperiment(_)
            | FileStoreError::BadExperiment(_) => ExportError::Experiment(said),
            FileStoreError::Busy => ExportError::transient(said),
            FileStoreError::File(error) => match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => ExportError::Target(said),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ExportError::transient(said),
                // The folder of one trace may be unreadable, replaced by a file, or deleted during the write.
                _ if root.is_dir() => ExportError::unclear(said),
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => ExportError::Target(said),
                // The store's file system may not be mounted yet.
                _ => ExportError::transient(said),
            },
        }
    }
}
