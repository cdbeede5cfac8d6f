//! MLflow as a target: one folder per kind of store.

pub mod artifact;
pub mod http;
pub mod info;
pub mod keys;
pub mod sqlite;
pub mod tags;
pub mod tree;
pub mod wire;

use super::{Checked, ExportError, Exporter, Patience};
use crate::config::access::Access;
use crate::config::target::{Experiment, Target};
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
    match target {
        Target::Sqlite(path) => {
            let busy = patience.left().map_or(BUSY, |left| left.min(BUSY));
            Ok(Box::new(SqliteExporter::open(path, experiment.clone(), busy)?))
        }
        Target::Http(url) => {
            Ok(Box::new(HttpExporter::open(target, url, experiment.clone(), access, patience)?))
        }
        Target::Databricks { .. } | Target::FileStore(_) => Err(ExportError::Target(format!(
            "this version delivers to SQLite and to servers only, so the trace for {target} waits for one that can"
        ))),
    }
}

/// Whether the target would take traces. Sends none, and makes nothing.
pub fn check(
    target: &Target,
    experiment: &Experiment,
    _access: &Access,
    _patience: Patience,
) -> Result<Checked, ExportError> {
    match target {
        Target::Sqlite(path) => sqlite::check(path, experiment),
        Target::Http(_) | Target::Databricks { .. } | Target::FileStore(_) => {
            Err(ExportError::Target(format!("this version delivers to SQLite only, not to {target}")))
        }
    }
}
