//! Traces for the tests of the views.

use common::json::value::{Map, Value};
use jiff::Timestamp;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};

/// Ids are numbers, 0 for no parent. The times are seconds.
pub(super) fn span(id: u8, parent: u8, name: &str, from: i64, to: i64) -> Span {
    let at = |second| Timestamp::from_second(second).unwrap();
    let span_type = match name.split('_').next() {
        Some("llm") => SpanType::Llm,
        Some("tool") => SpanType::Tool,
        Some("compaction") => SpanType::Chain,
        _ => SpanType::Agent,
    };
    Span {
        id: SpanId([id; 8]),
        parent: (parent > 0).then_some(SpanId([parent; 8])),
        name: name.to_owned(),
        span_type,
        status: SpanStatus::Ok,
        started_at: at(from),
        ended_at: at(to),
        inputs: Value::Null,
        outputs: Value::Null,
        attributes: Map::new(),
        events: Vec::new(),
    }
}

pub(super) fn trace(spans: Vec<Span>) -> Trace {
    Trace {
        id: TraceId([1; 16]),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: spans[0].started_at,
        ended_at: spans[0].ended_at,
        request_preview: None,
        response_preview: None,
        context: Default::default(),
        metadata: [("mlflow.trace.working_directory".to_owned(), "/w".to_owned())].into(),
        tags: [].into(),
        spans,
    }
}
