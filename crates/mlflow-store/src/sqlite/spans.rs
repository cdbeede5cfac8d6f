//! Writes the spans of one trace, with their model and cost in the columns that MLflow reads.

use super::rows::{TraceRows, upsert};
use crate::derived::attribute;
use crate::keys;
use crate::trace::Span;
use crate::wire::{WireSpan, json, nanoseconds};
use rusqlite::params;
use rusqlite::types::Value as Sql;
use std::collections::{BTreeMap, BTreeSet};

/// Updates the spans of a trace in place, and deletes those that it no longer has. Users cannot add spans.
pub(super) fn write(rows: TraceRows, experiment: i64) -> rusqlite::Result<()> {
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
            ("status", span.status.as_str().to_owned().into()),
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

/// The width of `spans.model_name` and `spans.model_provider`, in characters. MLflow cuts longer values.
const WIDTH: usize = 500;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) model: Option<String>,
    pub(super) provider: Option<String>,
    /// In the order of `COST_KEYS`, in US dollars.
    pub(super) costs: [Option<f64>; 3],
}

impl Facts {
    pub(super) fn from_span(span: &Span) -> Facts {
        let text = |key| {
            let value = attribute(span, key)?;
            Some(value.as_str()?.chars().take(WIDTH).collect())
        };
        let cost = span.attributes.get(keys::SPAN_COST);
        Facts {
            model: text(keys::SPAN_MODEL),
            provider: text(keys::SPAN_PROVIDER),
            costs: keys::COST_KEYS.map(|key| cost?.get(key)?.as_f64()),
        }
    }

    /// The JSON of `spans.dimension_attributes` (3.10 to 3.14). `null` without facts, as a server writes it.
    pub(super) fn dimensions(&self) -> String {
        let all = [(keys::SPAN_MODEL, &self.model), (keys::SPAN_PROVIDER, &self.provider)];
        let known: BTreeMap<&str, &String> =
            all.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        json(&Some(known).filter(|known| !known.is_empty()))
    }

    /// The rows of `span_metrics` (3.10 to 3.14).
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        keys::COST_KEYS.into_iter().zip(self.costs).filter_map(|(key, value)| Some((key, value?)))
    }
}
