//! Creates a database: complete in a temporary file first, then renamed, so that no reader sees an incomplete
//! one.

use super::error::SqliteError;
use super::experiment;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// MLflow's schema at the first revision with a `spans` table. Every later MLflow upgrades it when it opens
/// the file; an older MLflow cannot open a newer revision.
pub(super) const SCHEMA: &str = include_str!("../schema.sql");

/// Creates the database, unless another process creates it at the same time. Folder 0700, file 0600.
pub(super) fn create(path: &Path, now: Timestamp) -> Result<(), SqliteError> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = tempfile::Builder::new().prefix(".mlflow-").suffix(".db").tempfile_in(folder)?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file.path(), flags)?;
    // One sync at the end is enough: an incomplete file never gets the database's name.
    connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    experiment::insert_default(&transaction, folder, now)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    file.as_file().sync_all()?;

    // Closing any descriptor of a file drops all POSIX locks of this process on it. So this one is closed
    // before another thread can open the database.
    match file.into_temp_path().persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(|error| error.error)?,
    }
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Whether there is no table at all. SQLite leaves an empty file if a database was opened but never written.
pub(super) fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Creates the tables in a database that has none, in one transaction. The file keeps its owner, mode and
/// links. SQLite's lock decides which of two processes creates them.
pub(super) fn fill_if_empty(
    connection: &mut Connection,
    path: &Path,
    now: Timestamp,
) -> Result<(), SqliteError> {
    if !is_empty(connection)? {
        return Ok(());
    }
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        experiment::insert_default(&transaction, folder, now)?;
        transaction.commit()?;
    }
    Ok(())
}
