//! Statements on the rows of one trace, and of its spans with their model and cost in the columns that MLflow
//! reads.

use super::schema::SchemaShape;
use super::span_contents::Contents;
use crate::derived_attributes::attribute;
use crate::mlflow_keys;
use crate::trace::{Span, Trace};
use crate::wire::{json, nanoseconds};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Params, params, params_from_iter};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A trace that is written within a transaction.
#[derive(Clone, Copy)]
pub(super) struct TraceRows<'a> {
    pub(super) transaction: &'a Connection,
    pub(super) shape: SchemaShape,
    pub(super) id: &'a str,
    pub(super) trace: &'a Trace,
}

/// Executes a statement that the connection compiles once. Returns the number of changed rows.
pub(super) fn execute(connection: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}

/// Inserts a row or updates it in place, except its first two columns. Unlike INSERT OR REPLACE, this deletes
/// no row, so rows that refer to it stay. A row that is the same already is not written; returns whether it was.
pub(super) fn upsert(
    connection: &Connection,
    table: &str,
    unique: &str,
    row: Vec<(&str, Sql)>,
) -> rusqlite::Result<bool> {
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let of =
        |table: &str| -> Vec<String> { names.iter().skip(2).map(|name| format!("{table}.{name}")).collect() };
    let (now, new) = (of(table).join(", "), of("excluded").join(", "));
    let otherwise = format!(
        " ON CONFLICT ({unique}) DO UPDATE SET ({}) = ({new}) WHERE ({now}) IS NOT ({new})",
        names[2..].join(", ")
    );
    insert(connection, table, row, &otherwise)
}

/// Inserts a row that is not there, or does as the clause `otherwise` has it; returns whether it wrote.
///
/// Without such a clause SQLite changes pages at once. With one it first copies each of them into a file, to take the row
/// back: two writes a page, a third of an import's time (SQLite 3.54).
fn insert(
    connection: &Connection,
    table: &str,
    row: Vec<(&str, Sql)>,
    otherwise: &str,
) -> rusqlite::Result<bool> {
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let sql = format!(
        "INSERT INTO {table} ({}) VALUES ({}){otherwise}",
        names.join(", "),
        vec!["?"; names.len()].join(", ")
    );
    let values = params_from_iter(row.into_iter().map(|(_, value)| value));
    execute(connection, &sql, values).map(|changed| changed > 0)
}

/// The trace's rows of `trace_tags` or `trace_request_metadata`.
pub(super) fn pairs(
    connection: &Connection,
    table: &str,
    id: &str,
) -> rusqlite::Result<BTreeMap<String, String>> {
    connection
        .prepare_cached(&format!("SELECT key, coalesce(value, '') FROM {table} WHERE request_id = ?"))?
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
    let tokens = object(metadata, mlflow_keys::TOKEN_USAGE);
    let sql = format!("INSERT OR {how} INTO trace_metrics (request_id, key, value) VALUES (?, ?, ?)");
    for key in mlflow_keys::TOKEN_KEYS {
        if let Some(value) = tokens[key].as_f64() {
            execute(connection, &sql, params![id, key, value])?;
        }
    }
    Ok(())
}

/// Counts a write to the trace's spans, where MLflow does.
pub(super) fn count_write(connection: &Connection, shape: SchemaShape, id: &str) -> rusqlite::Result<()> {
    if shape.counts_writes {
        let sql =
            "UPDATE trace_info SET db_payload_generation = db_payload_generation + 1 WHERE request_id = ?";
        execute(connection, sql, [id])?;
    }
    Ok(())
}

