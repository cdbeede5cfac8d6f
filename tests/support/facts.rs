//! Several facts of a trace on one line, one line per span:
//!
//! ```text
//! trace OK name=codex_cli_session in=10000 out=170 metadata.source=codex_cli
//! codex_cli_session AGENT OK inputs.prompt="do it"
//!   llm_call_1 LLM OK in=9000 cached=4096 out=120 reasoning=64
//!   tool_exec_command TOOL ERROR exit_code=3 message="…no such file"
//! ```
//!
//! A span's line is its name, type and status, indented under its parent's, spans of one parent by start time. All
//! spans must be there, in order; of their other facts those that the line names. The `trace` line may be left out, and
//! so may all others: then it alone is compared.
//!
//! | fact | of a span | of the trace |
//! |---|---|---|
//! | `in`, `cached`, `out` | `mlflow.chat.tokenUsage` | the trace's token usage |
//! | `message` | the status message | |
//! | `event` | names of its events | |
//! | `inputs.…`, `outputs.…` | a path into them, as `outputs.choices.0.message.content` | |
//! | `name`, `experiment`, `request`, `response`, `spans` | | name, experiment, previews, number of spans |
//! | `tags.…` | | a tag |
//! | anything else | an attribute | a metadata key, with or without `metadata.` |
//!
//! A value with spaces is in JSON quotes, `-` is a fact that is not there, `…` matches any text.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use crate::expectation::{Fact, Line};
use crate::oracle::{Span, Trace};

/// Compares a trace with its lines; the indentation that all lines share does not count.
#[track_caller]
pub fn assert_facts(trace: &Trace, expected: &str) {
    let expected = dedented(expected);
    let actual = told(trace, &expected);
    if actual != expected {
        panic!("the trace differs (- expected, + found):\n{}", difference(&expected, &actual));
    }
}

/// Asks for every span in its usual facts.
const ALL: &str = "trace …";

/// The trace as one would write it down at first.
pub fn rendered(trace: &Trace) -> String {
    told(trace, ALL)
}

/// The trace in the words of `expected`: the same facts, in the same order.
fn told(trace: &Trace, expected: &str) -> String {
    let mut lines: Vec<Line> = expected.lines().map(Line::read).collect();
    let mut text = String::new();
    if lines.first().is_some_and(|line| line.name == "trace") {
        let line = lines.remove(0);
        let facts = line.facts.iter().map(|fact| fact.told(trace_fact(trace, &fact.name)));
        writeln!(text, "trace {}{}", trace.state, facts.collect::<String>()).unwrap();
    }
    if lines.is_empty() && !text.is_empty() && expected.trim() != ALL {
        return text;
    }
    for (depth, span) in in_tree_order(trace) {
        let place = lines.iter().position(|line| line.name == span.name);
        let facts = match place.map(|place| lines.remove(place)) {
            Some(line) => line.facts.iter().map(|fact| fact.told(span_fact(span, &fact.name))).collect(),
            None => usual_facts(span),
        };
        writeln!(text, "{}{} {} {}{facts}", "  ".repeat(depth), span.name, span.kind, span.status).unwrap();
    }
    text
}

/// Depth first, siblings by start. A span whose parent is not there has the root's depth; spans that no path reaches
/// come last.
fn in_tree_order(trace: &Trace) -> Vec<(usize, &Span)> {
    let mut by_start: Vec<&Span> = trace.spans.iter().collect();
    by_start.sort_by_key(|span| span.start_ns);
    let is_there = |id: &String| trace.spans.iter().any(|span| span.span_id == *id);
    let mut order: Vec<(usize, &Span)> = Vec::new();
    let tops = by_start.iter().filter(|span| !span.parent_id.as_ref().is_some_and(is_there));
    let mut waiting: Vec<(usize, &Span)> = tops.rev().map(|span| (0, *span)).collect();
    while let Some((depth, span)) = waiting.pop() {
        order.push((depth, span));
        let children = by_start.iter().filter(|child| child.parent_id.as_ref() == Some(&span.span_id));
        waiting.extend(children.rev().map(|child| (depth + 1, *child)));
    }
    let reached = |span: &Span| order.iter().any(|(_, seen)| std::ptr::eq(*seen, span));
    let lost: Vec<_> = by_start.into_iter().filter(|span| !reached(span)).map(|span| (0, span)).collect();
    order.extend(lost);
    order
}

fn usual_facts(span: &Span) -> String {
    let names: &[&str] = match (span.kind.as_str(), span.status.as_str()) {
        ("LLM", _) => &["in", "cached", "out"],
        ("TOOL", "ERROR") => &["exit_code", "message"],
        (_, "ERROR") => &["message"],
        _ => &[],
    };
    names
        .iter()
        .map(|name| Fact { name: (*name).to_owned(), value: None }.told(span_fact(span, name)))
        .collect()
}

fn span_fact(span: &Span, name: &str) -> Option<Value> {
    if let Some(value) = span.attributes.get(name) {
        return Some(value.clone());
    }
    let usage = span.attributes.get("mlflow.chat.tokenUsage").and_then(Value::as_object);
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    match first {
        "in" | "cached" | "out" => tokens(usage?, first),
        "message" => span.message.clone().filter(|text| !text.is_empty()).map(Value::from),
        "event" if !span.events.is_empty() => {
            let names: Vec<_> = span.events.iter().filter_map(|event| event["name"].as_str()).collect();
            Some(json!(names.join(",")))
        }
        "inputs" => at_path(&span.inputs, rest),
        "outputs" => at_path(&span.outputs, rest),
        _ => None,
    }
}

