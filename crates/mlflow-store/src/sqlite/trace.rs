//! Writes and reads one trace, in a database of any supported MLflow. An existing trace is updated in place: deleting
//! its row would delete the assessments, expectations and tags of users too.

use super::error::{Result, SqliteError};
use super::experiment::{self, ExperimentRow};
use super::rows::{TraceRows, count_write, execute, object, pairs, upsert, write_tokens};
use super::schema::SchemaShape;
use super::span_contents::Contents;
use crate::ids::TraceId;
use crate::mlflow_keys;
use crate::tags::{self, Record, TagUpdate};
use crate::target::Experiment;
use crate::trace::{Span, Trace, TraceState};
use crate::trace_info::{self, cut};
use crate::wire::{WireSpan, json};
use jiff::Timestamp;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Prefix of metadata that only codex-traced writes: keys that a newer trace lacks are removed.
const OUR_METADATA: &str = "codex.*";

/// Stores the trace in the experiment that already has it, or else in the wanted one, and returns the
/// experiment's id. `contents`: those of its spans come next.
pub(super) fn write(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    trace: &Trace,
    contents: &mut Contents,
    wanted: &Experiment,
    folder: &Path,
) -> Result<i64> {
    let id = &trace.id.to_string();
    let experiment = match home(transaction, id)? {
        Some(there) => experiment::active(transaction, there)?,
        None => experiment::find_or_make(transaction, shape, wanted, folder)?,
    };
    let rows = TraceRows { transaction, shape, id, trace };
    write_all_but_spans(rows, &experiment)?;
    rows.write_spans(experiment.id, contents)?;
    rows.delete_other_spans()?;
    count_write(transaction, shape, id)?;
    Ok(experiment.id)
}

/// Writes these spans of a trace that the database has, and with the root the trace's information: only the root has
/// the duration. Returns the experiment's id; None if the database does not have the trace.
pub(super) fn update(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    changes: &Trace,
    contents: &mut Contents,
) -> Result<Option<i64>> {
    let id = &changes.id.to_string();
    let Some(there) = home(transaction, id)? else { return Ok(None) };
    let experiment = experiment::active(transaction, there)?;
    let rows = TraceRows { transaction, shape, id, trace: changes };
    match changes.root() {
        Some(_) => write_all_but_spans(rows, &experiment)?,
        None => write_location(rows, &experiment)?,
    }
    rows.write_spans(experiment.id, contents)?;
    count_write(transaction, shape, id)?;
    Ok(Some(experiment.id))
}

/// The id of the experiment that has the trace.
fn home(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT experiment_id FROM trace_info WHERE request_id = ?";
    transaction.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()
}

fn write_all_but_spans(rows: TraceRows, experiment: &ExperimentRow) -> Result<()> {
    write_info(rows, experiment.id)?;
    write_location(rows, experiment)?;
    let record = write_tags(rows)?;
    write_metadata(rows, &record)?;
    Ok(())
}

fn write_info(rows: TraceRows, experiment: i64) -> rusqlite::Result<()> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let mut row: Vec<(&str, Sql)> = vec![
        ("request_id", id.to_owned().into()),
        ("experiment_id", experiment.into()),
        ("timestamp_ms", trace.started_at.as_millisecond().into()),
        ("execution_time_ms", trace_info::took(trace).into()),
        ("status", trace.state.as_str().to_owned().into()),
        ("request_preview", trace.request_preview.clone().into()),
        ("response_preview", trace.response_preview.clone().into()),
    ];
    if shape.totals.in_columns() {
        let session =
            trace.metadata.get(mlflow_keys::SESSION).map(|session| cut(session, mlflow_keys::METADATA_WIDTH));
        row.push(("session_id", session.into()));
        let tokens = object(&trace.metadata, mlflow_keys::TOKEN_USAGE);
        row.extend(mlflow_keys::TOKEN_KEYS.map(|key| (key, tokens[key].as_i64().into())));
        let cost = object(&trace.metadata, mlflow_keys::COST);
        row.extend(mlflow_keys::COST_KEYS.map(|key| (key, cost[key].as_f64().into())));
    }
    upsert(transaction, "trace_info", "request_id", row).map(drop)
}

