//! Statements on the rows of one trace.

use super::shape::SchemaShape;
use crate::keys;
use crate::trace::Trace;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};
use serde_json::Value;
use std::collections::BTreeMap;

/// A trace that is written within a transaction.
#[derive(Clone, Copy)]
pub(super) struct TraceRows<'a> {
    pub(super) transaction: &'a Connection,
    pub(super) shape: SchemaShape,
    pub(super) id: &'a str,
    pub(super) trace: &'a Trace,
}

/// Inserts a row or updates it in place, except its first two columns. Unlike INSERT OR REPLACE, this deletes
/// no row, so rows that refer to it stay.
pub(super) fn upsert(
    connection: &Connection,
    table: &str,
    unique: &str,
    row: Vec<(&str, Sql)>,
) -> rusqlite::Result<()> {
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let updates: Vec<String> = names.iter().skip(2).map(|name| format!("{name} = excluded.{name}")).collect();
    let sql = format!(
        "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({unique}) DO UPDATE SET {}",
        names.join(", "),
        vec!["?"; names.len()].join(", "),
        updates.join(", ")
    );
    let values = params_from_iter(row.into_iter().map(|(_, value)| value));
    connection.prepare_cached(&sql)?.execute(values).map(drop)
}

/// The trace's rows of `trace_tags` or `trace_request_metadata`.
pub(super) fn pairs(
    connection: &Connection,
    table: &str,
    id: &str,
) -> rusqlite::Result<BTreeMap<String, String>> {
    connection
        .prepare(&format!("SELECT key, coalesce(value, '') FROM {table} WHERE request_id = ?"))?
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// A metadata value parsed as JSON; null if it is not JSON.
pub(super) fn object(metadata: &BTreeMap<String, String>, key: &str) -> Value {
    metadata.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Writes the tokens of `metadata` as metrics. `how` is `REPLACE` or `IGNORE`, for metrics that exist.
pub(super) fn write_tokens(
    connection: &Connection,
    how: &str,
    id: &str,
    metadata: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let tokens = object(metadata, keys::TOKEN_USAGE);
    let sql = format!("INSERT OR {how} INTO trace_metrics (request_id, key, value) VALUES (?, ?, ?)");
    for key in keys::TOKEN_KEYS {
        if let Some(value) = tokens[key].as_f64() {
            connection.execute(&sql, params![id, key, value])?;
        }
    }
    Ok(())
}

/// Counts a write to the trace's spans, where MLflow does.
pub(super) fn count_write(connection: &Connection, shape: SchemaShape, id: &str) -> rusqlite::Result<()> {
    if shape.counts_writes {
        let sql =
            "UPDATE trace_info SET db_payload_generation = db_payload_generation + 1 WHERE request_id = ?";
        connection.execute(sql, [id])?;
    }
    Ok(())
}