fn trace_fact(trace: &Trace, name: &str) -> Option<Value> {
    match name {
        "in" | "cached" | "out" => tokens(trace.token_usage.as_ref()?, name),
        "name" => trace.name.clone().map(Value::from),
        "experiment" => trace.experiment.clone().map(Value::from),
        "request" => trace.request_preview.clone().map(Value::from),
        "response" => trace.response_preview.clone().map(Value::from),
        "spans" => Some(json!(trace.spans.len())),
        _ => match name.split_once('.') {
            Some(("tags", key)) => trace.tags.get(key).cloned(),
            Some(("metadata", key)) => trace.metadata.get(key).cloned(),
            _ => trace.metadata.get(name).cloned(),
        },
    }
}

fn tokens(usage: &Map<String, Value>, name: &str) -> Option<Value> {
    let key = match name {
        "in" => "input_tokens",
        "cached" => "cache_read_input_tokens",
        _ => "output_tokens",
    };
    usage.get(key).cloned()
}

fn at_path(value: &Value, path: &str) -> Option<Value> {
    let pointer = if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) };
    value.pointer(&pointer).filter(|found| !found.is_null()).cloned()
}

fn dedented(text: &str) -> String {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let margin = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(|line| format!("{}\n", line[margin..].trim_end())).collect()
}

fn difference(expected: &str, actual: &str) -> String {
    let diff = TextDiff::from_lines(expected, actual);
    let sign = |tag| match tag {
        ChangeTag::Delete => '-',
        ChangeTag::Insert => '+',
        ChangeTag::Equal => ' ',
    };
    diff.iter_all_changes().map(|change| format!("{} {change}", sign(change.tag()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let span = |name: &str,
                    id: &str,
                    parent: Option<&str>,
                    kind: &str,
                    status: &str,
                    start: i64,
                    more: Value| {
            let mut span = json!({"span_id": id, "parent_id": parent, "parent": null, "name": name, "type": kind,
                "status": status, "message": "", "start_ns": start, "end_ns": 9, "inputs": null, "outputs": null,
                "attributes": {}, "events": []});
            span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            span
        };
        let usage =
            json!({"attributes": {"mlflow.chat.tokenUsage": {"input_tokens": 9, "output_tokens": 2}}});
        let failed = json!({"message": "exit code 3", "attributes": {"exit_code": 3},
            "events": [{"name": "exception"}], "inputs": {"cmd": ["a", "b c"]}});
        serde_json::from_value(json!({
            "trace_id": "tr-1", "name": "session", "experiment_id": "1", "experiment": "codex-sessions",
            "state": "OK", "request_time_ms": 1, "duration_ms": 2, "request_preview": "hi", "response_preview": null,
            "tags": {"team": "red"}, "metadata": {"source": "codex_cli"},
            "token_usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}, "assessments": [],
            "spans": [
                span("tool", "c", Some("a"), "TOOL", "ERROR", 3, failed),
                span("session", "a", None, "AGENT", "OK", 1, json!({})),
                span("llm", "b", Some("a"), "LLM", "OK", 2, usage),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn facts_that_hold_are_silent() {
        assert_facts(
            &trace(),
            r#"
            trace OK name=session in=9 cached=- source=codex_cli tags.team=red spans=3
            session AGENT OK
              llm LLM OK in=9 out=2 cached=-
              tool TOOL ERROR exit_code=3 event=exception message="exit …" inputs.cmd.1="b c"
            "#,
        );
    }

    #[test]
    fn a_fact_that_does_not_hold_is_shown_next_to_the_one_expected() {
        let expected = "session AGENT OK\n  llm LLM OK in=8\n  tool TOOL OK exit_code=3\n";
        let found = "session AGENT OK\n  llm LLM OK in=9\n  tool TOOL ERROR exit_code=3\n";
        assert_eq!(told(&trace(), expected), found);
        let shown = "  session AGENT OK\n-   llm LLM OK in=8\n-   tool TOOL OK exit_code=3\n\
                     +   llm LLM OK in=9\n+   tool TOOL ERROR exit_code=3\n";
        assert_eq!(difference(expected, found), shown);
    }

    #[test]
    fn an_unexpected_span_is_shown_with_its_usual_facts() {
        let found = "session AGENT OK\n  llm LLM OK in=9 cached=- out=2\n  tool TOOL ERROR exit_code=3 message=\"exit code 3\"\n";
        assert_eq!(told(&trace(), "session AGENT OK\n"), found);
    }

    #[test]
    fn spans_in_a_circle_and_spans_without_their_parent_are_still_shown() {
        let mut trace = trace();
        trace.spans[0].parent_id = Some("c".to_owned());
        trace.spans[2].parent_id = Some("gone".to_owned());
        let found = told(&trace, "session\nllm\ntool\n");
        assert_eq!(found, "session AGENT OK\nllm LLM OK\ntool TOOL ERROR\n");
    }
}