impl TraceRows<'_> {
    /// Writes those of the spans that are new or not the same as their row.
    pub(super) fn write_spans(self, experiment: i64, contents: &mut Contents) -> rusqlite::Result<()> {
        let TraceRows { transaction, shape, id, trace } = self;
        let sql = "SELECT EXISTS (SELECT 1 FROM spans WHERE trace_id = ?)";
        let is_known: bool = transaction.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        for span in &trace.spans {
            let content = contents.next().expect("each span has a content");
            let span_id = span.id.to_string();
            let facts = Facts::from_span(span);
            let mut row: Vec<(&str, Sql)> = vec![
                ("trace_id", id.to_owned().into()),
                ("span_id", span_id.clone().into()),
                ("experiment_id", experiment.into()),
                ("parent_span_id", span.parent.map(|parent| parent.to_string()).into()),
                ("name", span.name.clone().into()),
                ("type", span.span_type.as_str().to_owned().into()),
                ("status", span.status.as_str().to_owned().into()),
                ("start_time_unix_nano", nanoseconds(span.started_at).into()),
                ("end_time_unix_nano", nanoseconds(span.ended_at).into()),
                ("content", content.into()),
            ];
            if shape.span_facts.in_metrics() {
                row.push(("dimension_attributes", facts.dimensions().into()));
            }
            if shape.span_facts.in_columns() {
                row.extend(mlflow_keys::COST_KEYS.into_iter().zip(facts.costs.map(Sql::from)));
                row.push(("model_name", facts.model.clone().into()));
                row.push(("model_provider", facts.provider.clone().into()));
            }
            // A trace's spans have different ids.
            let is_written = match is_known {
                true => upsert(transaction, "spans", "trace_id, span_id", row)?,
                false => insert(transaction, "spans", row, "")?,
            };
            if is_written && shape.span_facts.in_metrics() {
                delete_span_rows(transaction, "span_metrics", [id, &span_id])?;
                facts.write_metrics(transaction, [id, &span_id])?;
            }
        }
        Ok(())
    }

    /// Deletes the spans that the trace no longer has. Users cannot add spans.
    pub(super) fn delete_other_spans(self) -> rusqlite::Result<()> {
        let TraceRows { transaction, shape, id, trace } = self;
        let ours: BTreeSet<String> = trace.spans.iter().map(|span| span.id.to_string()).collect();
        let there: Vec<String> = transaction
            .prepare_cached("SELECT span_id FROM spans WHERE trace_id = ?")?
            .query_map([id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for gone in there.iter().filter(|span| !ours.contains(*span)) {
            if shape.span_facts.in_metrics() {
                delete_span_rows(transaction, "span_metrics", [id, gone])?;
            }
            delete_span_rows(transaction, "spans", [id, gone])?;
        }
        Ok(())
    }
}

fn delete_span_rows(from: &Connection, table: &str, [trace, span]: [&str; 2]) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM {table} WHERE trace_id = ? AND span_id = ?");
    execute(from, &sql, [trace, span]).map(drop)
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
        let cost = span.attributes.get(mlflow_keys::SPAN_COST);
        Facts {
            model: text(mlflow_keys::SPAN_MODEL),
            provider: text(mlflow_keys::SPAN_PROVIDER),
            costs: mlflow_keys::COST_KEYS.map(|key| cost?.get(key)?.as_f64()),
        }
    }

    /// The JSON of `spans.dimension_attributes` (3.10 to 3.14). `null` without facts, as a server writes it.
    pub(super) fn dimensions(&self) -> String {
        let all = [(mlflow_keys::SPAN_MODEL, &self.model), (mlflow_keys::SPAN_PROVIDER, &self.provider)];
        let known: BTreeMap<&str, &String> =
            all.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        json(&Some(known).filter(|known| !known.is_empty()))
    }

    /// Adds the rows of `span_metrics` (3.10 to 3.14) that are missing, and returns their number.
    pub(super) fn write_metrics(&self, to: &Connection, [trace, span]: [&str; 2]) -> rusqlite::Result<usize> {
        let mut added = 0;
        for (key, value) in
            mlflow_keys::COST_KEYS.into_iter().zip(self.costs).filter(|(_, value)| value.is_some())
        {
            let sql =
                "INSERT OR IGNORE INTO span_metrics (trace_id, span_id, key, value) VALUES (?, ?, ?, ?)";
            added += execute(to, sql, params![trace, span, key, value])?;
        }
        Ok(added)
    }
}
