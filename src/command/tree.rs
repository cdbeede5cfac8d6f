//! A trace as a tree of lines, for people at a terminal.

use super::text_layout::{Colours, NAME, QUIET, WRONG};
use crate::redact::text_of;
use common::json::value::Value;
use common::printable::is_unsafe;
use jiff::Timestamp;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use std::fmt::Write;

/// Characters of a text in a line of the tree.
const WIDTH: usize = 72;

/// The whole trace, one line per span, each ended by a line feed.
pub(super) fn render(trace: &Trace, colours: Colours) -> String {
    let mut text = String::new();
    let Some(root) = trace.spans.iter().find(|span| span.parent.is_none()) else { return text };
    // Codex's status is more precise than MLflow's trace state.
    let word = root.outputs.get("status").and_then(Value::as_str).unwrap_or(trace.state.as_str());
    let state = match trace.state {
        TraceState::Ok | TraceState::InProgress => colours.paint(QUIET, &one_line(word)),
        TraceState::Error => colours.paint(WRONG, &one_line(word)),
    };
    let totals = totals(trace);
    let _ = writeln!(
        text,
        "{}  {state}  {}",
        colours.paint(NAME, &one_line(&root.name)),
        colours.paint(QUIET, &join([Some(duration(root.started_at, root.ended_at)), totals]))
    );
    quote(&mut text, "prompt", root.inputs.get("prompt"), colours);
    children(&mut text, trace, root, "", colours);
    quote(&mut text, "response", root.outputs.get("response"), colours);
    quote(&mut text, "error", root.outputs.get("error"), colours);
    text
}

fn quote(text: &mut String, what: &str, value: Option<&Value>, colours: Colours) {
    if let Some(quoted) = value.and_then(Value::as_str) {
        let _ = writeln!(text, "{} {}", colours.paint(QUIET, &format!("{what}:")), one_line(quoted));
    }
}

fn children(text: &mut String, trace: &Trace, parent: &Span, indent: &str, colours: Colours) {
    let mut children = trace.spans.iter().filter(|span| span.parent == Some(parent.id)).peekable();
    while let Some(child) = children.next() {
        let (branch, below) =
            if children.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        let facts = join([
            Some(duration(child.started_at, child.ended_at)),
            child.attributes.get("mlflow.chat.tokenUsage").and_then(token_text),
            child.attributes.get("mlflow.llm.cost").and_then(cost_text),
        ]);
        let facts = colours.paint(QUIET, &facts);
        let _ = write!(text, "{indent}{branch}{}  {facts}", colours.paint(NAME, &one_line(&child.name)));
        if let Some(summary) = summary(child) {
            let _ = write!(text, "  {}", one_line(&summary));
        }
        if let SpanStatus::Error { message } = &child.status {
            let _ = write!(text, "  {}", colours.paint(WRONG, &format!("✗ {}", one_line(message))));
        }
        text.push('\n');
        self::children(text, trace, child, &format!("{indent}{below}"), colours);
    }
}

/// A summary of the span: its command, its answer, or the tools that it calls.
fn summary(span: &Span) -> Option<String> {
    match span.span_type {
        SpanType::Llm => {
            let answer = span.outputs.get("response").and_then(Value::as_str).filter(|text| !text.is_empty());
            answer.map(str::to_owned).or_else(|| {
                let calls = span.outputs["choices"][0]["message"]["tool_calls"].as_array()?;
                let names = calls.iter().filter_map(|call| call["function"]["name"].as_str());
                Some(format!("→ {}", names.collect::<Vec<_>>().join(", ")))
            })
        }
        SpanType::Tool => {
            ["cmd", "command", "input", "query", "paths"].iter().find_map(|key| {
                match span.inputs.get(key)? {
                    value if text_of(value).is_some() => text_of(value).map(str::to_owned),
                    // Skips the shell's own arguments (`bash -lc`).
                    Value::Array(words) => words.last()?.as_str().map(str::to_owned),
                    _ => None,
                }
            })
        }
        SpanType::Agent => span.inputs.get("prompt").and_then(Value::as_str).map(str::to_owned),
        SpanType::Chain => None,
    }
}

fn totals(trace: &Trace) -> Option<String> {
    let of = |key: &str| trace.metadata.get(key).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let facts = [
        of("mlflow.trace.tokenUsage").as_ref().and_then(token_text),
        of("mlflow.trace.cost").as_ref().and_then(cost_text).map(|cost| format!("{cost} at list price")),
    ];
    Some(join(facts)).filter(|text| !text.is_empty())
}

fn token_text(usage: &Value) -> Option<String> {
    let count = |key: &str| usage.get(key).and_then(Value::as_u64);
    let cached = count("cache_read_input_tokens").filter(|cached| *cached > 0);
    let cached = cached.map(|cached| format!(" ({} cached)", grouped(cached))).unwrap_or_default();
    Some(format!("{} in{cached}, {} out", grouped(count("input_tokens")?), grouped(count("output_tokens")?)))
}

fn cost_text(cost: &Value) -> Option<String> {
    Some(format!("${:.4}", cost.get("total_cost")?.as_f64()?))
}

fn join<const N: usize>(facts: [Option<String>; N]) -> String {
    facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

fn duration(from: Timestamp, to: Timestamp) -> String {
    let millis = (to.as_millisecond() - from.as_millisecond()).max(0);
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// The beginning of a text, on one line, without control characters for the terminal.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean = words.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c });
    let mut line: String = clean.clone().take(WIDTH).collect();
    if clean.count() > WIDTH {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(
            [0, 999, 1_000, 37_500, 1_234_567].map(grouped),
            ["0", "999", "1,000", "37,500", "1,234,567"]
        );
        let after = |millis| duration(Timestamp::UNIX_EPOCH, Timestamp::from_millisecond(millis).unwrap());
        assert_eq!(
            [0, 999, 1_250, 61_000, 3_720_000].map(after),
            ["0 ms", "999 ms", "1.2 s", "1 min 1 s", "1 h 2 min"]
        );
    }

    #[test]
    fn control_characters_of_a_trace_are_replaced() {
        assert_eq!(one_line("a\u{1b}[31m\r\nb\u{9b}2J\u{7}"), "a\u{fffd}[31m b\u{fffd}2J\u{fffd}");
        assert_eq!(one_line(&"x".repeat(100)).chars().count(), WIDTH + 1);
    }
}
