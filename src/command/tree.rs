//! A trace as a tree of lines, for people at a terminal.

use super::text_layout::{Colours, GOOD, NAME, QUIET, WRONG};
use crate::redact::text_of;
use common::json::value::Value;
use common::printable::is_unsafe;
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use std::collections::HashMap;
use std::fmt::Write;

/// Characters of a text in a line of the tree, for any width of the terminal.
const WIDTH: usize = 72;

/// How a trace is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeStyle {
    pub(super) colours: Colours,
    /// Characters of a text in a line.
    pub(super) width: usize,
    /// The time at which the trace is shown while its session runs. None for a trace as it was stored.
    pub(super) now: Option<Timestamp>,
}

impl TreeStyle {
    pub(super) fn of_a_stored_trace(colours: Colours) -> TreeStyle {
        TreeStyle { colours, width: WIDTH, now: None }
    }
}

/// The whole trace, one line per span, each ended by a line feed.
pub(super) fn render(trace: &Trace, style: TreeStyle) -> String {
    let mut text = String::new();
    let Some(root) = trace.spans.iter().find(|span| span.parent.is_none()) else { return text };
    let colours = style.colours;
    let _ = writeln!(
        text,
        "{}  {}  {}",
        colours.paint(NAME, &one_line(&root.name, style.width)),
        status(trace, root, colours),
        colours.paint(QUIET, &join([Some(duration(root.started_at, root.ended_at)), totals(trace)]))
    );
    text + &below(trace, root, style)
}

/// What [`render`] prints below its first line.
pub(super) fn below(trace: &Trace, root: &Span, style: TreeStyle) -> String {
    let mut children: HashMap<SpanId, Vec<&Span>> = HashMap::with_capacity(trace.spans.len());
    for span in &trace.spans {
        if let Some(parent) = span.parent {
            children.entry(parent).or_default().push(span);
        }
    }
    let mut tree = Tree { children, style, text: String::new() };
    tree.quote("prompt", root.inputs.get("prompt"));
    tree.add_children(root, "");
    tree.quote("response", root.outputs.get("response"));
    tree.quote("error", root.outputs.get("error"));
    tree.text
}

/// Codex's word, which is more precise than MLflow's trace state.
pub(super) fn status(trace: &Trace, root: &Span, colours: Colours) -> String {
    let word = root.outputs.get("status").and_then(Value::as_str).unwrap_or(trace.state.as_str());
    let style = if trace.state == TraceState::Error { WRONG } else { QUIET };
    colours.paint(style, &one_line(word, WIDTH))
}

struct Tree<'t> {
    children: HashMap<SpanId, Vec<&'t Span>>,
    style: TreeStyle,
    text: String,
}

impl Tree<'_> {
    fn quote(&mut self, what: &str, value: Option<&Value>) {
        if let Some(quoted) = value.and_then(Value::as_str) {
            let what = self.style.colours.paint(QUIET, &format!("{what}:"));
            let _ = writeln!(self.text, "{what} {}", one_line(quoted, self.style.width));
        }
    }

    fn add_children(&mut self, parent: &Span, indent: &str) {
        let mut children = self.children.remove(&parent.id).unwrap_or_default().into_iter().peekable();
        while let Some(child) = children.next() {
            let (branch, below) =
                if children.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            let _ = writeln!(self.text, "{indent}{branch}{}", line(&child.name, child, self.style));
            self.add_children(child, &format!("{indent}{below}"));
        }
    }
}

/// A span in one line: its name, times and tokens, its summary, and why it failed.
fn line(name: &str, span: &Span, style: TreeStyle) -> String {
    line_with_times(name, (span.started_at, span.ended_at), span, style)
}

/// As `line`, with other times than the span's own: the root span of a session with one turn begins before the turn.
pub(super) fn line_with_times(
    name: &str,
    (started_at, ended_at): (Timestamp, Timestamp),
    span: &Span,
    style: TreeStyle,
) -> String {
    let TreeStyle { colours, width, now } = style;
    let mut line = colours.paint(NAME, &one_line(name, width));
    let running = now.filter(|_| is_running(span)).map(|now| running_for(started_at, now));
    let lasted = running.is_none().then(|| duration(started_at, ended_at));
    let facts = join([lasted, span_figures(span)]);
    for (style, facts) in [(GOOD, running.unwrap_or_default()), (QUIET, facts)] {
        if !facts.is_empty() {
            let _ = write!(line, "  {}", colours.paint(style, &facts));
        }
    }
    if let Some(summary) = summary(span) {
        let _ = write!(line, "  {}", one_line(&summary, width));
    }
    if let SpanStatus::Error { message } = &span.status {
        let _ = write!(line, "  {}", colours.paint(WRONG, &format!("✗ {}", one_line(message, width))));
    }
    line
}

/// Tokens and cost of a response.
pub(super) fn span_figures(span: &Span) -> Option<String> {
    let tokens = span.attributes.get("mlflow.chat.tokenUsage").and_then(token_text);
    let cost = span.attributes.get("mlflow.llm.cost").and_then(cost_text);
    Some(join([tokens, cost])).filter(|text| !text.is_empty())
}

/// Whether a turn or a tool call has no end yet. Only a session that runs has such spans.
pub(super) fn is_running(span: &Span) -> bool {
    let may_run = matches!(span.span_type, SpanType::Agent | SpanType::Tool);
    may_run && span.status == SpanStatus::Unset
}

/// `running 12 s`, in whole seconds.
pub(super) fn running_for(since: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds {
        0..60 => format!("running {seconds} s"),
        _ => format!("running {}", duration(Timestamp::UNIX_EPOCH, of_second(seconds))),
    }
}

fn of_second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// A summary of the span: its command, its answer, or the tools that it calls.
pub(super) fn summary(span: &Span) -> Option<String> {
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

/// Tokens and cost of the whole trace.
pub(super) fn totals(trace: &Trace) -> Option<String> {
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

pub(super) fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

pub(super) fn duration(from: Timestamp, to: Timestamp) -> String {
    let millis = (to.as_millisecond() - from.as_millisecond()).max(0);
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// The beginning of a text, on one line, without control characters for the terminal.
fn one_line(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut room = width;
    for word in text.split_whitespace() {
        let space = if line.is_empty() { "" } else { " " };
        for c in space.chars().chain(word.chars()) {
            if room == 0 {
                line.push('…');
                return line;
            }
            line.push(if is_unsafe(c) { '\u{fffd}' } else { c });
            room -= 1;
        }
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
        assert_eq!(one_line("a\u{1b}[31m\r\nb\u{9b}2J\u{7}", WIDTH), "a\u{fffd}[31m b\u{fffd}2J\u{fffd}");
        assert_eq!(one_line(&"x".repeat(100), WIDTH).chars().count(), WIDTH + 1);
        let table = [("a  b c", 3, "a b…"), ("a b", 3, "a b"), ("ab", 1, "a…"), ("", 0, ""), ("a ", 1, "a")];
        for (text, width, expected) in table {
            assert_eq!(one_line(text, width), expected, "{text:?} {width}");
        }
    }
}
