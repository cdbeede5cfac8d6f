//! An MLflow database in a SQLite file, written and read without MLflow.

mod check;
mod create;
mod error;
mod experiment;
mod facts;
mod fill;
mod forget;
mod present;
mod read;
mod rows;
mod shape;
mod spans;
#[cfg(test)]
mod tests;
mod write;

pub use check::check;
pub use fill::{Filled, fill};
pub use forget::forget;
pub use present::lost;

use super::tree;
use crate::exporter::{Delivered, ExportError, Exporter};
use crate::ids::TraceId;
use crate::receipt::Receipt;
use crate::target::Experiment;
use crate::trace::Trace;
use common::disk;
use common::disk::file_system::FileSystem;
use error::{SqliteError, UnknownShape};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use shape::SchemaShape;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a read waits for another process's write.
const READ_BUSY: Duration = Duration::from_secs(2);

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
        exporter.settled(|| exporter.check()).map_err(|error| error.at(&exporter.path))?;
        // A failure here does not prevent the export.
        if let Err(error) = fill(&exporter.path, busy) {
            tracing::info!("cannot fill the columns that MLflow's upgrade left empty: {error}");
        }
        Ok(exporter)
    }

    /// Repeats `attempt` while the schema is incomplete. MLflow creates and upgrades a database in many small
    /// steps without a transaction: for seconds it has a schema of no version.
    fn settled<T>(&self, attempt: impl Fn() -> Result<T, SqliteError>) -> Result<T, SqliteError> {
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

    fn check(&self) -> Result<(), SqliteError> {
        SchemaShape::read(&self.connect(self.busy)?)?;
        Ok(())
    }

    /// Opens a connection. Each write opens a new one: a connection that stays open would write to a file
    /// that was deleted or replaced since.
    fn connect(&self, busy: Duration) -> Result<Connection, SqliteError> {
        if !self.path.try_exists()? {
            create::create(&disk::followed(&self.path), Timestamp::now())?;
        }
        let mut connection = connect_to(&self.path, busy)?;
        create::fill_if_empty(&mut connection, &disk::followed(&self.path), Timestamp::now())?;
        Ok(connection)
    }

    /// Writes all traces or none.
    fn write(&self, traces: &[&Trace], busy: Duration) -> Result<Vec<Delivered>, SqliteError> {
        traces.iter().try_for_each(|trace| tree::check(&trace.spans))?;
        let mut connection = self.connect(busy)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read inside the transaction, whose lock excludes an MLflow that upgrades the schema.
        let shape = SchemaShape::read(&transaction)?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut delivered = Vec::with_capacity(traces.len());
        for trace in traces {
            let experiment =
                write::write(&transaction, shape, trace, &self.experiment, folder, Timestamp::now())?;
            let experiment_id = experiment.to_string();
            delivered.push(Delivered { experiment_id, spans_sent: trace.spans.len() });
        }
        transaction.commit()?;
        Ok(delivered)
    }
}

impl Exporter for SqliteExporter {
    /// Ignores the receipt: rewriting rows of a local file costs less than finding the changed ones.
    fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
        let written = self.settled(|| self.write(&[trace], self.busy));
        let written = written.map_err(|error| error.at(&self.path))?;
        Ok(written.into_iter().next().expect("one trace, one answer"))
    }

    /// Writes all traces in one transaction, with one sync.
    fn export_together(&mut self, traces: &[&Trace]) -> Option<Vec<Delivered>> {
        let written = self.write(traces, self.busy.min(BRIEFLY));
        written
            .inspect_err(|error| tracing::info!("cannot write {} traces at once: {error}", traces.len()))
            .ok()
    }
}

/// Opens a connection for changes.
fn connect_to(path: &Path, busy: Duration) -> Result<Connection, SqliteError> {
    let connection = open(path, FileSystem::from_path(path), busy)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Wipes deleted content from the file's free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

/// A connection for changes, and the schema; None if the database is missing or empty.
fn connect_to_existing(
    path: &Path,
    busy: Duration,
) -> Result<Option<(Connection, SchemaShape)>, SqliteError> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let connection = connect_to(path, busy)?;
    if create::is_empty(&connection)? {
        return Ok(None);
    }
    let shape = SchemaShape::read(&connection)?;
    Ok(Some((connection, shape)))
}

/// Opens an existing file for writing, or read-only if the file allows no more; creates nothing. A read-only
/// connection would leave the log of a database in write-ahead mode behind.
///
/// SQLite's write-ahead log needs memory that all its users share. Two machines share none, and would destroy
/// a database that they open in that mode at the same time. Neither codex-traced nor MLflow's servers and
/// clients choose the mode, but `mlflow migrate-filestore` does, and the file keeps it. So on a network file
/// system such a database is opened with SQLite's exclusive locking, which needs no shared memory: the
/// connection has the file alone, or waits for the process that has it open. Without the log, SQLite's usual
/// locks are as good as the file system's.
fn open(path: &Path, place: FileSystem, busy: Duration) -> Result<Connection, SqliteError> {
    // Without a log, two connections with exclusive locking would block each other. Read before the
    // connection exists, since closing any descriptor of a file drops the locks that this process has on it.
    let locks_exclusively = place == FileSystem::Network && keeps_a_log(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    if locks_exclusively {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}

/// Whether the database is in write-ahead mode, from bytes 18 and 19 of the file. SQLite itself would have to
/// open the log to answer.
fn keeps_a_log(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.get(18..20).is_some_and(|versions| versions.contains(&2)))
}

/// Reads a trace. None if the trace or the database does not exist.
pub fn read(path: &Path, id: TraceId) -> Result<Option<Trace>, ExportError> {
    reading(path, |connection, shape| read::trace(connection, shape, id))
}

/// Runs a query in one read transaction. None if the database is missing or empty; creates nothing.
fn reading<T>(
    path: &Path,
    query: impl FnOnce(&Connection, SchemaShape) -> Result<Option<T>, SqliteError>,
) -> Result<Option<T>, ExportError> {
    let answer = || {
        if !path.try_exists()? {
            return Ok(None);
        }
        let mut connection = open(path, FileSystem::from_path(path), READ_BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        let transaction = connection.transaction()?;
        if create::is_empty(&transaction)? {
            return Ok(None);
        }
        let shape = SchemaShape::read(&transaction)?;
        query(&transaction, shape)
    };
    answer().map_err(|error: SqliteError| error.at(path))
}
