//! Why a database did not take a trace, and whether a later try may succeed.

use crate::exporter::ExportError;
use crate::trace::BadTree;
use rusqlite::ErrorCode;
use std::io;
use std::path::Path;

pub(super) type Result<T, E = SqliteError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteError {
    #[error("{0}")]
    Tree(#[from] BadTree),
    #[error("database schema is not one of MLflow 3.3 to 3.18: {0}")]
    Shape(#[from] UnknownShape),
    #[error("experiment {0} does not exist")]
    NoExperiment(String),
    #[error("experiment {0} was deleted in MLflow (restore it, or choose another)")]
    DeletedExperiment(String),
    #[error("MLflow moved the spans of {trace} out of the database ({location})")]
    Archived { trace: String, location: String },
    #[error("database has no trace {0}")]
    Gone(String),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("find or create the database: {0}")]
    File(#[from] io::Error),
}

/// Why a database's schema cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownShape {
    #[error("table {0} is missing (upgrade it with `mlflow db upgrade`, or choose another tracking URI)")]
    NoTable(&'static str),
    #[error(
        "column {0}.{1} is missing (upgrade it with `mlflow db upgrade`, or choose another tracking URI)"
    )]
    NoColumn(&'static str, &'static str),
    #[error("column {0}.{1} is new and must be filled (update codex-traced)")]
    NewColumn(&'static str, String),
}

impl SqliteError {
    /// Converts to an exporter's error, which names the file.
    pub(super) fn at(self, path: &Path) -> ExportError {
        let path = path.display();
        let text = format!("{self}: {path}");
        let transient = |reason: &str| ExportError::transient(format!("{reason}: {path}"));
        match &self {
            SqliteError::Tree(_) => ExportError::Trace(text),
            SqliteError::Archived { .. } => ExportError::Archived(text),
            SqliteError::Gone(_) => ExportError::Gone(text),
            SqliteError::NoExperiment(_) | SqliteError::DeletedExperiment(_) => ExportError::Experiment(text),
            SqliteError::Shape(_) => ExportError::Target(text),
            SqliteError::File(error) => match error.kind() {
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::NotADirectory => ExportError::Target(text),
                _ => ExportError::transient(text),
            },
            SqliteError::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => transient("database is locked"),
                Some(ErrorCode::DiskFull) => transient("disk is full"),
                // Also the error of a file system that is not mounted yet.
                Some(ErrorCode::CannotOpen) => transient("database cannot be opened"),
                Some(ErrorCode::SystemIoFailure) => ExportError::transient(text),
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    ExportError::Target(format!("database may not be written: {path}"))
                }
                Some(ErrorCode::NotADatabase) => ExportError::Target(format!(
                    "not a SQLite database: {path} (move it away, or choose another tracking URI)"
                )),
                Some(ErrorCode::DatabaseCorrupt) => ExportError::Target(text),
                // A constraint or a trigger that a user added, or a value that is too large: may concern only
                // this trace.
                _ => ExportError::unclear(text),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_failure_that_may_pass_is_transient() {
        let cases = [
            (ffi::SQLITE_BUSY, None, "transient: database is locked: /x.db"),
            (ffi::SQLITE_LOCKED, None, "transient: database is locked: /x.db"),
            (ffi::SQLITE_FULL, None, "transient: disk is full: /x.db"),
            (ffi::SQLITE_IOERR_FSYNC, Some("disk I/O error"), "transient: disk I/O error: /x.db"),
            (ffi::SQLITE_CANTOPEN, None, "transient: database cannot be opened: /x.db"),
            (ffi::SQLITE_READONLY, None, "target: database may not be written: /x.db"),
            (ffi::SQLITE_PERM, None, "target: database may not be written: /x.db"),
            (
                ffi::SQLITE_CORRUPT,
                Some("database disk image is malformed"),
                "target: database disk image is malformed: /x.db",
            ),
            (
                ffi::SQLITE_NOTADB,
                None,
                "target: not a SQLite database: /x.db (move it away, or choose another tracking URI)",
            ),
        ];
        for (code, words, expected) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), words.map(str::to_owned));
            let shown = match SqliteError::from(error).at(Path::new("/x.db")) {
                ExportError::Transient { reason, .. } => format!("transient: {reason}"),
                other => format!("target: {other}"),
            };
            assert_eq!(shown, expected);
        }
    }
}
