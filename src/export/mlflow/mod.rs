//! MLflow as a target: one folder per kind of store.

pub mod artifact;
pub mod file_store;
pub mod http;
pub mod info;
pub mod keys;
pub mod page;
#[cfg(test)]
mod sample;
pub mod sqlite;
pub mod tags;
pub mod tree;
pub mod wire;

use super::{ExportError, Exporter, Patience};
use crate::config::access::Access;
use crate::config::target::{Experiment, Target};
use file_store::FileStoreExporter;
use http::HttpExporter;
use sqlite::SqliteExporter;
use std::time::Duration;

/// How long to wait for somebody else's write to a local store.
const BUSY: Duration = Duration::from_secs(10);

/// The exporter for a target.
pub fn exporter<'a>(
    target: &Target,
    experiment: &Experiment,
    access: &'a Access,
    patience: Patience<'a>,
) -> Result<Box<dyn Exporter + 'a>, ExportError> {
    let busy = patience.left().map_or(BUSY, |left| left.min(BUSY));
    match target {
        Target::Sqlite(path) => Ok(Box::new(SqliteExporter::open(path, experiment.clone(), busy)?)),
        Target::FileStore(root) => Ok(Box::new(FileStoreExporter::open(root, experiment.clone(), busy)?)),
        Target::Http(url) => {
            Ok(Box::new(HttpExporter::open(target, url, experiment.clone(), access, patience)?))
        }
        Target::Databricks { .. } => Err(ExportError::Target(format!(
            "this version delivers to files and to servers only, so the trace for {target} waits for one that can"
        ))),
    }
}

/// What to know about a target before the first trace goes there.
pub fn introduction(target: &Target) -> Option<String> {
    match target {
        Target::FileStore(root) if !file_store::is_known(root) => Some(format!(
            "traces go to the file store {}\n  hint: MLflow 3.14 and later opens it only with MLFLOW_ALLOW_FILE_STORE=true",
            root.display()
        )),
        _ => None,
    }
}
