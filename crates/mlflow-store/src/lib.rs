//! A trace, and where it is kept: in MLflow's SQLite file, file store, server or Databricks workspace, or in an
//! OpenTelemetry collector. Nothing about the files of an agent.

pub mod databricks;
mod derived_attributes;
pub mod download;
pub mod exporter;
pub mod file_store;
pub mod http;
pub mod ids;
pub mod lost_traces;
pub mod mlflow_keys;
pub mod otlp;
pub mod page_address;
pub mod receipt;
mod rest;
pub mod sqlite;
mod tags;
pub mod target;
#[cfg(test)]
mod tests;
pub mod trace;
mod trace_info;
mod wire;

use crate::exporter::{Exporter, Patience, Readiness, Remote, Result};
use crate::ids::TraceId;
use crate::lost_traces::{Lost, SentTrace};
use crate::target::access::Access;
use crate::target::{Experiment, Target};
use common::variables::Variables;
use databricks::DatabricksExporter;
use file_store::FileStoreExporter;
use http::HttpExporter;
use otlp::OtlpExporter;
use sqlite::{Filled, SqliteExporter};
use std::time::Duration;

/// How long to wait for another process's write to a local store.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the exporter of a target.
pub fn exporter<'a>(
    target: &Target,
    experiment: &Experiment,
    access: &'a Access,
    patience: Patience<'a>,
) -> Result<Box<dyn Exporter + 'a>> {
    let busy = patience.left().map_or(BUSY, |left| left.min(BUSY));
    let (remote, experiment) = (Remote { target, access, patience }, experiment.clone());
    Ok(match target {
        Target::Sqlite(path) => Box::new(SqliteExporter::open(path, experiment, busy)?),
        Target::FileStore(root) => Box::new(FileStoreExporter::open(root, experiment, busy)?),
        Target::Http(server) => Box::new(HttpExporter::open(remote, &server.url, experiment)?),
        Target::Databricks { profile } => {
            Box::new(DatabricksExporter::open(remote, profile.as_deref(), experiment)?)
        }
        Target::Otlp(url) => Box::new(OtlpExporter::open(remote, url, &experiment)?),
    })
}

/// The access without retries: a user waits for the answer, and can ask again.
fn without_retries(access: &Access) -> Access {
    let variables = Variables::from([("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")]).or(&access.variables);
    Access { variables, ..access.clone() }
}

/// Asks whether the target would take traces. Sends and creates nothing.
pub fn readiness(
    target: &Target,
    experiment: &Experiment,
    access: &Access,
    patience: Patience,
) -> Result<Readiness> {
    let remote = Remote { target, access: &without_retries(access), patience };
    match target {
        Target::Sqlite(path) => sqlite::readiness(path, experiment),
        Target::FileStore(root) => file_store::readiness(root, experiment),
        Target::Http(server) => http::readiness(remote, &server.url, experiment),
        Target::Databricks { profile } => databricks::readiness(remote, profile.as_deref(), experiment),
        Target::Otlp(url) => otlp::readiness(remote, url),
    }
}

/// Fills the columns that an upgrade of MLflow left empty in rows of codex-traced; None for a target without
/// such columns.
pub fn fill(target: &Target, patience: Duration) -> Option<Result<Filled>> {
    match target {
        Target::Sqlite(path) => Some(sqlite::fill(path, patience)),
        Target::FileStore(_) | Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => None,
    }
}

/// The traces of `sent` that the target no longer has. Changes nothing there.
pub fn lost(target: &Target, sent: &[SentTrace], access: &Access, patience: Patience) -> Result<Lost> {
    let remote = Remote { target, access: &without_retries(access), patience };
    match target {
        Target::Sqlite(path) => sqlite::lost(path, sent),
        Target::FileStore(root) => file_store::lost(root, sent),
        Target::Http(server) => http::lost(remote, &server.url, sent),
        Target::Databricks { profile } => databricks::lost(remote, profile.as_deref(), sent),
        // A collector answers no question about its traces.
        Target::Otlp(_) => Ok(Lost::new()),
    }
}

/// Removes a trace from a local store. False if it had none; None for a remote target.
pub fn forget(target: &Target, trace: TraceId) -> Option<Result<bool>> {
    match target {
        Target::Sqlite(path) => Some(sqlite::forget(path, trace, BUSY)),
        Target::FileStore(root) => Some(file_store::forget(root, trace, BUSY)),
        Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => None,
    }
}

/// What a user should know before the first trace goes to this target.
pub fn introduction(target: &Target) -> Option<String> {
    match target {
        Target::FileStore(root) => Some(format!(
            "traces go to the file store {}\n  hint: MLflow 3.14 and later opens it only with MLFLOW_ALLOW_FILE_STORE=true",
            root.display()
        )),
        _ => None,
    }
}
