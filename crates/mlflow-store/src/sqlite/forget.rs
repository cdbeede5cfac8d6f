//! Removes one trace from a database, with everything that belongs to it.

use super::error::SqliteError;
use crate::ids::TraceId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Links between traces and runs (since MLflow 3.3), which no foreign key removes with the trace.
const LINKS: &str = "entity_associations";

/// Removes the trace, with what users added to it; false if there was none. `secure_delete`, which
/// `connect_to` sets, wipes it from the file's free pages too.
pub(super) fn forget(connection: &mut Connection, id: TraceId) -> Result<bool, SqliteError> {
    let key = id.to_string();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = transaction.execute("DELETE FROM trace_info WHERE request_id = ?", [&key])?;
    let has_links = transaction
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", [LINKS], |_| Ok(()))
        .optional()?
        .is_some();
    if has_links {
        transaction
            .execute(&format!("DELETE FROM {LINKS} WHERE source_id = ?1 OR destination_id = ?1"), [&key])?;
    }
    transaction.commit()?;
    // A write-ahead log may still hold the trace. If another process reads the log, it is truncated when that
    // one ends.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(count > 0)
}
