//! An MLflow database in a SQLite file, written and read without MLflow.

mod connection;
mod cost_fill;
mod error;
mod experiment;
mod rows;
mod schema;
mod span_contents;
#[cfg(test)]
mod tests;
mod trace;

pub use cost_fill::{Filled, fill};

use crate::exporter::{Delivered, ExportError, Exporter, Readiness};
use crate::ids::TraceId;
use crate::lost_traces::{self, Lost, SentTrace};
use crate::mlflow_keys;
use crate::receipt::Receipt;
use crate::target::Experiment;
use crate::trace::Trace;
use common::disk::{followed, would_take_files};
use connection::{connect, connect_to_existing, reading};
use error::{Result, SqliteError, UnknownShape};
use jiff::Timestamp;
use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};
use schema::SchemaShape;
use span_contents::{Contents, with_contents};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The id of the experiment that every new database has.
const DEFAULT_ID: &str = "0";

/// Links between traces and runs (since MLflow 3.3), which no foreign key removes with the trace.
const LINKS: &str = "entity_associations";

/// Traces per statement; SQLite takes 32 766 values in one.
const AT_ONCE: usize = 10_000;

/// How long a batch of traces waits for another process's write. Single traces wait for the whole `busy`
/// time.
const BRIEFLY: Duration = Duration::from_millis(500);

/// Pause between two looks at a database that MLflow creates or upgrades.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Writes traces to one database and one experiment.
#[derive(Debug)]
pub struct SqliteExporter {
    path: PathBuf,
    experiment: Experiment,
    busy: Duration,
}

impl SqliteExporter {
    /// Creates the database if it is missing, and refuses an unknown schema; never changes an existing one.
    /// `busy` is the longest wait for a lock, and also for an MLflow that creates or upgrades the database.
    pub fn open(path: &Path, experiment: Experiment, busy: Duration) -> Result<SqliteExporter, ExportError> {
        let path = std::path::absolute(path).map_err(|error| SqliteError::from(error).at(path))?;
        let exporter = SqliteExporter { path, experiment, busy };
        exporter
            .settled(|| SchemaShape::read(&connect(&exporter.path, busy)?))
            .map_err(|error| error.at(&exporter.path))?;
        // A failure here does not prevent the export.
        if let Err(error) = fill(&exporter.path, busy) {
            tracing::info!("cannot fill the columns that MLflow's upgrade left empty: {error}");
        }
        Ok(exporter)
    }

    /// Repeats `attempt` while the schema is incomplete. MLflow creates and upgrades a database in many small
    /// steps without a transaction: for seconds it has a schema of no version.
    fn settled<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            match attempt() {
                Err(SqliteError::Shape(UnknownShape::NoTable(_) | UnknownShape::NoColumn(..)))
                    if began.elapsed() < self.busy =>
                {
                    thread::sleep(LOOK_AGAIN);
                }
                result => return result,
            }
        }
    }

    /// Writes all traces or none.
    fn write(&self, traces: &[&Trace], busy: Duration) -> Result<Vec<Delivered>> {
        traces.iter().try_for_each(|trace| trace.check_tree())?;
        with_contents(traces, |contents| self.write_with(contents, traces, busy))
    }

    fn write_with(
        &self,
        contents: &mut Contents,
        traces: &[&Trace],
        busy: Duration,
    ) -> Result<Vec<Delivered>> {
        // A connection that stays open would write to a file that was deleted or replaced since.
        let mut connection = connect(&self.path, busy)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read inside the transaction, whose lock excludes an MLflow that upgrades the schema.
        let shape = SchemaShape::read(&transaction)?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut delivered = Vec::with_capacity(traces.len());
        for trace in traces {
            let experiment = trace::write(&transaction, shape, trace, contents, &self.experiment, folder)?;
            delivered
                .push(Delivered { experiment_id: experiment.to_string(), spans_sent: trace.spans.len() });
        }
        transaction.commit()?;
        Ok(delivered)
    }

    /// Writes some spans of a trace that the database has, and its information.
    fn write_changes(&self, changes: &Trace) -> Result<Delivered> {
        changes.check_part()?;
        let gone = || SqliteError::Gone(changes.id.to_string());
        let (mut connection, _) = connect_to_existing(&self.path, self.busy)?.ok_or_else(gone)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let shape = SchemaShape::read(&transaction)?;
        let experiment =
            with_contents(&[changes], |contents| trace::update(&transaction, shape, changes, contents))?
                .ok_or_else(gone)?;
        transaction.commit()?;
        Ok(Delivered { experiment_id: experiment.to_string(), spans_sent: changes.spans.len() })
    }
}

