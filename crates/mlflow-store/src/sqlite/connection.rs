//! Connections to a database, and its creation: complete in a temporary file first, then renamed, so that no
//! reader sees an incomplete one.

use super::error::{Result, SqliteError};
use super::experiment;
use super::schema::SchemaShape;
use crate::exporter::ExportError;
use common::disk;
use common::disk::file_system::FileSystem;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// More different statements than writing a trace takes.
const STATEMENTS: usize = 64;

/// How long a read waits for another process's write.
const READ_BUSY: Duration = Duration::from_secs(2);

/// MLflow's schema at the first revision with a `spans` table. Every later MLflow upgrades it when it opens
/// the file; an older MLflow cannot open a newer revision.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// Opens a connection for changes; creates the database if it is missing or has no table. A file without tables
/// keeps its owner, mode and links.
pub(super) fn connect(path: &Path, busy: Duration) -> Result<Connection> {
    let end = disk::followed(path);
    let folder = end.parent().unwrap_or(Path::new("/"));
    if !path.try_exists()? {
        create(&end, folder)?;
    }
    let mut connection = connect_to(path, busy)?;
    if is_empty(&connection)? {
        create_tables(&mut connection, folder)?;
    }
    Ok(connection)
}

/// Creates the database, unless another process creates it at the same time. Folder 0700, file 0600.
fn create(path: &Path, folder: &Path) -> Result<()> {
    disk::make_private_folder(folder)?;
    let file = tempfile::Builder::new().prefix(".mlflow-").suffix(".db").tempfile_in(folder)?;

    let mut connection = Connection::open_with_flags(file.path(), FLAGS)?;
    // One sync at the end is enough: an incomplete file never gets the database's name.
    connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
    create_tables(&mut connection, folder)?;
    connection.close().map_err(|(_, error)| error)?;
    disk::sync(file.as_file())?;

    // Closing any descriptor of a file drops all POSIX locks of this process on it. So this one is closed
    // before another thread can open the database.
    match file.into_temp_path().persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(|error| error.error)?,
    }
    Ok(disk::sync_folder(folder)?)
}

/// Creates the tables in one transaction. SQLite's lock decides which of two processes creates them.
fn create_tables(connection: &mut Connection, folder: &Path) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        experiment::insert_default(&transaction, folder)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Whether there is no table at all. SQLite leaves an empty file if a database was opened but never written.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Opens a connection for changes.
fn connect_to(path: &Path, busy: Duration) -> Result<Connection> {
    let connection = open(path, FileSystem::from_path(path), busy)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Wipes deleted content from the file's free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

/// A connection for changes, and the schema; None if the database is missing or empty.
pub(super) fn connect_to_existing(path: &Path, busy: Duration) -> Result<Option<(Connection, SchemaShape)>> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let connection = connect_to(path, busy)?;
    if is_empty(&connection)? {
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
pub(super) fn open(path: &Path, place: FileSystem, busy: Duration) -> Result<Connection> {
    // Without a log, two connections with exclusive locking would block each other. Read before the
    // connection exists, since closing any descriptor of a file drops the locks that this process has on it.
    let locks_exclusively = place == FileSystem::Network && keeps_a_log(path)?;
    let connection = Connection::open_with_flags(path, FLAGS)?;
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

/// Runs a query in one read transaction. None if the database is missing or empty; creates nothing.
pub(super) fn reading<T>(
    path: &Path,
    query: impl FnOnce(&Connection, SchemaShape) -> Result<Option<T>>,
) -> Result<Option<T>, ExportError> {
    let answer = || {
        if !path.try_exists()? {
            return Ok(None);
        }
        let mut connection = open(path, FileSystem::from_path(path), READ_BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        let transaction = connection.transaction()?;
        if is_empty(&transaction)? {
            return Ok(None);
        }
        let shape = SchemaShape::read(&transaction)?;
        query(&transaction, shape)
    };
    answer().map_err(|error: SqliteError| error.at(path))
}
