//! Visits every text of a trace: names, previews, keys, nested values. And the visitor that replaces characters that a
//! store cannot keep.

use common::json::escapes;
use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::trace::{Span, SpanContext, SpanEvent, SpanStatus, Trace, TraceContext};
use std::mem;

/// U+2400, the symbol for NUL: it shows where the NUL was.
const NUL: char = '\u{2400}';

/// Replaces parts of texts. Both functions return None where the text stays as it is.
pub(super) trait RewriteTexts {
    fn text(&mut self, text: &str) -> Option<String>;

    /// For a value, whose clones may be elsewhere in the trace.
    fn shared_text(&mut self, text: &Text) -> Option<String> {
        self.text(text)
    }

    /// For a value next to its name: `{"password": "…"}`, `["--token", "…"]`. `text` gets the value as well.
    fn value_of(&mut self, _name: &str, _value: &str) -> Option<String> {
        None
    }
}

impl<F: FnMut(&str) -> Option<String>> RewriteTexts for F {
    fn text(&mut self, text: &str) -> Option<String> {
        self(text)
    }
}

/// Stores the new text, if there is one.
fn store<T: From<String>>(new: Option<String>, text: &mut T) {
    if let Some(new) = new {
        *text = new.into();
    }
}

/// Passes every text of the trace to `rewriter`, but for words of the program's source: they hold nothing of a session.
pub(super) fn rewrite_texts(trace: &mut Trace, rewriter: &mut impl RewriteTexts) {
    rewrite_information(trace, rewriter);
    trace.spans.iter_mut().for_each(|span| rewrite_span(span, rewriter));
}

/// Passes every text outside of spans to `rewriter`. A new field of the model breaks the pattern here at compile time.
pub(super) fn rewrite_information(trace: &mut Trace, rewriter: &mut impl RewriteTexts) {
    let Trace {
        id: _,
        name,
        state: _,
        started_at: _,
        ended_at: _,
        request_preview,
        response_preview,
        metadata,
        tags,
        spans: _,
        context: TraceContext { caller, follows, tags: own_tags },
    } = trace;
    store(rewriter.text(name), name);
    for SpanContext { trace: _, span: _, state } in [caller, follows].into_iter().flatten() {
        store(rewriter.text(state), state);
    }
    for preview in [request_preview, response_preview].into_iter().flatten() {
        store(rewriter.text(preview), preview);
    }
    for rows in [metadata, tags, own_tags] {
        let row = |(mut key, mut value): (String, String)| {
            store(rewriter.value_of(&key, &value), &mut value);
            store(rewriter.text(&value), &mut value);
            store(rewriter.text(&key), &mut key);
            (key, value)
        };
        *rows = mem::take(rows).into_iter().map(row).collect();
    }
}

/// Passes every text of the span to `rewriter`.
pub(super) fn rewrite_span(span: &mut Span, rewriter: &mut impl RewriteTexts) {
    let Span {
        id: _,
        parent: _,
        name,
        span_type: _,
        status,
        started_at: _,
        ended_at: _,
        inputs,
        outputs,
        attributes,
        events,
    } = span;
    store(rewriter.text(name), name);
    if let SpanStatus::Error { message } = status {
        store(rewriter.text(message), message);
    }
    rewrite_value(inputs, rewriter);
    rewrite_value(outputs, rewriter);
    rewrite_fields(attributes, rewriter);
    for SpanEvent { name, at: _, attributes } in events {
        store(rewriter.text(name), name);
        rewrite_fields(attributes, rewriter);
    }
}

fn rewrite_value(value: &mut Value, rewriter: &mut impl RewriteTexts) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) if text.is_word() => {}
        Value::String(text) => store(rewriter.shared_text(text), text),
        Value::Array(items) => {
            rewrite_command_line(items, rewriter);
            items.iter_mut().for_each(|item| rewrite_value(item, rewriter));
        }
        Value::Object(object) => rewrite_fields(object, rewriter),
    }
}

