//! How a turn ended, as span status, events and previews.

use codex_session::session::model::TurnStatus;
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::Timestamp;
use mlflow_store::trace::{SpanEvent, SpanStatus, TraceState};

/// Error message of a lost turn.
const LOST: &str = "codex ended in the middle of the turn";

/// Outputs of a turn's span.
pub(super) fn outputs(response: Option<&Text>, status: &TurnStatus) -> Value {
    let mut outputs = Map::new();
    // A missing answer is absent: MLflow's page would show null as the answer.
    outputs.put("response", response);
    outputs.put("status", Some(Text::word(word_of(status))));
    if let TurnStatus::Failed { message, .. } = status {
        outputs.put("error", Some(message.as_str()));
    }
    Value::Object(outputs)
}

fn word_of(status: &TurnStatus) -> &'static str {
    match status {
        TurnStatus::Running => "running",
        TurnStatus::Completed => "completed",
        TurnStatus::Failed { .. } => "failed",
        TurnStatus::Interrupted { .. } => "interrupted",
        TurnStatus::Lost => "lost",
    }
}

/// An interrupt by the user is no error.
pub(super) fn status_of(status: &TurnStatus) -> SpanStatus {
    match status {
        TurnStatus::Running => SpanStatus::Unset,
        TurnStatus::Completed | TurnStatus::Interrupted { .. } => SpanStatus::Ok,
        TurnStatus::Failed { message, .. } => SpanStatus::Error { message: message.clone() },
        TurnStatus::Lost => SpanStatus::Error { message: LOST.into() },
    }
}

/// State of a trace whose last turn has this status. A session that continued after a failed turn is OK.
pub(super) fn state_of(status: &TurnStatus) -> TraceState {
    match status_of(status) {
        SpanStatus::Unset => TraceState::InProgress,
        SpanStatus::Ok => TraceState::Ok,
        SpanStatus::Error { .. } => TraceState::Error,
    }
}

/// Response preview for a turn without an answer. Without a preview, an MLflow server shows the outputs as JSON.
pub(super) fn preview_of(status: &TurnStatus) -> String {
    match status {
        TurnStatus::Failed { message, .. } => format!("failed: {message}"),
        _ => word_of(status).into(),
    }
}

/// The exception event of a failed turn. MLflow's page marks a span as failed only if it has one.
pub(super) fn failure_event(status: &TurnStatus, at: Timestamp) -> Vec<SpanEvent> {
    match status {
        TurnStatus::Failed { message, kind } => {
            vec![exception(kind.as_deref().unwrap_or("TurnError"), message, at)]
        }
        TurnStatus::Lost => vec![exception("TurnLost", LOST, at)],
        TurnStatus::Running | TurnStatus::Completed | TurnStatus::Interrupted { .. } => Vec::new(),
    }
}

pub(super) fn exception(kind: impl Into<Value>, message: &str, at: Timestamp) -> SpanEvent {
    let mut attributes = Map::new();
    attributes.put("exception.type", Some(kind));
    attributes.put("exception.message", Some(message));
    SpanEvent { name: "exception".into(), at, attributes }
}
