//! An MLflow database in a SQLite file: MLflow's own tables, written and read without MLflow.

mod check;
mod create;
mod error;
mod experiment;
mod facts;
mod fill;
mod forget;
mod present;
mod read;
mod shape;
mod spans;
#[cfg(test)]
mod tests;
mod write;

use super::tree;
use crate::config::target::Experiment;
use crate::disk;
use crate::disk::file_system::FileSystem;
use crate::export::receipt::Receipt;
use crate::export::{Delivered, ExportError, Exporter};
use crate::trace::ids::TraceId;
use crate::trace::model::Trace;
use error::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use shape::{Shape, UnknownShape};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a reader waits for somebody who is writing.
const READ_BUSY: Duration = Duration::from_secs(2);

/// How long several traces together wait for somebody who is writing. One by one they wait for as long as they may.
const BRIEFLY: Duration = Duration::from_millis(500);

/// How soon to look again at a database that somebody is making or upgrading.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Writes traces to one database and one experiment.
#[derive(Debug)]
pub struct SqliteExporter {
    path: PathBuf,
    experiment: Experiment,
    busy: Duration,
}

impl SqliteExporter {
    /// Makes the database if there is none, and refuses one whose schema it does not know; an existing schema
    /// is never changed. `busy` is how long to wait for others: for a lock, and again for an MLflow that is
    /// making or upgrading the database.
    pub fn open(path: &Path, experiment: Experiment, busy: Duration) -> Result<SqliteExporter, ExportError> {
        let path = std::path::absolute(path).map_err(|error| StoreError::from(error).at(path))?;
        let exporter = SqliteExporter { path, experiment, busy };
        exporter.settled(|| exporter.check()).map_err(|error| error.at(&exporter.path))?;
        // No reason to keep a trace back.
        if let Err(error) = fill::fill(&exporter.path, busy) {
            tracing::info!("what MLflow's upgrade left empty stays so for now: {error}");
        }
        Ok(exporter)
    }

    /// MLflow makes and upgrades a database in many small steps, not in a transaction: for seconds, it shows a
    /// schema that no version ever had.
    fn settled<T>(&self, attempt: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let began = Instant::now();
        loop {
            match attempt() {
                Err(StoreError::Shape(UnknownShape::NoTable(_) | UnknownShape::NoColumn(..)))
                    if began.elapsed() < self.busy =>
                {
                    thread::sleep(LOOK_AGAIN);
                }
                result => return result,
            }
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        Shape::of(&self.connect(self.busy)?)?;
        Ok(())
    }

    /// A connection for each trace: one that is kept open would go on writing to a file that was meanwhile
    /// deleted or replaced.
    fn connect(&self, busy: Duration) -> Result<Connection, StoreError> {
        if !self.path.try_exists()? {
            create::create(&disk::followed(&self.path), Timestamp::now())?;
        }
        let mut connection = connect_to(&self.path, busy)?;
        create::fill_if_empty(&mut connection, &disk::followed(&self.path), Timestamp::now())?;
        Ok(connection)
    }

    /// All of them, or none.
    fn write(&self, traces: &[&Trace], busy: Duration) -> Result<Vec<Delivered>, StoreError> {
        traces.iter().try_for_each(|trace| tree::check(&trace.spans))?;
        let mut connection = self.connect(busy)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Inside the transaction: an MLflow that upgrades the schema has to wait for us, or we for it.
        let shape = Shape::of(&transaction)?;
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
    /// Always whole: rewriting rows of a local file costs less than keeping an account of them.
    fn export(&mut self, trace: &Trace, _: Option<&Receipt>) -> Result<Delivered, ExportError> {
        let written = self.settled(|| self.write(&[trace], self.busy));
        let written = written.map_err(|error| error.at(&self.path))?;
        Ok(written.into_iter().next().expect("one trace, one answer"))
    }

    /// In one transaction, so that the disk is waited for once.
    fn export_together(&mut self, traces: &[&Trace]) -> Option<Vec<Delivered>> {
        let written = self.write(traces, self.busy.min(BRIEFLY));
        written.inspect_err(|error| tracing::info!("not {} traces at once: {error}", traces.len())).ok()
    }
}

/// To change what is there.
fn connect_to(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let connection = open(path, FileSystem::from_path(path), busy)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What a trace no longer holds is not to be found in the file's free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

/// SQLite's write-ahead log needs memory that all its users share, which two machines have not, and a database that
/// they open in that mode at once is destroyed. We never choose the mode, and MLflow's servers and clients do not
/// either; but `mlflow migrate-filestore` does, and the mode is kept in the file. On a network, such a database is
/// therefore opened with SQLite's exclusive locking, which needs no shared memory: we have the file alone for the
/// moment of a write, or wait for whoever has it open. Without the log, SQLite's usual locks are as good there as
/// the network file system's own are.
///
/// Creates nothing. Always for writing, as far as the file allows it: of a database that keeps a write-ahead
/// log, a connection that may only read leaves the log behind.
fn open(path: &Path, place: FileSystem, busy: Duration) -> Result<Connection, StoreError> {
    // Without a log, two that lock exclusively would wait for each other. Asked first, since closing any
    // descriptor of a file drops the locks that this process has on it.
    let locks_exclusively = place == FileSystem::Network && keeps_a_log(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    if locks_exclusively {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}

/// Whether the database is in the mode of the write-ahead log, as bytes 18 and 19 of the file say. SQLite itself
/// cannot be asked: to answer, it would open the log.
fn keeps_a_log(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.get(18..20).is_some_and(|versions| versions.contains(&2)))
}

/// The trace as it is in the database now. None if there is no such trace, or no database.
pub fn read(path: &Path, id: TraceId) -> Result<Option<Trace>, ExportError> {
    reading(path, |connection, shape| read::trace(connection, shape, id))
}

pub use check::check;
pub use fill::Filled;

/// Fills what MLflow's upgrade left empty in the rows of our traces, for as long as `patience`.
pub fn fill(path: &Path, patience: Duration) -> Result<Filled, ExportError> {
    fill::fill(path, patience).map_err(|error| error.at(path))
}
pub use present::lost;

/// Removes the trace, with what people added to it. False if there was none; nothing is created.
pub fn forget(path: &Path, id: TraceId, busy: Duration) -> Result<bool, ExportError> {
    let forgotten = || {
        if !path.try_exists()? {
            return Ok(false);
        }
        let mut connection = connect_to(path, busy)?;
        if create::is_empty(&connection)? {
            return Ok(false);
        }
        Shape::of(&connection)?;
        forget::forget(&mut connection, id)
    };
    forgotten().map_err(|error: StoreError| error.at(path))
}

/// Reads one state of the database, and creates nothing.
fn reading<T>(
    path: &Path,
    query: impl FnOnce(&Connection, Shape) -> Result<Option<T>, StoreError>,
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
        let shape = Shape::of(&transaction)?;
        query(&transaction, shape)
    };
    answer().map_err(|error: StoreError| error.at(path))
}
