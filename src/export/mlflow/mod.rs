//! MLflow as a target: one file per kind of store.

pub mod keys;
pub mod sqlite;
pub mod tags;
pub mod tree;
pub mod wire;

use super::{ExportError, Exporter};
use crate::config::target::{Experiment, Target};
use sqlite::SqliteExporter;
use std::time::Duration;

/// The exporter for a target. `patience` is how long it may wait for somebody else's write.
pub fn exporter(
    target: &Target,
    experiment: &Experiment,
    patience: Duration,
) -> Result<Box<dyn Exporter>, ExportError> {
    match target {
        Target::Sqlite(path) => Ok(Box::new(SqliteExporter::open(path, experiment.clone(), patience)?)),
        Target::Http(_) | Target::Databricks { .. } | Target::FileStore(_) => Err(ExportError::Permanent(
            format!("this version delivers to SQLite only, so the trace for {target} waits for one that can"),
        )),
    }
}