impl Exporter for SqliteExporter {
    /// Ignores the receipt: it compares each row with the span, so it is right in a restored database too, and
    /// writes what differs.
    fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
        let written = self.settled(|| self.write(&[trace], self.busy));
        let written = written.map_err(|error| error.at(&self.path))?;
        Ok(written.into_iter().next().expect("one trace, one answer"))
    }

    fn begin(&mut self, trace: &Trace, before: Option<&Receipt>) -> Option<Result<Delivered, ExportError>> {
        Some(self.export(trace, before))
    }

    /// In one transaction, which writes as much for a long session as for a short one.
    fn update(&mut self, changes: &Trace) -> Option<Result<Delivered, ExportError>> {
        let written = self.settled(|| self.write_changes(changes));
        Some(written.map_err(|error| error.at(&self.path)))
    }

    /// Writes all traces in one transaction, with one sync.
    fn export_together(&mut self, traces: &[&Trace]) -> Option<Vec<Delivered>> {
        let written = self.write(traces, self.busy.min(BRIEFLY));
        written
            .inspect_err(|error| tracing::info!("cannot write {} traces at once: {error}", traces.len()))
            .ok()
    }
}

/// Reads a trace. None if the trace or the database does not exist.
pub fn read(path: &Path, id: TraceId) -> Result<Option<Trace>, ExportError> {
    reading(path, |connection, shape| trace::read(connection, shape, id))
}

/// Asks whether the database would take traces. Creates and changes nothing.
pub fn readiness(path: &Path, wanted: &Experiment) -> Result<Readiness, ExportError> {
    let found = reading(path, |connection, shape| {
        let experiment_id = match (experiment::id_of(connection, shape, wanted)?, wanted) {
            (Some(id), _) => Some(experiment::active(connection, id)?.id.to_string()),
            (None, Experiment::Name(_)) => None,
            (None, Experiment::Id(id)) => return Err(SqliteError::NoExperiment(id.clone())),
        };
        Ok(Some(Readiness { version: Some(shape.version(connection)?), experiment_id, clock: None }))
    })?;
    let failed = |error: io::Error| SqliteError::from(error).at(path);
    let end = followed(path);
    // SQLite writes its journal to the same folder.
    would_take_files(end.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    if end.exists() {
        access(&end, AccessFlags::W_OK).map_err(|error| failed(error.into()))?;
    }
    match (found, wanted) {
        (Some(found), _) => Ok(found),
        (None, Experiment::Id(id)) if id != DEFAULT_ID => Err(SqliteError::NoExperiment(id.clone()).at(path)),
        (None, _) => Ok(Readiness::default()),
    }
}

/// Removes the trace, with what users added to it. False if there was none; creates nothing. `secure_delete`,
/// which `connect_to` sets, wipes it from the file's free pages too.
pub fn forget(path: &Path, id: TraceId, busy: Duration) -> Result<bool, ExportError> {
    forget_rows(path, &id.to_string(), busy).map_err(|error| error.at(path))
}

fn forget_rows(path: &Path, key: &str, busy: Duration) -> Result<bool> {
    let Some((mut connection, _)) = connect_to_existing(path, busy)? else { return Ok(false) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = transaction.execute("DELETE FROM trace_info WHERE request_id = ?", [key])?;
    if transaction.table_exists(None, LINKS)? {
        transaction
            .execute(&format!("DELETE FROM {LINKS} WHERE source_id = ?1 OR destination_id = ?1"), [key])?;
    }
    transaction.commit()?;
    // A write-ahead log may still hold the trace. If another process reads the log, it is truncated when that
    // one ends.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(count > 0)
}

/// The traces of which the database no longer has the row, or the spans unless they are archived.
pub fn lost(path: &Path, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    let present: Option<HashSet<TraceId>> = reading(path, |connection, _| {
        let some = sent.chunks(AT_ONCE).map(|some| traces(connection, some));
        Ok(Some(some.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()))
    })?;
    let present = present.unwrap_or_default();
    let is_present = |trace| Ok(present.contains(&trace));
    lost_traces::find(sent, is_present, |experiment_id| {
        reading(path, |connection, _| {
            let query = "SELECT coalesce(creation_time, 0) FROM experiments
                         WHERE CAST(experiment_id AS TEXT) = ?1 AND lifecycle_stage IS NOT 'deleted'";
            let time = connection.query_row(query, [experiment_id], |row| row.get(0)).optional()?;
            Ok(time.and_then(|time| Timestamp::from_millisecond(time).ok()))
        })
    })
}

fn traces(connection: &Connection, sent: &[SentTrace]) -> Result<Vec<TraceId>> {
    let marks = vec!["?"; sent.len()].join(", ");
    // An archived trace has a tag with another location of its spans.
    let query = format!(
        "SELECT request_id FROM trace_info AS info WHERE request_id IN ({marks})
           AND (EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = info.request_id)
                OR NOT EXISTS (SELECT 1 FROM trace_tags AS tag WHERE tag.request_id = info.request_id
                               AND tag.key = '{}' AND tag.value = '{}'))",
        mlflow_keys::SPANS_LOCATION,
        mlflow_keys::IN_TRACKING_STORE
    );
    let mut statement = connection.prepare(&query)?;
    let ids = params_from_iter(sent.iter().map(|one| one.trace.to_string()));
    let found = statement.query_map(ids, |row| row.get::<_, String>(0))?;
    let found = found.collect::<Result<Vec<String>, _>>()?;
    Ok(found.iter().filter_map(|id| id.parse().ok()).collect())
}