/// Writes where MLflow finds the spans. An error if MLflow has archived them: MLflow refuses to write to such
/// a trace.
fn write_location(rows: TraceRows, experiment: &ExperimentRow) -> Result<()> {
    let TraceRows { transaction, id, .. } = rows;
    let artifacts = format!("{}/traces/{id}/artifacts", experiment.artifact_location.trim_end_matches('/'));
    for (key, value) in [
        (mlflow_keys::SPANS_LOCATION, mlflow_keys::IN_TRACKING_STORE),
        (mlflow_keys::ARTIFACT_LOCATION, artifacts.as_str()),
    ] {
        let sql = "INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)
                   ON CONFLICT (request_id, key) DO NOTHING";
        execute(transaction, sql, [id, key, value])?;
    }
    let elsewhere = "SELECT value FROM trace_tags WHERE request_id = ? AND key = ? AND value <> ?";
    let names = [id, mlflow_keys::SPANS_LOCATION, mlflow_keys::IN_TRACKING_STORE];
    match transaction.prepare_cached(elsewhere)?.query_row(names, |row| row.get(0)).optional()? {
        Some(location) => Err(SqliteError::Archived { trace: id.to_owned(), location }),
        None => Ok(()),
    }
}

/// Writes the tags; the name is one of them in every schema. Returns the record for the next update.
fn write_tags(rows: TraceRows) -> rusqlite::Result<Record> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let mut there = pairs(transaction, "trace_tags", id)?;
    if !shape.totals.in_metadata() {
        let sql = "SELECT trace_name FROM trace_info WHERE request_id = ?";
        let name: Option<String> = transaction.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        there.remove(mlflow_keys::TRACE_NAME);
        there.extend(name.map(|name| (mlflow_keys::TRACE_NAME.to_owned(), name)));
    }
    let metadata = pairs(transaction, "trace_request_metadata", id)?;
    let written = tags::record(|key| metadata.get(key).map(String::as_str));
    let update = TagUpdate::plan(&there, &written, &trace_info::tags(trace));
    for (key, value) in &update.write {
        let is_name = key == mlflow_keys::TRACE_NAME;
        if is_name && shape.totals.in_columns() {
            let sql = "UPDATE trace_info SET trace_name = ? WHERE request_id = ?";
            execute(transaction, sql, [value.as_str(), id])?;
        }
        if !is_name || shape.totals.in_metadata() {
            let sql = "INSERT OR REPLACE INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)";
            execute(transaction, sql, [id, key, value])?;
        }
    }
    for key in &update.remove {
        execute(transaction, "DELETE FROM trace_tags WHERE request_id = ? AND key = ?", [id, key])?;
    }
    Ok(update.record)
}

fn write_metadata(rows: TraceRows, record: &Record) -> rusqlite::Result<()> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let sql = "DELETE FROM trace_request_metadata WHERE request_id = ? AND key GLOB ?";
    let personal = mlflow_keys::PERSONAL.into_iter().filter(|_| trace.is_metadata_only());
    for key in [OUR_METADATA].into_iter().chain(mlflow_keys::TOTALS).chain(personal) {
        execute(transaction, sql, [id, key])?;
    }
    let mut put = transaction.prepare_cached(
        "INSERT OR REPLACE INTO trace_request_metadata (request_id, key, value) VALUES (?, ?, ?)",
    )?;
    for (key, value) in &trace.metadata {
        if shape.totals.in_metadata() || !mlflow_keys::TOTALS.contains(&key.as_str()) {
            put.execute(params![id, key, cut(value, mlflow_keys::METADATA_WIDTH)])?;
        }
    }
    put.execute([id, mlflow_keys::FINALIZED, "true"])?;
    put.execute(params![id, tags::RECORD, json(record)])?;
    if shape.totals.in_metrics() {
        write_tokens(transaction, "REPLACE", id, &trace.metadata)?;
    }
    Ok(())
}

