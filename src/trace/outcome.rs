//! How a turn ended, in the words of spans, events and previews.

use super::build::put;
use super::model::{SpanEvent, SpanStatus, TraceState};
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::session::model::TurnStatus;
use jiff::Timestamp;

/// Why a turn that was lost is an error.
const LOST: &str = "codex ended in the middle of the turn";

pub(super) fn outputs(response: Option<&Text>, status: &TurnStatus) -> Value {
    let mut outputs = Map::new();
    // Absent rather than null: MLflow's page would show "null" as the answer.
    put(&mut outputs, "response", response);
    put(&mut outputs, "status", Some(Text::word(word_of(status))));
    if let TurnStatus::Failed { message, .. } = status {
        put(&mut outputs, "error", Some(message.as_str()));
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

/// To interrupt is a person's right, not an error.
pub(super) fn status_of(status: &TurnStatus) -> SpanStatus {
    match status {
        TurnStatus::Running => SpanStatus::Unset,
        TurnStatus::Completed | TurnStatus::Interrupted { .. } => SpanStatus::Ok,
        TurnStatus::Failed { message, .. } => SpanStatus::Error { message: message.clone() },
        TurnStatus::Lost => SpanStatus::Error { message: LOST.into() },
    }
}

/// A session stands as its last turn does: one that failed and was taken up again is well.
pub(super) fn state_of(status: &TurnStatus) -> TraceState {
    match status_of(status) {
        SpanStatus::Unset => TraceState::InProgress,
        SpanStatus::Ok => TraceState::Ok,
        SpanStatus::Error { .. } => TraceState::Error,
    }
}

/// The text in MLflow's list where there is no answer. Without one, a server shows the outputs as JSON.
pub(super) fn preview_of(status: &TurnStatus) -> String {
    match status {
        TurnStatus::Failed { message, .. } => format!("failed: {message}"),
        _ => word_of(status).into(),
    }
}

/// What MLflow's page shows beside a failed turn. It takes a span for failed only if there is such an event.
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
    put(&mut attributes, "exception.type", Some(kind));
    put(&mut attributes, "exception.message", Some(message));
    SpanEvent { name: "exception".into(), at, attributes }
}
