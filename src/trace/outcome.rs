//! How turns and model requests ended, as span statuses, exception events and previews. And the excerpts of long texts
//! in these, with a margin: redaction cuts them to their final size after it removed secrets.

use codex_session::session::model::{Inference, ToolCall, TurnStatus};
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::Timestamp;
use mlflow_store::trace::{LAST_WORDS_CHARACTERS, PREVIEW_CHARACTERS, SpanEvent, SpanStatus, TraceState};

/// Error message of a lost turn.
const LOST: &str = "codex ended in the middle of the turn";

/// The `status` in the outputs of a turn or tool call that has not ended.
pub(super) const RUNNING: &str = "running";

/// OpenTelemetry's `error.type` for an error of unknown kind.
const OTHER: &str = "_OTHER";

/// `exception.type` where Codex records no kind.
const RESPONSE_ERROR: &str = "ResponseError";

/// Characters kept beyond a limit until redaction: longer than a private key.
const MARGIN_CHARACTERS: usize = 16 << 10;

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

pub(crate) fn word_of(status: &TurnStatus) -> &'static str {
    match status {
        TurnStatus::Running => RUNNING,
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
    let kind = match status {
        TurnStatus::Failed { kind, .. } => kind.as_deref().unwrap_or("TurnError"),
        _ => "TurnLost",
    };
    error_of(&status_of(status)).map(|message| exception(kind, message, at)).into_iter().collect()
}

pub(super) fn error_of(status: &SpanStatus) -> Option<&str> {
    match status {
        SpanStatus::Error { message } => Some(message),
        SpanStatus::Ok | SpanStatus::Unset => None,
    }
}

pub(super) fn exception(kind: impl Into<Value>, message: &str, at: Timestamp) -> SpanEvent {
    let mut attributes = Map::new();
    attributes.put("exception.type", Some(kind));
    attributes.put("exception.message", Some(message));
    SpanEvent { name: "exception".into(), at, attributes }
}

pub(super) fn put_error(attributes: &mut Map, inference: &Inference) {
    let is_error = inference.failure.is_some() || inference.has_broken_off;
    attributes.put("error.type", is_error.then(|| kind_of(inference).unwrap_or(Text::word(OTHER))));
    attributes.put("codex.attempt", inference.attempt);
}

/// The `exception.type` of the span's exception event.
pub(super) fn exception_type(inference: &Inference) -> Text {
    kind_of(inference).unwrap_or(Text::word(RESPONSE_ERROR))
}

/// Whether a failed request returned nothing. Its span has no outputs.
pub(super) fn has_returned_nothing(inference: &Inference) -> bool {
    let Inference { texts, reasoning, requests, .. } = inference;
    inference.failure.is_some() && texts.is_empty() && reasoning.is_empty() && requests.is_empty()
}

/// One word such as `usage_limit_exceeded`. Codex may write it as the only key of an object:
/// `{"http_connection_failed": {"http_status_code": 502}}`.
fn kind_of(inference: &Inference) -> Option<Text> {
    let kind = inference.failure.as_ref()?.kind.as_deref()?;
    let parsed: Option<Value> = serde_json::from_str(kind).ok();
    let word = parsed.as_ref().and_then(Value::as_object).and_then(|fields| fields.keys().next().cloned());
    Some(word.unwrap_or_else(|| kind.into()))
}

/// The beginning of a text that becomes a preview, with a margin for a secret at its end.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(PREVIEW_CHARACTERS + MARGIN_CHARACTERS).collect()
}

/// Adds the end of the output. MLflow's page opens a failed call at its event, where "exit code 1" explains nothing.
pub(super) fn with_last_words(message: &str, call: &ToolCall) -> String {
    let printed = call.facts.printed.as_deref().unwrap_or_default().trim_end();
    if printed.is_empty() || message.contains(printed) {
        return message.to_owned();
    }
    // The margin is for a secret at the beginning.
    let start = printed.char_indices().rev().nth(LAST_WORDS_CHARACTERS + MARGIN_CHARACTERS - 1);
    format!("{message}\n{}", &printed[start.map_or(0, |(at, _)| at)..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use codex_session::session::model::Failure;

    #[test]
    fn an_error_has_a_type_of_one_word() {
        let table = [
            (Some("usage_limit_exceeded"), "usage_limit_exceeded"),
            (Some(r#"{"http_connection_failed":{"http_status_code":502}}"#), "http_connection_failed"),
            (Some("{}"), "{}"),
            (None, OTHER),
        ];
        for (kind, word) in table {
            let failure = Some(Box::new(Failure { message: "no".into(), kind: kind.map(str::to_owned) }));
            let mut attributes = Map::new();
            put_error(&mut attributes, &Inference { failure, attempt: Some(2), ..Inference::default() });
            assert_eq!(attributes["error.type"], word, "{kind:?}");
            assert_eq!(attributes["codex.attempt"].as_u64(), Some(2));
        }
        let mut attributes = Map::new();
        put_error(&mut attributes, &Inference::default());
        assert!(attributes.is_empty());
    }
}