/// The trace as it was exported, with later changes of users. Omits spans that are not in the database.
pub(super) fn read(connection: &Connection, shape: SchemaShape, id: TraceId) -> Result<Option<Trace>> {
    let key = id.to_string();
    let sql = "SELECT timestamp_ms, coalesce(execution_time_ms, 0), status, request_preview, response_preview
               FROM trace_info WHERE request_id = ?";
    let info = connection.query_row(sql, [&key], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?))
    });
    let Some((started, took, status, request_preview, response_preview)) = info.optional()? else {
        return Ok(None);
    };
    let ended = i64::saturating_add(started, took);
    let mut tags = pairs(connection, "trace_tags", &key)?;
    let mut metadata = pairs(connection, "trace_request_metadata", &key)?;
    if !shape.totals.in_metadata() {
        add_columns(connection, &key, &mut tags, &mut metadata)?;
    }
    for ours in [mlflow_keys::SPANS_LOCATION, mlflow_keys::ARTIFACT_LOCATION] {
        tags.remove(ours);
    }
    for ours in [mlflow_keys::FINALIZED, tags::RECORD, tags::FORMER_RECORD] {
        metadata.remove(ours);
    }
    let spans = read_spans(connection, &key)?;
    // The stored duration is the time that the agent worked; only the root span has the end.
    let root_ended_at = spans.first().filter(|root| root.parent.is_none()).map(|root| root.ended_at);
    Ok(Some(Trace {
        id,
        name: tags.remove(mlflow_keys::TRACE_NAME).unwrap_or_default(),
        state: TraceState::from_name(&status),
        started_at: milliseconds(started),
        ended_at: root_ended_at.unwrap_or_else(|| milliseconds(ended)),
        request_preview,
        response_preview,
        context: Default::default(),
        metadata,
        tags,
        spans,
    }))
}

/// Adds the values that MLflow 3.17 keeps in columns, under the keys of earlier versions.
fn add_columns(
    connection: &Connection,
    id: &str,
    tags: &mut BTreeMap<String, String>,
    metadata: &mut BTreeMap<String, String>,
) -> Result<()> {
    let (tokens, costs) = (mlflow_keys::TOKEN_KEYS.join(", "), mlflow_keys::COST_KEYS.join(", "));
    let sql =
        format!("SELECT trace_name, session_id, {tokens}, {costs} FROM trace_info WHERE request_id = ?");
    let (name, session, tokens, costs) = connection.query_row(&sql, [id], |row| {
        let object = |keys: &[&str]| {
            let mut object = Map::new();
            for key in keys {
                match row.get_ref(*key)? {
                    ValueRef::Integer(count) => _ = object.insert((*key).to_owned(), count.into()),
                    ValueRef::Real(cost) => _ = object.insert((*key).to_owned(), cost.into()),
                    _ => {}
                }
            }
            Ok::<_, rusqlite::Error>(object)
        };
        let (tokens, costs) = (object(&mlflow_keys::TOKEN_KEYS)?, object(&mlflow_keys::COST_KEYS)?);
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?, tokens, costs))
    })?;
    tags.extend(name.map(|name| (mlflow_keys::TRACE_NAME.to_owned(), name)));
    metadata.extend(session.map(|session| (mlflow_keys::SESSION.to_owned(), session)));
    for (key, object) in [(mlflow_keys::TOKEN_USAGE, tokens), (mlflow_keys::COST, costs)] {
        if !object.is_empty() {
            metadata.insert(key.to_owned(), json(&Value::Object(object)));
        }
    }
    Ok(())
}

/// The spans in order of their start, every parent before its children.
fn read_spans(connection: &Connection, id: &str) -> Result<Vec<Span>> {
    let mut statement = connection
        .prepare("SELECT content FROM spans WHERE trace_id = ? ORDER BY start_time_unix_nano, rowid")?;
    let mut waiting = Vec::new();
    for content in statement.query_map([id], |row| row.get::<_, String>(0))? {
        // Empty once MLflow has archived the trace; otherwise only another program can have written malformed
        // content.
        let span = serde_json::from_str::<WireSpan>(&content?).ok().and_then(WireSpan::into_span);
        waiting.extend(span);
    }
    let (mut ordered, mut placed) = (Vec::with_capacity(waiting.len()), BTreeSet::new());
    loop {
        let before = waiting.len();
        let (ready, later): (Vec<Span>, Vec<Span>) = waiting.into_iter().partition(|span| {
            let is_ready = span.parent.is_none_or(|parent| placed.contains(&parent));
            is_ready.then(|| placed.insert(span.id)).is_some()
        });
        ordered.extend(ready);
        // Spans whose parent is missing come last rather than not at all.
        if later.is_empty() || later.len() == before {
            ordered.extend(later);
            return Ok(ordered);
        }
        waiting = later;
    }
}

fn milliseconds(since_1970: i64) -> Timestamp {
    Timestamp::from_millisecond(since_1970).unwrap_or(Timestamp::UNIX_EPOCH)
}
