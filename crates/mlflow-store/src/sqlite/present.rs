//! Which traces a database still has: the row of a trace, and its spans unless they are archived.

use super::error::SqliteError;
use super::reading;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use crate::keys;
use crate::lost::{self, Lost, SentTrace};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::path::Path;

/// Traces per statement; SQLite takes 32 766 values in one.
const AT_ONCE: usize = 10_000;

pub fn lost(path: &Path, sent: &[SentTrace]) -> Result<Lost, ExportError> {
    let present = reading(path, |connection, _| {
        let some = sent.chunks(AT_ONCE).map(|some| traces(connection, some));
        Ok(Some(some.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()))
    })?;
    lost::find(sent, &present.unwrap_or_default(), |experiment_id| {
        reading(path, |connection, _| {
            let query = "SELECT coalesce(creation_time, 0) FROM experiments
                         WHERE CAST(experiment_id AS TEXT) = ?1 AND lifecycle_stage IS NOT 'deleted'";
            let time = connection.query_row(query, [experiment_id], |row| row.get(0)).optional()?;
            Ok(time.and_then(|time| Timestamp::from_millisecond(time).ok()))
        })
    })
}

fn traces(connection: &Connection, sent: &[SentTrace]) -> Result<Vec<TraceId>, SqliteError> {
    let marks = vec!["?"; sent.len()].join(", ");
    // An archived trace has a tag with another location of its spans.
    let query = format!(
        "SELECT request_id FROM trace_info AS info WHERE request_id IN ({marks})
           AND (EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = info.request_id)
                OR NOT EXISTS (SELECT 1 FROM trace_tags AS tag WHERE tag.request_id = info.request_id
                               AND tag.key = '{}' AND tag.value = '{}'))",
        keys::SPANS_LOCATION,
        keys::IN_TRACKING_STORE
    );
    let mut statement = connection.prepare(&query)?;
    let ids = params_from_iter(sent.iter().map(|one| one.trace.to_string()));
    let found = statement.query_map(ids, |row| row.get::<_, String>(0))?;
    let found = found.collect::<Result<Vec<String>, _>>()?;
    Ok(found.iter().filter_map(|id| id.parse().ok()).collect())
}
