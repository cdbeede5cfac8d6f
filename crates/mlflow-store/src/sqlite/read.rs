//! Reads a trace from a database of any supported MLflow.

use super::error::SqliteError;
use super::rows::pairs;
use super::shape::SchemaShape;
use crate::ids::TraceId;
use crate::keys;
use crate::tags;
use crate::trace::{Span, Trace, TraceState};
use crate::wire::{WireSpan, json};
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The trace as it was exported, with later changes of users. Omits spans that are not in the database.
pub(super) fn trace(
    connection: &Connection,
    shape: SchemaShape,
    id: TraceId,
) -> Result<Option<Trace>, SqliteError> {
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
    for ours in [keys::SPANS_LOCATION, keys::ARTIFACT_LOCATION] {
        tags.remove(ours);
    }
    for ours in [keys::FINALIZED, tags::RECORD, tags::FORMER_RECORD] {
        metadata.remove(ours);
    }
    let spans = spans(connection, &key)?;
    // The stored duration is the time that the agent worked; only the root span has the end.
    let root_ended_at = spans.first().filter(|root| root.parent.is_none()).map(|root| root.ended_at);
    Ok(Some(Trace {
        id,
        name: tags.remove(keys::TRACE_NAME).unwrap_or_default(),
        state: TraceState::from_name(&status),
        started_at: milliseconds(started),
        ended_at: root_ended_at.unwrap_or_else(|| milliseconds(ended)),
        request_preview,
        response_preview,
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
) -> Result<(), SqliteError> {
    let (tokens, costs) = (keys::TOKEN_KEYS.join(", "), keys::COST_KEYS.join(", "));
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
        let (tokens, costs) = (object(&keys::TOKEN_KEYS)?, object(&keys::COST_KEYS)?);
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?, tokens, costs))
    })?;
    tags.extend(name.map(|name| (keys::TRACE_NAME.to_owned(), name)));
    metadata.extend(session.map(|session| (keys::SESSION.to_owned(), session)));
    for (key, object) in [(keys::TOKEN_USAGE, tokens), (keys::COST, costs)] {
        if !object.is_empty() {
            metadata.insert(key.to_owned(), json(&Value::Object(object)));
        }
    }
    Ok(())
}

/// The spans in order of their start, every parent before its children.
fn spans(connection: &Connection, id: &str) -> Result<Vec<Span>, SqliteError> {
    let mut statement = connection
        .prepare("SELECT content FROM spans WHERE trace_id = ? ORDER BY start_time_unix_nano, rowid")?;
    let mut waiting = Vec::new();
    for content in statement.query_map([id], |row| row.get::<_, String>(0))? {
        // Empty once MLflow has archived the trace; otherwise only another program can have written malformed
        // content.
        let span = serde_json::from_str::<WireSpan>(&content?).ok().and_then(WireSpan::into_span);
        waiting.extend(span);
    }
    let mut ordered: Vec<Span> = Vec::with_capacity(waiting.len());
    let mut placed = BTreeSet::new();
    loop {
        let before = ordered.len();
        let mut later = Vec::new();
        for span in waiting {
            if span.parent.is_none_or(|parent| placed.contains(&parent)) {
                placed.insert(span.id);
                ordered.push(span);
            } else {
                later.push(span);
            }
        }
        // Spans whose parent is missing come last rather than not at all.
        if later.is_empty() || ordered.len() == before {
            ordered.append(&mut later);
            return Ok(ordered);
        }
        waiting = later;
    }
}

fn milliseconds(since_1970: i64) -> Timestamp {
    Timestamp::from_millisecond(since_1970).unwrap_or(Timestamp::UNIX_EPOCH)
}