/// A command line: each option with the argument after it.
fn rewrite_command_line(items: &mut [Value], rewriter: &mut impl RewriteTexts) {
    for at in 1..items.len() {
        let (before, after) = items.split_at_mut(at);
        if let (Some(Value::String(option)), Some(Value::String(text))) = (before.last(), after.first_mut())
            && option.starts_with('-')
        {
            store(rewriter.value_of(option, text), text);
        }
    }
}

fn rewrite_fields(object: &mut Map, rewriter: &mut impl RewriteTexts) {
    rewrite_named_value(object, rewriter);
    for (name, value) in object.iter_mut() {
        if let Value::String(text) = value
            && !text.is_word()
        {
            store(rewriter.value_of(name, text), text);
        }
        rewrite_value(value, rewriter);
    }
    if object.keys().all(Text::is_word) {
        return;
    }
    let new_name = |name: &Text| if name.is_word() { None } else { rewriter.text(name) };
    let names: Vec<Option<String>> = object.keys().map(new_name).collect();
    if names.iter().any(Option::is_some) {
        let renamed = |((name, value), new): (_, Option<String>)| (new.map_or(name, Text::from), value);
        *object = mem::take(object).into_iter().zip(names).map(renamed).collect();
    }
}

/// `{"name": "DB_PASSWORD", "value": "…"}`
fn rewrite_named_value(object: &mut Map, rewriter: &mut impl RewriteTexts) {
    if !object.keys().any(|key| matches!(key.as_str(), "value" | "Value")) {
        return;
    }
    let name = ["name", "key", "Name", "Key"].iter().find_map(|key| object.get(key)?.as_text());
    let Some(name) = name.cloned() else { return };
    for key in ["value", "Value"] {
        if let Some(Value::String(text)) = object.get_mut(key) {
            store(rewriter.value_of(&name, text), text);
        }
    }
}

/// The text without characters that a store cannot keep: U+0000, which PostgreSQL refuses, and halves of surrogate
/// pairs, which Python cannot encode. A single such character makes a server refuse the whole trace at every attempt.
///
/// A Rust text never holds half a pair. But MLflow parses a text that is JSON again, and decodes `\ud800` or `\u0000`
/// in it.
pub(super) fn storable(text: &str) -> Option<String> {
    let has_nul = memchr::memchr(0, text.as_bytes()).is_some();
    let without_nul = has_nul.then(|| text.replace('\0', NUL.encode_utf8(&mut [0; 4])));
    let is_json = text.trim_start().starts_with(['{', '[', '"']);
    let mended = is_json.then(|| escapes::mended(without_nul.as_deref().unwrap_or(text))).flatten();
    mended.or(without_nul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_no_store_keeps_are_replaced() {
        let table = [
            ("", None),
            ("a\u{2400}b", None),
            ("a\0b\0", Some("a\u{2400}b\u{2400}")),
            // Text about an escape stays.
            (r"print '\u0000'", None),
            (r#"{"a": "\u0000"}"#, Some(r#"{"a": "\u2400"}"#)),
            (" [\"\0\", \"\\u0000\"]", Some(" [\"\u{2400}\", \"\\u2400\"]")),
            (r#"{"a": "\\u0000"}"#, None),
            (r#"{"a": "\\\u0000"}"#, Some(r#"{"a": "\\\u2400"}"#)),
            (r#"["\ud83d\ude00"]"#, None),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\uDE00", "\ud83dx"]"#, Some(r#"["\ufffd", "\ufffdx"]"#)),
            (r#"["\ud83"#, None),
            ("[\"\\ud83\u{e4}\\u0000", Some("[\"\\ud83\u{e4}\\u2400")),
            ("{\\", None),
        ];
        for (text, expected) in table {
            assert_eq!(storable(text).as_deref(), expected, "{text:?}");
        }
    }
}
