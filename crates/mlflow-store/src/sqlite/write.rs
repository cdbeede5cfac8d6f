//! Writes one trace. An existing trace is updated in place: deleting its row would delete the assessments,
//! expectations and tags of users too.

use super::error::SqliteError;
use super::experiment::{self, ExperimentRow};
use super::shape::{Generation, SchemaShape};
use super::spans;
use super::upsert::upsert;
use crate::info::{self, cut};
use crate::keys;
use crate::tags::{self, Record, TagUpdate};
use crate::target::Experiment;
use crate::trace::Trace;
use crate::wire::json;
use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Prefix of metadata that only codex-traced writes: keys that a newer trace lacks are removed.
const OUR_METADATA: &str = "codex.*";

/// Stores the trace in the experiment that already has it, or else in the wanted one, and returns the
/// experiment's id.
pub(super) fn write(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    trace: &Trace,
    wanted: &Experiment,
    folder: &Path,
    now: Timestamp,
) -> Result<i64, SqliteError> {
    let id = trace.id.to_string();
    let there: Option<i64> = transaction
        .query_row("SELECT experiment_id FROM trace_info WHERE request_id = ?", [&id], |row| row.get(0))
        .optional()?;
    let experiment = match there {
        Some(there) => experiment::active(transaction, there)?,
        None => experiment::find_or_make(transaction, shape, wanted, folder, now)?,
    };
    write_info(transaction, shape, &id, trace, experiment.id)?;
    write_location(transaction, &id, &experiment)?;
    let record = write_tags(transaction, shape, &id, trace)?;
    write_metadata(transaction, shape, &id, trace, &record)?;
    spans::write(transaction, shape, &id, trace, experiment.id)?;
    if shape.generation == Generation::Counted {
        transaction.execute(
            "UPDATE trace_info SET db_payload_generation = db_payload_generation + 1 WHERE request_id = ?",
            [&id],
        )?;
    }
    Ok(experiment.id)
}

fn write_info(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    id: &str,
    trace: &Trace,
    experiment: i64,
) -> Result<(), SqliteError> {
    let started = trace.started_at.as_millisecond();
    let mut row: Vec<(&str, Sql)> = vec![
        ("request_id", id.to_owned().into()),
        ("experiment_id", experiment.into()),
        ("timestamp_ms", started.into()),
        ("execution_time_ms", info::took(trace).into()),
        ("status", trace.state.as_str().to_owned().into()),
        ("request_preview", trace.request_preview.clone().into()),
        ("response_preview", trace.response_preview.clone().into()),
    ];
    if shape.totals.in_columns() {
        let session = trace.metadata.get(keys::SESSION).map(|session| cut(session, keys::METADATA_WIDTH));
        row.push(("session_id", session.into()));
        let tokens = object(trace, keys::TOKEN_USAGE);
        row.extend(keys::TOKEN_KEYS.map(|key| (key, tokens[key].as_i64().into())));
        let cost = object(trace, keys::COST);
        row.extend(keys::COST_KEYS.map(|key| (key, cost[key].as_f64().into())));
    }
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let sql = upsert("trace_info", &names, &["request_id", "experiment_id"], "request_id");
    transaction.execute(&sql, params_from_iter(row.into_iter().map(|(_, value)| value)))?;
    Ok(())
}

/// Writes where MLflow finds the spans. An error if MLflow has archived them: MLflow refuses to write to such
/// a trace.
fn write_location(
    transaction: &Transaction<'_>,
    id: &str,
    experiment: &ExperimentRow,
) -> Result<(), SqliteError> {
    let artifacts = format!("{}/traces/{id}/artifacts", experiment.artifact_location.trim_end_matches('/'));
    for (key, value) in
        [(keys::SPANS_LOCATION, keys::IN_TRACKING_STORE), (keys::ARTIFACT_LOCATION, artifacts.as_str())]
    {
        transaction.execute(
            "INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)
             ON CONFLICT (request_id, key) DO NOTHING",
            params![id, key, value],
        )?;
    }
    let location: Option<String> = transaction.query_row(
        "SELECT value FROM trace_tags WHERE request_id = ? AND key = ?",
        params![id, keys::SPANS_LOCATION],
        |row| row.get(0),
    )?;
    match location {
        Some(location) if location != keys::IN_TRACKING_STORE => {
            Err(SqliteError::Archived { trace: id.to_owned(), location })
        }
        _ => Ok(()),
    }
}

