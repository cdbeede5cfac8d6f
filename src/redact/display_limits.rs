//! How MLflow's page can show the texts of a trace: a mark replaces the middle of long ones and states its size, and
//! tools' texts of several lines are one level down.
//!
//! Runs after redaction: no rule recognizes half a secret, and some need the name next to the value.

#[cfg(test)]
mod tests;

use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::trace::{LAST_WORDS_CHARACTERS, PREVIEW_CHARACTERS, Span, SpanStatus, SpanType, Trace};

/// Bytes of any text. A page is useless with more, and a server may refuse it.
const LONGEST_TEXT: usize = 1 << 20;

/// Bytes of a conversation's message. The span also holds the prompt or answer itself.
const LONGEST_MESSAGE: usize = 64 << 10;

/// The field that holds a text of several lines.
const TEXT: &str = "text";

/// Levels of nested lists and objects; deeper values become text. JSON parsers stop at 128 levels, and a stored trace
/// adds some levels of its own.
const DEEPEST: usize = 100;

/// MLflow's columns for metadata are 250 characters wide.
const METADATA_CHARACTERS: usize = 250;

/// Bytes of a span's status message. The span's outputs hold the whole text.
const LONGEST_STATUS: usize = 8 << 10;

/// Cuts previews.
pub(super) fn cut_information(trace: &mut Trace) {
    for preview in [&mut trace.request_preview, &mut trace.response_preview].into_iter().flatten() {
        *preview = first(preview, PREVIEW_CHARACTERS);
    }
    for key in ["mlflow.traceInputs", "mlflow.traceOutputs"] {
        if let Some(value) = trace.metadata.get_mut(key) {
            *value = first(value, METADATA_CHARACTERS);
        }
    }
}

/// Whether [`cut_span`] may change the span: true for few that it does not change, and for all others that it does.
pub(super) fn may_exceed(span: &Span) -> bool {
    fn is_long(value: &Value, depth: usize) -> bool {
        match value {
            Value::String(text) => text.len() > LONGEST_MESSAGE,
            Value::Array(_) | Value::Object(_) if depth == DEEPEST => true,
            Value::Array(values) => values.iter().any(|value| is_long(value, depth + 1)),
            Value::Object(values) => values.iter().any(|(_, value)| is_long(value, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let is_long_error =
        matches!(&span.status, SpanStatus::Error { message } if message.len() > LONGEST_STATUS);
    let mut attributes = span.attributes.iter();
    is_long_error
        || !span.events.is_empty()
        || is_long(&span.inputs, 0)
        || is_long(&span.outputs, 0)
        || attributes.any(|(_, value)| is_long(value, 1))
}

/// The last step of redaction: cuts the message of an error, and every text above its limit.
pub(super) fn cut_span(span: &mut Span) {
    if let SpanStatus::Error { message } = &mut span.status
        && let Some(short) = shortened(message, LONGEST_STATUS)
    {
        *message = short;
    }
    if span.span_type == SpanType::Agent {
        limit_conversation(span);
    }
    limit(&mut span.inputs, 0);
    limit(&mut span.outputs, 0);
    limit_all(&mut span.attributes);
    for event in &mut span.events {
        if let Some(Value::String(message)) = event.attributes.get_mut("exception.message")
            && let Some(kept) = shortened_output(message)
        {
            *message = kept.into();
        }
        limit_all(&mut event.attributes);
    }
}

/// Cuts the messages of a conversation, in the inputs and in the answer.
fn limit_conversation(span: &mut Span) {
    let choices = list_of(&mut span.outputs, "choices").iter_mut();
    let answers = choices.filter_map(|choice| choice.get_mut("message"));
    for message in list_of(&mut span.inputs, "messages").iter_mut().chain(answers) {
        if let Some(Value::String(text)) = message.get_mut("content")
            && let Some(short) = shortened(text, LONGEST_MESSAGE)
        {
            *text = short.into();
        }
    }
}

fn list_of<'v>(value: &'v mut Value, name: &str) -> &'v mut [Value] {
    match value.get_mut(name) {
        Some(Value::Array(list)) => list,
        _ => &mut [],
    }
}

/// The first line, and the end of the program's output below it.
fn shortened_output(message: &str) -> Option<String> {
    let (sentence, printed) = message.split_once('\n')?;
    Some(format!("{sentence}\n{}", last(printed, LAST_WORDS_CHARACTERS)))
}

/// The first characters; `…` marks a cut text.
fn first(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
    }
}

/// The last characters; `…` marks a cut text.
fn last(text: &str, characters: usize) -> String {
    match text.char_indices().rev().nth(characters - 1) {
        None | Some((0, _)) => text.to_owned(),
        Some((start, _)) => format!("…{}", &text[start..]),
    }
}

fn limit_all(values: &mut Map) {
    values.values_mut().for_each(|value| limit(value, 1));
}

fn limit(value: &mut Value, depth: usize) {
    match value {
        Value::String(text) => {
            if let Some(short) = shortened(text, LONGEST_TEXT) {
                *text = short.into();
            }
        }
        Value::Array(_) | Value::Object(_) if depth == DEEPEST => {
            *value = value.to_string().into();
            limit(value, depth);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| limit(value, depth + 1)),
        Value::Object(values) => values.values_mut().for_each(|value| limit(value, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Both ends of a text: the request and the result. None for a text within the limit.
fn shortened(text: &str, longest: usize) -> Option<String> {
    let before = text.len();
    if before <= longest {
        return None;
    }
    let head = text.floor_char_boundary(longest / 2);
    let tail = text.ceil_char_boundary(before - longest / 2);
    Some(format!("{}\n[… {} of {before} bytes cut …]\n{}", &text[..head], tail - head, &text[tail..]))
}

/// Moves each text of several lines in the inputs and outputs of tools one level down, as `{"text": …}` under its own
/// name. MLflow's page renders a top-level text there as Markdown, which joins lines and makes a patch unreadable. It
/// shows a text one level down line by line.
pub(super) fn nest(span: &mut Span) {
    if span.span_type != SpanType::Tool {
        return;
    }
    for value in [&mut span.inputs, &mut span.outputs] {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(nest_text),
            other => nest_text(other),
        }
    }
}

fn nest_text(value: &mut Value) {
    if let Value::String(text) = value
        && text.trim_end().contains('\n')
    {
        let mut fields = Map::with_capacity(1);
        fields.insert(Text::word(TEXT), Value::String(text.clone()));
        *value = Value::Object(fields);
    }
}

/// The text, at the top or one level down.
pub fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(TEXT)?.as_str())
}
