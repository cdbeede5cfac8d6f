//! One trace for the tests of every store, the same session after a resume, and a server's answer.

use crate::exporter::ExportError;
use crate::ids::{SpanId, TraceId};
use crate::mlflow_keys;
use crate::rest::answer::Answer;
use crate::trace::{Span, SpanEvent, SpanStatus, SpanType, Trace, TraceState};
use common::json::value::Map;
use common::json::value::Value;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;
use std::collections::BTreeMap;

fn span(number: u8, parent: Option<u8>, name: &str, span_type: SpanType) -> Span {
    let second = |second: u8| format!("2026-11-22T09:54:{second:02}.125Z").parse().unwrap();
    Span {
        id: SpanId([number; 8]),
        parent: parent.map(|parent| SpanId([parent; 8])),
        name: name.to_owned(),
        span_type,
        status: SpanStatus::Ok,
        started_at: second(number),
        ended_at: second(30),
        inputs: json!({"prompt": name}).into(),
        outputs: Value::Null,
        attributes: Map::new(),
        events: Vec::new(),
    }
}

pub(super) fn trace() -> Trace {
    let object = |value: serde_json::Value| Value::from(value).as_object().cloned().unwrap();
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    };
    let mut call = span(2, Some(1), "llm_call_1", SpanType::Llm);
    call.outputs = json!({"response": "nö"}).into();
    call.attributes = object(json!({
        "input_tokens": 100,
        "mlflow.chat.tokenUsage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        "mlflow.llm.model": "gpt-5-codex",
        "mlflow.llm.provider": "openai",
        "mlflow.llm.cost": {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75},
    }));
    let mut tool = span(3, Some(2), "tool_exec", SpanType::Tool);
    tool.status = SpanStatus::Error { message: "exit code 3".to_owned() };
    tool.events = vec![SpanEvent {
        name: "exception".to_owned(),
        at: tool.ended_at,
        attributes: object(json!({"exception.type": "ToolError", "exception.message": "exit code 3"})),
    }];
    let root = span(1, None, "codex_cli_session", SpanType::Agent);
    Trace {
        id: TraceId([7; 16]),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: root.started_at,
        ended_at: root.ended_at,
        request_preview: Some("write a parser".to_owned()),
        response_preview: None,
        context: Default::default(),
        metadata: text(&[
            ("mlflow.trace_schema.version", "3"),
            (mlflow_keys::SESSION, "01a202b6-a73e-7ee3-8243-251c871b1d4f"),
            (
                mlflow_keys::TOKEN_USAGE,
                r#"{"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 50}"#,
            ),
            (mlflow_keys::COST, r#"{"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75}"#),
            ("source", "codex_cli"),
            ("codex.tokens_reconciled", "false"),
        ]),
        tags: text(&[("codex.cli_version", "0.169.0"), ("codex.status", "running")]),
        spans: vec![root, call, tool],
    }
}

/// The same session after a resume: another status, one span removed, one added, tokens reconciled.
pub(super) fn resumed() -> Trace {
    let mut trace = trace();
    trace.state = TraceState::Error;
    trace.metadata.remove("codex.tokens_reconciled");
    trace.tags.insert("codex.status".to_owned(), "completed".to_owned());
    trace.spans.truncate(2);
    trace.spans.push(span(4, Some(1), "llm_call_2", SpanType::Llm));
    trace
}

/// The error's kind and text.
pub(super) fn message(error: ExportError) -> String {
    match error {
        ExportError::Unclear { reason, .. } => format!("unclear: {reason}"),
        ExportError::Archived(reason) => format!("archived: {reason}"),
        ExportError::Gone(reason) => format!("gone: {reason}"),
        ExportError::Transient { reason, .. } => format!("transient: {reason}"),
        ExportError::Target(reason) => format!("target: {reason}"),
        ExportError::Experiment(reason) => format!("experiment: {reason}"),
        ExportError::Trace(reason) => format!("trace: {reason}"),
        ExportError::Stopped => "stopped".into(),
    }
}

pub(super) fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let header = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.iter().map(header).collect(),
        body: body.as_bytes().to_vec(),
    }
}
