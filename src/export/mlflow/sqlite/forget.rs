//! One trace out of the database, with everything that hangs on it.

use super::error::StoreError;
use crate::trace::ids::TraceId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Links from and to a trace, which no foreign key removes with it: to runs, since MLflow 3.3.
const LINKS: &str = "entity_associations";

/// Whether there was one. What people added to it goes too. With `secure_delete`, which `connect` sets, nothing of it
/// stays in the file's free pages either.
pub(super) fn forget(connection: &mut Connection, id: TraceId) -> Result<bool, StoreError> {
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
    // A write-ahead log holds what was there before. Others may be reading it: then it goes with their end.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(count > 0)
}
