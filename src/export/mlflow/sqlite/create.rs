//! A new database: complete in a file beside it first, so that nobody ever sees half of one.

use super::error::StoreError;
use super::experiment;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// MLflow's schema at the first revision with a `spans` table. Every later MLflow upgrades it when it opens
/// the file; a newer revision would shut out every MLflow that does not know it yet.
pub(super) const SCHEMA: &str = include_str!("../schema.sql");

/// Makes the database, unless another process made it meanwhile. Folder 0700, file 0600.
pub(super) fn create(path: &Path, now: Timestamp) -> Result<(), StoreError> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = tempfile::Builder::new().prefix(".mlflow-").suffix(".db").tempfile_in(folder)?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file.path(), flags)?;
    // One sync at the end instead of many: what dies half made is never given its name.
    connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    experiment::insert_default(&transaction, folder, now)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    file.as_file().sync_all()?;

    // Closing any descriptor of a file drops all of this process's POSIX locks on it, so ours goes before
    // another thread can have opened the database.
    match file.into_temp_path().persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(|error| error.error)?,
    }
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Whether there is no table at all: a file without a byte is what SQLite leaves of a database that was never written.
pub(super) fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Makes the tables in a database that has none, in one transaction. The file keeps its owner, its mode and its links.
/// One that another process fills is left to it: SQLite's own lock decides who is first.
pub(super) fn fill_if_empty(
    connection: &mut Connection,
    path: &Path,
    now: Timestamp,
) -> Result<(), StoreError> {
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
