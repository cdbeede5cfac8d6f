//! The trace info of MLflow's REST API: everything about a trace but its spans.

use crate::mlflow_keys::{self, ACTIVE_MS};
use crate::tags::{self, Record, TagUpdate};
use crate::trace::Trace;
use crate::wire::json;
use serde_json::{Value, json as object};
use std::collections::BTreeMap;

/// The body of `POST …/api/3.0/mlflow/traces`. The update's tags include the trace's name; its record is stored in
/// the metadata, for the next update.
pub(crate) fn body(trace: &Trace, experiment: &str, update: &TagUpdate) -> Value {
    object!({"trace": {"trace_info": {
        "trace_id": trace.id.to_string(),
        "trace_location": location(experiment),
        "request_time": request_time(trace),
        "execution_duration": execution_duration(trace),
        "state": trace.state.as_str(),
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "trace_metadata": metadata(trace, &update.record),
        "tags": update.write,
    }}})
}

/// The location of a trace: the experiment with this id.
pub(crate) fn location(experiment: &str) -> Value {
    object!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}})
}

/// The trace's metadata, and the record of its tags for the next update.
pub(crate) fn metadata(trace: &Trace, record: &Record) -> BTreeMap<String, String> {
    let own =
        trace.metadata.iter().map(|(key, value)| (key.clone(), cut(value, mlflow_keys::METADATA_WIDTH)));
    let mut all: BTreeMap<String, String> = own.collect();
    all.insert(tags::RECORD.to_owned(), json(record));
    all
}

/// Every tag that the trace should have. MLflow keeps the trace's name as a tag.
pub(crate) fn tags(trace: &Trace) -> BTreeMap<String, String> {
    let own = trace.tags.iter().map(|(key, value)| (key.clone(), cut(value, mlflow_keys::TAG_WIDTH)));
    let mut all: BTreeMap<String, String> = own.collect();
    all.insert(mlflow_keys::TRACE_NAME.to_owned(), cut(&trace.name, mlflow_keys::TAG_WIDTH));
    all
}

/// RFC 3339 in milliseconds, which is MLflow's precision.
pub(crate) fn request_time(trace: &Trace) -> String {
    let milliseconds = jiff::Timestamp::from_millisecond(trace.started_at.as_millisecond());
    format!("{:.3}", milliseconds.unwrap_or(trace.started_at))
}

/// How long the agent worked, in whole milliseconds. Dashboards show it as the latency, so it excludes the time
/// in which a session waits for its user. From start to end if no turn has times.
pub(crate) fn took(trace: &Trace) -> i64 {
    let active = trace.root().and_then(|root| root.attributes.get(ACTIVE_MS)?.as_number()?.as_i64());
    let wall = || trace.ended_at.as_millisecond() - trace.started_at.as_millisecond();
    active.unwrap_or_else(wall).max(0)
}

fn execution_duration(trace: &Trace) -> String {
    let took = took(trace);
    format!("{}.{:03}s", took / 1000, took % 1000)
}

/// Cuts text to `width` characters; a cut text ends in "...", as MLflow's own clients write it.
pub(crate) fn cut(text: &str, width: usize) -> String {
    const CUT: &str = "...";
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - CUT.len()).chain(CUT.chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TraceId;
    use crate::trace::TraceState;

    fn trace() -> Trace {
        Trace {
            id: TraceId([1; 16]),
            name: "codex_cli_session".to_owned(),
            state: TraceState::InProgress,
            started_at: "2026-11-22T09:54:45.0979Z".parse().unwrap(),
            ended_at: "2026-11-22T09:56:46.0051Z".parse().unwrap(),
            request_preview: Some("hi".to_owned()),
            response_preview: None,
            context: Default::default(),
            metadata: [("session_file".to_owned(), "x".repeat(300))].into(),
            tags: [("codex.cli_version".to_owned(), "0.169.0".to_owned())].into(),
            spans: Vec::new(),
        }
    }

    #[test]
    fn the_body_has_the_keys_and_widths_of_the_rest_api() {
        let record = Record::from([("a".to_owned(), "1".to_owned())]);
        let update = TagUpdate { write: tags(&trace()), record, ..TagUpdate::default() };
        let expected = object!({"trace": {"trace_info": {
            "trace_id": "tr-01010101010101010101010101010101",
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "7"}},
            "request_time": "2026-11-22T09:54:45.097Z",
            "execution_duration": "120.908s",
            "state": "IN_PROGRESS",
            "request_preview": "hi",
            "response_preview": null,
            "trace_metadata": {
                "session_file": format!("{}...", "x".repeat(247)),
                "mlflow.codex.tagsWritten": "{\"a\": \"1\"}",
            },
            "tags": {"codex.cli_version": "0.169.0", "mlflow.traceName": "codex_cli_session"},
        }}});
        assert_eq!(body(&trace(), "7", &update), expected);
    }

    #[test]
    fn a_clock_that_went_back_gives_no_negative_duration() {
        let mut trace = trace();
        trace.ended_at = "2020-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(execution_duration(&trace), "0.000s");
    }

    #[test]
    fn text_is_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüäöü", 5), "äö...");
    }
}
