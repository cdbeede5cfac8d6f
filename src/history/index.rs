//! The index on disk: a SQLite database, made again where it is damaged or of another version.

use common::disk;
use common::printable::hex;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An index with another schema is made again.
const SCHEMA: &str = include_str!("schema.sql");

/// Longest wait for another process's write.
const BUSY: Duration = Duration::from_secs(30);

/// Pages that SQLite keeps in memory while it writes, in KiB.
const CACHE: i64 = 64 << 10;

/// The fact that names what made the index.
const MAKER: &str = "maker";

pub struct Index {
    pub(super) connection: Connection,
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot write {0}: {reason}", reason = disk::reason(.1))]
    Folder(PathBuf, io::Error),
    #[error("the index of sessions failed: {}", reason_of(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Without the statement.
fn reason_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

impl IndexError {
    /// A new index would not have the problem.
    pub fn is_damage(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// The folder takes no file, or no more bytes; an index in memory would do.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, IndexError::Folder(..))
            || matches!(
                self.code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                )
            )
    }

    fn code(&self) -> Option<ErrorCode> {
        let IndexError::Sqlite(error) = self else { return None };
        error.sqlite_error_code()
    }
}

impl Index {
    /// Opens the index, or makes an empty one. `maker`: the version of the program, and the rules that redact texts;
    /// an index of another maker is made again. Errors: the folder takes no file.
    pub fn open(path: &Path, maker: &str) -> Result<Index, IndexError> {
        let opened = Index::connect(path).and_then(|index| Ok((index.is_made_by(maker)?, index)));
        match opened {
            Ok((true, index)) => Ok(index),
            Ok((false, index)) => {
                drop(index);
                Index::make_anew(path, maker)
            }
            Err(error) if error.is_damage() => Index::make_anew(path, maker),
            Err(error) => Err(error),
        }
    }

    /// For a folder that takes no file: everything is read again each time.
    pub fn in_memory() -> Result<Index, IndexError> {
        let mut index = Index { connection: Connection::open_in_memory()? };
        index.create("")?;
        Ok(index)
    }

    /// Removes what is there, and begins again.
    pub fn make_anew(path: &Path, maker: &str) -> Result<Index, IndexError> {
        let mut journal = path.as_os_str().to_owned();
        journal.push("-journal");
        let removed = disk::remove(path).and_then(|()| disk::remove(Path::new(&journal)));
        removed.map_err(|error| IndexError::Folder(path.to_path_buf(), error))?;
        let mut index = Index::connect(path)?;
        index.create(maker)?;
        Ok(index)
    }

    fn connect(path: &Path) -> Result<Index, IndexError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let cannot = |error| IndexError::Folder(path.to_path_buf(), error);
        disk::make_private_folder(folder).map_err(cannot)?;
        // SQLite would create it readable for all.
        disk::private_options().create(true).append(true).open(path).map_err(cannot)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        // The files can be read again, so a loss of power may cost the index. A killed process may not: the journal is
        // on disk.
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE")?;
        // One process at a time reads the session files (`.lock-history`), so it needs no lock for each statement.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
        Ok(Index { connection })
    }

    /// Before much is written. While little is read, more memory for pages costs more time than it saves.
    pub(super) fn enlarge_cache(&self) -> Result<(), IndexError> {
        Ok(self.connection.pragma_update(None, "cache_size", -CACHE)?)
    }

    /// Without a lock on the folder another process may have made it since.
    fn create(&mut self, maker: &str) -> Result<(), IndexError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema)";
        if !transaction.query_row(query, [], |row| row.get(0))? {
            transaction.execute_batch(SCHEMA)?;
            transaction.execute("INSERT INTO fact VALUES (?1, ?2)", [MAKER, &made_by(maker)])?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn is_made_by(&self, maker: &str) -> Result<bool, IndexError> {
        let has_facts = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'fact')";
        if !self.connection.query_row(has_facts, [], |row| row.get(0))? {
            return Ok(false);
        }
        let query = "SELECT value FROM fact WHERE name = ?1";
        let before: Option<String> =
            self.connection.query_row(query, [MAKER], |row| row.get(0)).optional()?;
        Ok(before.is_some_and(|before| before == made_by(maker)))
    }
}

fn made_by(maker: &str) -> String {
    format!("{maker}; schema {}", hex(&Sha256::digest(SCHEMA)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_damaged_index_and_that_of_another_maker_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow/history.db");
        let rows = |index: &Index| -> i64 {
            index.connection.query_row("SELECT count(*) FROM stale", [], |row| row.get(0)).unwrap()
        };
        let open = |maker| Index::open(&path, maker).unwrap();
        let fill = |index: &Index| index.connection.execute("INSERT INTO stale VALUES ('a')", []).unwrap();
        fill(&open("one"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(rows(&open("one")), 1);
        assert_eq!(rows(&open("two")), 0, "of another maker");
        fill(&open("two"));
        fs::write(&path, "no database".repeat(1_000)).unwrap();
        let index = open("two");
        assert_eq!(rows(&index), 0, "damaged");
        fill(&index);
        index.connection.execute_batch("DROP TABLE fact").unwrap();
        drop(index);
        assert_eq!(rows(&open("two")), 0, "of another schema");
    }
}
