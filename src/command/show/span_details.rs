//! Spans of one name, whole: times, status, tokens, inputs and outputs.

use crate::command::CommandError;
use crate::command::text_layout::{Colours, NAME, QUIET, WRONG};
use crate::command::tree::{duration, span_figures};
use crate::redact::text_of;
use common::json::value::Value;
use common::printable::is_unsafe;
use mlflow_store::trace::{Span, SpanStatus, Trace};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The spans of this name. `*` at the end: all names that begin so.
pub(super) fn named<'t>(trace: &'t Trace, name: &str) -> Result<Vec<&'t Span>, CommandError> {
    let is_meant = |span: &&Span| match name.strip_suffix('*') {
        Some(beginning) => span.name.starts_with(beginning),
        None => span.name == name,
    };
    let found: Vec<&Span> = trace.spans.iter().filter(is_meant).collect();
    if found.is_empty() {
        let names = names(trace.spans.iter().map(|span| &*span.name));
        return Err(format!("no span has the name {}\n  hint: the names are {names}", shown(name)));
    }
    Ok(found)
}

/// Each name with its count. Names that differ only in the number at their end share an entry.
fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut groups: BTreeMap<&str, (usize, Vec<Option<u64>>)> = BTreeMap::new();
    for name in names {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        // A number of `u64` at most; a longer one is a name of its own.
        let number = name[stem.len()..].parse().ok();
        let stem = if number.is_some() { stem } else { name };
        let (count, numbers) = groups.entry(stem).or_default();
        *count += 1;
        numbers.push(number);
    }
    let entry = |(stem, (count, numbers)): (&str, (usize, Vec<Option<u64>>))| {
        let (least, most) = (numbers.iter().flatten().min(), numbers.iter().flatten().max());
        let name = match (least, most) {
            (Some(least), Some(most)) if least < most => format!("{stem}{least} to {stem}{most}"),
            (Some(only), _) => format!("{stem}{only}"),
            (None, _) => stem.to_owned(),
        };
        format!("{} ({count})", shown(&name))
    };
    groups.into_iter().map(entry).collect::<Vec<_>>().join(", ")
}

pub(super) fn render(spans: &[&Span], colours: Colours) -> String {
    spans.iter().map(|span| details(span, colours)).collect::<Vec<_>>().join("\n")
}

fn details(span: &Span, colours: Colours) -> String {
    let mut text = format!(
        "{}  {}\n",
        colours.paint(NAME, &shown(&span.name)),
        colours.paint(QUIET, &format!("{} {}", span.span_type.as_str(), span.id))
    );
    let facts = [
        ("began", Some(span.started_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())),
        ("lasted", Some(duration(span.started_at, span.ended_at))),
        ("model", span.attributes.get("mlflow.llm.model").and_then(Value::as_str).map(str::to_owned)),
        ("tokens", span_figures(span)),
        ("exit code", span.attributes.get("exit_code").map(Value::to_string)),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let _ = writeln!(text, "{} {}", label(name, colours), shown(&fact));
        }
    }
    let (status, style) = match &span.status {
        SpanStatus::Error { message } => (format!("{}: {message}", span.status.as_str()), WRONG),
        other => (other.as_str().to_owned(), QUIET),
    };
    let _ = writeln!(text, "{} {}", label("status", colours), colours.paint(style, &block(&status, 2)));
    for (name, value) in [("inputs", &span.inputs), ("outputs", &span.outputs)] {
        if !value.is_null() {
            write_value(&mut text, &label(name, colours), value, 1, colours);
        }
    }
    text
}

fn label(name: &str, colours: Colours) -> String {
    colours.paint(QUIET, &format!("{}:", shown(name)))
}

