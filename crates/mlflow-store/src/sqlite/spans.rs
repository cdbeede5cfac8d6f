//! Writes the spans of one trace, with their model and cost in the columns that MLflow reads.

use super::error::SqliteError;
use super::facts::Facts;
use super::shape::SchemaShape;
use super::upsert::upsert;
use crate::keys;
use crate::trace::Trace;
use crate::wire::{WireSpan, json, nanoseconds, status_name};
use rusqlite::types::Value as Sql;
use rusqlite::{Transaction, params, params_from_iter};
use std::collections::BTreeSet;

/// Updates the spans of a trace in place, and deletes those that it no longer has. Users cannot add spans.
pub(super) fn write(
    transaction: &Transaction<'_>,
    shape: SchemaShape,
    id: &str,
    trace: &Trace,
    experiment: i64,
) -> Result<(), SqliteError> {
    let ours: BTreeSet<String> = trace.spans.iter().map(|span| span.id.to_string()).collect();
    let there: Vec<String> = transaction
        .prepare("SELECT span_id FROM spans WHERE trace_id = ?")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for gone in there.iter().filter(|span| !ours.contains(*span)) {
        transaction.execute("DELETE FROM spans WHERE trace_id = ? AND span_id = ?", [id, gone])?;
    }
    if shape.span_facts.in_dimensions() {
        transaction.execute("DELETE FROM span_metrics WHERE trace_id = ?", [id])?;
    }

    let mut columns = vec![
        "trace_id",
        "span_id",
        "experiment_id",
        "parent_span_id",
        "name",
        "type",
        "status",
        "start_time_unix_nano",
        "end_time_unix_nano",
        "content",
    ];
    if shape.span_facts.in_dimensions() {
        columns.push("dimension_attributes");
    }
    if shape.span_facts.in_columns() {
        columns.extend(keys::COST_KEYS);
        columns.extend(["model_name", "model_provider"]);
    }
    let mut put = transaction.prepare(&upsert("spans", &columns, &columns[..2], "trace_id, span_id"))?;
    for span in &trace.spans {
        let facts = Facts::from_span(span);
        let mut row: Vec<Sql> = vec![
            id.to_owned().into(),
            span.id.to_string().into(),
            experiment.into(),
            span.parent.map(|parent| parent.to_string()).into(),
            span.name.clone().into(),
            span.span_type.as_str().to_owned().into(),
            status_name(&span.status).to_owned().into(),
            nanoseconds(span.started_at).into(),
            nanoseconds(span.ended_at).into(),
            json(&WireSpan::from_span(trace.id, span)).into(),
        ];
        if shape.span_facts.in_dimensions() {
            row.push(facts.dimensions().into());
        }
        if shape.span_facts.in_columns() {
            row.extend(facts.costs.map(Sql::from));
            row.push(facts.model.clone().into());
            row.push(facts.provider.clone().into());
        }
        put.execute(params_from_iter(row))?;
        if shape.span_facts.in_dimensions() {
            for (key, value) in facts.metrics() {
                transaction.execute(
                    "INSERT INTO span_metrics (trace_id, span_id, key, value) VALUES (?, ?, ?, ?)",
                    params![id, span.id.to_string(), key, value],
                )?;
            }
        }
    }
    Ok(())
}