/// Writes the tags; the name is one of them in every schema. Returns the record for the next update.
fn write_tags(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    id: &str,
    trace: &Trace,
) -> Result<Record, SqliteError> {
    let mut there: BTreeMap<String, String> = transaction
        .prepare("SELECT key, coalesce(value, '') FROM trace_tags WHERE request_id = ?")?
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if !shape.totals.in_metadata() {
        let name: Option<String> =
            transaction.query_row("SELECT trace_name FROM trace_info WHERE request_id = ?", [id], |row| {
                row.get(0)
            })?;
        there.remove(keys::TRACE_NAME);
        there.extend(name.map(|name| (keys::TRACE_NAME.to_owned(), name)));
    }
    let metadata: BTreeMap<String, String> = transaction
        .prepare(
            "SELECT key, coalesce(value, '') FROM trace_request_metadata WHERE request_id = ? AND key IN (?, ?)",
        )?
        .query_map([id, tags::RECORD, tags::FORMER_RECORD], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let written = tags::record(|key| metadata.get(key).map(String::as_str));
    let update = TagUpdate::plan(&there, &written, &info::tags(trace));
    for (key, value) in &update.write {
        let is_name = key == keys::TRACE_NAME;
        if is_name && shape.totals.in_columns() {
            transaction
                .execute("UPDATE trace_info SET trace_name = ? WHERE request_id = ?", [value.as_str(), id])?;
        }
        if !is_name || shape.totals.in_metadata() {
            transaction.execute(
                "INSERT OR REPLACE INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)",
                [id, key, value],
            )?;
        }
    }
    for key in &update.remove {
        transaction.execute("DELETE FROM trace_tags WHERE request_id = ? AND key = ?", [id, key])?;
    }
    Ok(update.record)
}

fn write_metadata(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    id: &str,
    trace: &Trace,
    record: &Record,
) -> Result<(), SqliteError> {
    let totals = [keys::SESSION, keys::TOKEN_USAGE, keys::COST];
    transaction.execute(
        "DELETE FROM trace_request_metadata
         WHERE request_id = ? AND (key GLOB ? OR key IN (?, ?, ?))",
        params![id, OUR_METADATA, totals[0], totals[1], totals[2]],
    )?;
    if trace.is_metadata_only() {
        for key in keys::PERSONAL {
            transaction.execute(
                "DELETE FROM trace_request_metadata WHERE request_id = ? AND key = ?",
                params![id, key],
            )?;
        }
    }
    let mut put = transaction
        .prepare("INSERT OR REPLACE INTO trace_request_metadata (request_id, key, value) VALUES (?, ?, ?)")?;
    for (key, value) in &trace.metadata {
        if shape.totals.in_metadata() || !totals.contains(&key.as_str()) {
            put.execute(params![id, key, cut(value, keys::METADATA_WIDTH)])?;
        }
    }
    put.execute(params![id, keys::FINALIZED, "true"])?;
    put.execute(params![id, tags::RECORD, json(record)])?;
    if shape.totals.in_metrics() {
        let tokens = object(trace, keys::TOKEN_USAGE);
        for key in keys::TOKEN_KEYS {
            if let Some(value) = tokens[key].as_f64() {
                transaction.execute(
                    "INSERT OR REPLACE INTO trace_metrics (request_id, key, value) VALUES (?, ?, ?)",
                    params![id, key, value],
                )?;
            }
        }
    }
    Ok(())
}

/// A metadata value parsed as JSON; null if it is not JSON.
fn object(trace: &Trace, key: &str) -> Value {
    trace.metadata.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
