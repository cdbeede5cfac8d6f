//! Removes one trace from a database, with everything that belongs to it.

use super::connect_to_existing;
use super::error::SqliteError;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use rusqlite::TransactionBehavior;
use std::path::Path;
use std::time::Duration;

/// Links between traces and runs (since MLflow 3.3), which no foreign key removes with the trace.
const LINKS: &str = "entity_associations";

/// Removes the trace, with what users added to it. False if there was none; creates nothing. `secure_delete`,
/// which `connect_to` sets, wipes it from the file's free pages too.
pub fn forget(path: &Path, id: TraceId, busy: Duration) -> Result<bool, ExportError> {
    forget_rows(path, &id.to_string(), busy).map_err(|error| error.at(path))
}

fn forget_rows(path: &Path, key: &str, busy: Duration) -> Result<bool, SqliteError> {
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
