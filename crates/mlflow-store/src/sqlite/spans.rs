//! Writes the spans of one trace, with their model and cost in the columns that MLflow reads.

use super::facts::Facts;
use super::rows::{TraceRows, upsert};
use crate::keys;
use crate::wire::{WireSpan, json, nanoseconds, status_name};
use rusqlite::params;
use rusqlite::types::Value as Sql;
use std::collections::BTreeSet;

/// Updates the spans of a trace in place, and deletes those that it no longer has. Users cannot add spans.
pub(super) fn write(rows: TraceRows, experiment: i64) -> Result<(), rusqlite::Error> {
    let TraceRows { transaction, shape, id, trace } = rows;
    let ours: BTreeSet<String> = trace.spans.iter().map(|span| span.id.to_string()).collect();
    let there: Vec<String> = transaction
        .prepare("SELECT span_id FROM spans WHERE trace_id = ?")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for gone in there.iter().filter(|span| !ours.contains(*span)) {
        transaction.execute("DELETE FROM spans WHERE trace_id = ? AND span_id = ?", [id, gone])?;
    }
    if shape.span_facts.in_metrics() {
        transaction.execute("DELETE FROM span_metrics WHERE trace_id = ?", [id])?;
    }
    for span in &trace.spans {
        let facts = Facts::from_span(span);
        let mut row: Vec<(&str, Sql)> = vec![
            ("trace_id", id.to_owned().into()),
            ("span_id", span.id.to_string().into()),
            ("experiment_id", experiment.into()),
            ("parent_span_id", span.parent.map(|parent| parent.to_string()).into()),
            ("name", span.name.clone().into()),
            ("type", span.span_type.as_str().to_owned().into()),
            ("status", status_name(&span.status).to_owned().into()),
            ("start_time_unix_nano", nanoseconds(span.started_at).into()),
            ("end_time_unix_nano", nanoseconds(span.ended_at).into()),
            ("content", json(&WireSpan::from_span(trace.id, span)).into()),
        ];
        if shape.span_facts.in_metrics() {
            row.push(("dimension_attributes", facts.dimensions().into()));
        }
        if shape.span_facts.in_columns() {
            row.extend(keys::COST_KEYS.into_iter().zip(facts.costs.map(Sql::from)));
            row.push(("model_name", facts.model.clone().into()));
            row.push(("model_provider", facts.provider.clone().into()));
        }
        upsert(transaction, "spans", "trace_id, span_id", row)?;
        if shape.span_facts.in_metrics() {
            let sql = "INSERT INTO span_metrics (trace_id, span_id, key, value) VALUES (?, ?, ?, ?)";
            for (key, value) in facts.metrics() {
                transaction.execute(sql, params![id, span.id.to_string(), key, value])?;
            }
        }
    }
    Ok(())
}
