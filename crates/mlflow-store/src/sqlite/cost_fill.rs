//! Fills, once, the columns that an upgrade of MLflow leaves empty in rows of codex-traced.
//!
//! A database that codex-traced creates has MLflow's first schema with spans. Later MLflows keep the model
//! and the cost of a span, and the tokens of a trace, also in separate tables and columns. Their upgrade
//! creates those empty, or fills them from tables that the first schema lacks, so values cannot be written in
//! advance. Without them MLflow's cost charts are empty.

use super::connection::connect_to_existing;
use super::error::Result;
use super::rows::{Facts, count_write, pairs, write_tokens};
use super::schema::SchemaShape;

use crate::exporter::ExportError;
use crate::mlflow_keys;
use crate::tags;
use crate::wire::WireSpan;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// Traces per transaction: MLflow waits for the lock until it ends.
const TOGETHER: usize = 50;

/// Longest wait for another program's lock; a later call fills the rest.
const LOCKED: Duration = Duration::from_secs(5);

/// The result of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Spans that got their model, provider or cost.
    pub spans: usize,
    /// Traces that wait for the next call.
    pub traces_left: usize,
}

/// Fills rows of codex-traced's own traces until `patience` ends. Changes no other program's rows and no
/// existing values, and creates nothing.
pub fn fill(path: &Path, patience: Duration) -> Result<Filled, ExportError> {
    fill_all(path, patience).map_err(|error| error.at(path))
}

fn fill_all(path: &Path, patience: Duration) -> Result<Filled> {
    let mut filled = Filled::default();
    let until = Instant::now() + patience;
    let Some((mut connection, shape)) = connect_to_existing(path, patience.min(LOCKED))? else {
        return Ok(filled);
    };
    let mut waiting = waiting(&connection, shape)?;
    while !waiting.is_empty() {
        let some = waiting.split_off(waiting.len().saturating_sub(TOGETHER));
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again inside the transaction, as for a write.
        let shape = SchemaShape::read(&transaction)?;
        for trace in &some {
            filled.spans += fill_trace(&transaction, shape, trace)?;
        }
        transaction.commit()?;
        if Instant::now() >= until {
            break;
        }
    }
    filled.traces_left = waiting.len();
    Ok(filled)
}

/// The traces of codex-traced that were not written since MLflow's upgrade.
///
/// Since 3.14 MLflow counts the writes to the spans of a trace, and its upgrade sets 0; codex-traced counts
/// its writes too. Before 3.14 the span's columns show it.
fn waiting(connection: &Connection, shape: SchemaShape) -> Result<Vec<String>> {
    let is_as_before = if shape.counts_writes {
        "(SELECT db_payload_generation FROM trace_info WHERE trace_info.request_id = ours.request_id) = 0"
    } else if shape.span_facts.in_metrics() {
        "NOT EXISTS (SELECT 1 FROM spans WHERE trace_id = ours.request_id AND dimension_attributes IS NOT NULL)"
    } else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT request_id FROM
           (SELECT request_id FROM trace_request_metadata WHERE key = ?1
            UNION SELECT request_id FROM trace_request_metadata WHERE key = 'source' AND value = 'codex_cli') AS ours
         WHERE {is_as_before}
           AND NOT EXISTS (SELECT 1 FROM trace_tags
             WHERE trace_tags.request_id = ours.request_id AND key = ?2 AND value <> ?3)
         ORDER BY request_id"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement
        .query_map([tags::RECORD, mlflow_keys::SPANS_LOCATION, mlflow_keys::IN_TRACKING_STORE], |row| {
            row.get(0)
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Fills one trace and returns the number of its spans that lacked a value.
fn fill_trace(transaction: &Transaction<'_>, shape: SchemaShape, trace: &str) -> Result<usize> {
    let mut filled = 0;
    let contents: Vec<(String, String)> = transaction
        .prepare("SELECT span_id, content FROM spans WHERE trace_id = ?")?
        .query_map([trace], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (span, content) in contents {
        let read = serde_json::from_str::<WireSpan>(&content).ok().and_then(WireSpan::into_span);
        let facts = read.map(|read| Facts::from_span(&read)).unwrap_or_default();
        let ids = [trace, &span];
        let in_columns = shape.span_facts.in_columns() && fill_columns(transaction, ids, &facts)?;
        let in_metrics = shape.span_facts.in_metrics() && fill_metrics(transaction, ids, &facts)?;
        filled += usize::from((in_columns || in_metrics) && facts != Facts::default());
    }
    if shape.totals.in_metrics() {
        // Every schema has the tokens in the metadata.
        write_tokens(transaction, "IGNORE", trace, &pairs(transaction, "trace_request_metadata", trace)?)?;
    }
    count_write(transaction, shape, trace)?;
    Ok(filled)
}

fn fill_columns(to: &Connection, [trace, span]: [&str; 2], facts: &Facts) -> Result<bool> {
    let [input, output, total] = facts.costs;
    let mut update = to.prepare_cached(
        "UPDATE spans SET (model_name, model_provider, input_cost, output_cost, total_cost) =
           (coalesce(model_name, ?3), coalesce(model_provider, ?4),
            coalesce(input_cost, ?5), coalesce(output_cost, ?6), coalesce(total_cost, ?7))
         WHERE trace_id = ?1 AND span_id = ?2
           AND (model_name, model_provider, input_cost, output_cost, total_cost) IS NOT
           (coalesce(model_name, ?3), coalesce(model_provider, ?4),
            coalesce(input_cost, ?5), coalesce(output_cost, ?6), coalesce(total_cost, ?7))",
    )?;
    Ok(update.execute(params![trace, span, facts.model, facts.provider, input, output, total])? > 0)
}

fn fill_metrics(to: &Connection, [trace, span]: [&str; 2], facts: &Facts) -> Result<bool> {
    let filled = to.execute(
        "UPDATE spans SET dimension_attributes = ?3
         WHERE trace_id = ?1 AND span_id = ?2 AND dimension_attributes IS NULL",
        [trace, span, &facts.dimensions()],
    )?;
    Ok(facts.write_metrics(to, [trace, span])? + filled > 0)
}