/// A text as text. A value that holds a text of several lines is opened; any other is JSON.
fn write_value(text: &mut String, label: &str, value: &Value, depth: usize, colours: Colours) {
    let indent = "  ".repeat(depth);
    if let Some(content) = text_of(value) {
        let _ = match is_long(content) {
            true => writeln!(text, "{label}\n{indent}{}", block(content, depth)),
            false if content.is_empty() => writeln!(text, "{label} \"\""),
            false => writeln!(text, "{label} {}", shown(content)),
        };
        return;
    }
    match value {
        Value::Object(fields) if depth == 1 || holds_long_text(value) => {
            let _ = writeln!(text, "{label}");
            for (name, field) in fields.iter() {
                let name = format!("{indent}{}", self::label(name, colours));
                write_value(text, &name, field, depth + 1, colours);
            }
        }
        Value::Array(values) if holds_long_text(value) => {
            let _ = writeln!(text, "{label}");
            for (place, element) in values.iter().enumerate() {
                let name = format!("{indent}{}", self::label(&format!("[{place}]"), colours));
                write_value(text, &name, element, depth + 1, colours);
            }
        }
        Value::Object(_) | Value::Array(_) => {
            let json = serde_json::to_string_pretty(value).expect("values with text keys always serialize");
            let json = common::printable::json(&json).replace('\n', &format!("\n{}", "  ".repeat(depth - 1)));
            let _ = writeln!(text, "{label} {json}");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = writeln!(text, "{label} {value}");
        }
    }
}

fn is_long(text: &str) -> bool {
    text.trim_end().contains('\n')
}

fn holds_long_text(value: &Value) -> bool {
    match value {
        Value::String(text) => is_long(text),
        Value::Array(values) => values.iter().any(holds_long_text),
        Value::Object(fields) => fields.values().any(holds_long_text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Lines with an indentation, without control characters for the terminal.
fn block(text: &str, depth: usize) -> String {
    let mut block = String::new();
    for (number, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        let line = shown(line.trim_end_matches('\r'));
        if number > 0 {
            block.push('\n');
            // An empty line has no spaces at its end.
            if !line.is_empty() {
                block.push_str(&"  ".repeat(depth));
            }
        }
        block.push_str(&line);
    }
    block
}

fn shown(text: &str) -> String {
    let safe = |c: char| if is_unsafe(c) && c != '\t' { '\u{fffd}' } else { c };
    text.trim_end_matches('\n').chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use serde_json::json;

    #[test]
    fn names_that_differ_in_their_number_share_an_entry() {
        let table: [(&[&str], &str); 4] = [
            (&["llm_call_1", "llm_call_12", "llm_call_1"], "llm_call_1 to llm_call_12 (3)"),
            (&["turn_1", "tool_exec", "tool_exec"], "tool_exec (2), turn_1 (1)"),
            (&["a\u{1b}[2J"], "a\u{fffd}[2J (1)"),
            (&["n99999999999999999999999"], "n99999999999999999999999 (1)"),
        ];
        for (spans, expected) in table {
            assert_eq!(names(spans.iter().copied()), expected);
        }
    }

    #[test]
    fn texts_keep_their_lines_and_other_values_are_json() {
        let colours = Colours::choose(&World::default());
        let table = [
            (json!({"cmd": "ls"}), "in:\n  cmd: ls\n"),
            (json!({"cmd": {"text": "a\nb\n"}}), "in:\n  cmd:\n    a\n    b\n"),
            (json!({"list": [1, {"b": 2}]}), "in:\n  list: [\n    1,\n    {\n      \"b\": 2\n    }\n  ]\n"),
            (
                json!([{"role": "user", "content": "a\r\nb"}]),
                "in:\n  [0]:\n    role: user\n    content:\n      a\n      b\n",
            ),
            (json!("a\u{1b}[31m\tb"), "in: a\u{fffd}[31m\tb\n"),
            (json!(null), "in: null\n"),
        ];
        for (value, expected) in table {
            let mut text = String::new();
            write_value(&mut text, "in:", &Value::from(value.clone()), 1, colours);
            assert_eq!(text, expected, "{value}");
        }
    }
}
