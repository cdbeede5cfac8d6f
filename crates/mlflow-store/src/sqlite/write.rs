//! Writes one trace. An existing trace is updated in place: deleting its row would delete the assessments,
//! expectations and tags of users too.

use super::error::SqliteError;
use super::experiment::{self, ExperimentRow};
use super::rows::{TraceRows, count_write, object, pairs, upsert, write_tokens};
use super::shape::SchemaShape;
use super::spans;
use crate::info::{self, cut};
use crate::keys;
use crate::tags::{self, Record, TagUpdate};
use crate::target::Experiment;
use crate::trace::Trace;
use crate::wire::json;
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Transaction, params};
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
) -> Result<i64, SqliteError> {
    let id = &trace.id.to_string();
    let there: Option<i64> = transaction
        .query_row("SELECT experiment_id FROM trace_info WHERE request_id = ?", [id], |row| row.get(0))
        .optional()?;
    let experiment = match there {
        Some(there) => experiment::active(transaction, there)?,
        None => experiment::find_or_make(transaction, shape, wanted, folder)?,
    };
    let rows = TraceRows { transaction, shape, id, trace };
    write_info(rows, experiment.id)?;
    write_location(rows, &experiment)?;
    let record = write_tags(rows)?;
    write_metadata(rows, &record)?;
    spans::write(rows, experiment.id)?;
    count_write(transaction, shape, id)?;
    Ok(experiment.id)
}

fn write_info(rows: TraceRows, experiment: i64) -> Result<(), rusqlite::Error> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let mut row: Vec<(&str, Sql)> = vec![
        ("request_id", id.to_owned().into()),
        ("experiment_id", experiment.into()),
        ("timestamp_ms", trace.started_at.as_millisecond().into()),
        ("execution_time_ms", info::took(trace).into()),
        ("status", trace.state.as_str().to_owned().into()),
        ("request_preview", trace.request_preview.clone().into()),
        ("response_preview", trace.response_preview.clone().into()),
    ];
    if shape.totals.in_columns() {
        let session = trace.metadata.get(keys::SESSION).map(|session| cut(session, keys::METADATA_WIDTH));
        row.push(("session_id", session.into()));
        let tokens = object(&trace.metadata, keys::TOKEN_USAGE);
        row.extend(keys::TOKEN_KEYS.map(|key| (key, tokens[key].as_i64().into())));
        let cost = object(&trace.metadata, keys::COST);
        row.extend(keys::COST_KEYS.map(|key| (key, cost[key].as_f64().into())));
    }
    upsert(transaction, "trace_info", "request_id", row)
}

/// Writes where MLflow finds the spans. An error if MLflow has archived them: MLflow refuses to write to such
/// a trace.
fn write_location(rows: TraceRows, experiment: &ExperimentRow) -> Result<(), SqliteError> {
    let TraceRows { transaction, id, .. } = rows;
    let artifacts = format!("{}/traces/{id}/artifacts", experiment.artifact_location.trim_end_matches('/'));
    for (key, value) in
        [(keys::SPANS_LOCATION, keys::IN_TRACKING_STORE), (keys::ARTIFACT_LOCATION, artifacts.as_str())]
    {
        transaction.execute(
            "INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)
             ON CONFLICT (request_id, key) DO NOTHING",
            [id, key, value],
        )?;
    }
    let elsewhere = "SELECT value FROM trace_tags WHERE request_id = ? AND key = ? AND value <> ?";
    let names = [id, keys::SPANS_LOCATION, keys::IN_TRACKING_STORE];
    match transaction.query_row(elsewhere, names, |row| row.get(0)).optional()? {
        Some(location) => Err(SqliteError::Archived { trace: id.to_owned(), location }),
        None => Ok(()),
    }
}

/// Writes the tags; the name is one of them in every schema. Returns the record for the next update.
fn write_tags(rows: TraceRows) -> Result<Record, rusqlite::Error> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let mut there = pairs(transaction, "trace_tags", id)?;
    if !shape.totals.in_metadata() {
        let sql = "SELECT trace_name FROM trace_info WHERE request_id = ?";
        let name: Option<String> = transaction.query_row(sql, [id], |row| row.get(0))?;
        there.remove(keys::TRACE_NAME);
        there.extend(name.map(|name| (keys::TRACE_NAME.to_owned(), name)));
    }
    let metadata = pairs(transaction, "trace_request_metadata", id)?;
    let written = tags::record(|key| metadata.get(key).map(String::as_str));
    let update = TagUpdate::plan(&there, &written, &info::tags(trace));
    for (key, value) in &update.write {
        let is_name = key == keys::TRACE_NAME;
        if is_name && shape.totals.in_columns() {
            transaction
                .execute("UPDATE trace_info SET trace_name = ? WHERE request_id = ?", [value.as_str(), id])?;
        }
        if !is_name || shape.totals.in_metadata() {
            let sql = "INSERT OR REPLACE INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)";
            transaction.execute(sql, [id, key, value])?;
        }
    }
    for key in &update.remove {
        transaction.execute("DELETE FROM trace_tags WHERE request_id = ? AND key = ?", [id, key])?;
    }
    Ok(update.record)
}

fn write_metadata(rows: TraceRows, record: &Record) -> Result<(), rusqlite::Error> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let sql = "DELETE FROM trace_request_metadata WHERE request_id = ? AND key GLOB ?";
    let personal = keys::PERSONAL.into_iter().filter(|_| trace.is_metadata_only());
    for key in [OUR_METADATA].into_iter().chain(keys::TOTALS).chain(personal) {
        transaction.execute(sql, [id, key])?;
    }
    let mut put = transaction
        .prepare("INSERT OR REPLACE INTO trace_request_metadata (request_id, key, value) VALUES (?, ?, ?)")?;
    for (key, value) in &trace.metadata {
        if shape.totals.in_metadata() || !keys::TOTALS.contains(&key.as_str()) {
            put.execute(params![id, key, cut(value, keys::METADATA_WIDTH)])?;
        }
    }
    put.execute([id, keys::FINALIZED, "true"])?;
    put.execute(params![id, tags::RECORD, json(record)])?;
    if shape.totals.in_metrics() {
        write_tokens(transaction, "REPLACE", id, &trace.metadata)?;
    }
    Ok(())
}
