//! What real rollouts become: every file of the corpus, read, built, and told in a text to review.

use codex_traced::claim::record::ThreadRecord;
use codex_traced::session::model::Session;
use codex_traced::session::{self, Writer};
use codex_traced::trace::build::{Surroundings, build};
use codex_traced::trace::model::{Span, SpanStatus, SpanType, Trace};
use codex_traced::trace::redact::Redacted;
use jiff::Timestamp;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Long enough to recognise a text, short enough for a line of review.
const CHARACTERS: usize = 100;

/// Attributes that say the same as a name or a column of the text.
const TOLD_ELSEWHERE: [&str; 12] = [
    "tool_name",
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "gen_ai.tool.call.id",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_output_tokens",
    "mlflow.chat.tokenUsage",
];

fn corpus() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/corpus/0.169.0").expect("the corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file of the corpus").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} files found", paths.len());
    paths
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).expect("a name in ASCII")
}

fn read(path: &Path) -> Session {
    session::read(path, Writer::Gone).expect("a file that can be read")
}

fn trace_of(session: &Session, path: &Path) -> Option<Trace> {
    let trace = build(session, &ThreadRecord::default(), Surroundings { rollout: path, user: Some("me") });
    // Nothing in the corpus is a secret; long texts are cut with it.
    trace.map(|trace| Redacted::made_up(trace).into())
}

/// On one line, with the number of characters left out.
fn cut(text: &str) -> String {
    let line = text.replace('\n', "⏎");
    let left = line.chars().count().saturating_sub(CHARACTERS);
    let first: String = line.chars().take(CHARACTERS).collect();
    if left == 0 { first } else { format!("{first}…+{left}") }
}

fn told(session: &Session, trace: Option<&Trace>) -> String {
    let mut text = String::new();
    let mut say = |line: String| text += &(line + "\n");
    say(format!("turns: {:?}", session.turns.iter().map(|turn| &turn.status).collect::<Vec<_>>()));
    say(format!("codex's total: {}", session.codex_total.map_or("none".into(), tokens)));
    say(format!("inherited: {}", tokens(session.inherited)));
    say(format!("reconciled: {:?}", session.tokens_reconcile()));
    say(format!("unknown: {:?}, bad: {}", session.unknown_lines, session.bad_lines));
    let Some(trace) = trace else {
        say("no trace".into());
        return text;
    };
    say(format!("{} {} {:?}", trace.id, trace.name, trace.state));
    say(format!("from {} to {}", trace.started_at, trace.ended_at));
    say(format!("request: {}", trace.request_preview.as_deref().map_or("none".into(), cut)));
    say(format!("response: {}", trace.response_preview.as_deref().map_or("none".into(), cut)));
    for (key, value) in trace.metadata.iter().chain(&trace.tags) {
        say(format!("  {key} = {}", cut(value)));
    }
    for span in &trace.spans {
        text.push_str(&span_told(span, trace));
    }
    text
}

fn tokens(usage: codex_traced::session::model::TokenUsage) -> String {
    format!(
        "{} in ({} cached), {} out ({} reasoning)",
        usage.input, usage.cached_input, usage.output, usage.reasoning_output
    )
}

fn span_told(span: &Span, trace: &Trace) -> String {
    let indent = "  ".repeat(depth(span, trace));
    let millis = |at: Timestamp| at.as_millisecond() - trace.started_at.as_millisecond();
    let status = match &span.status {
        SpanStatus::Unset => "UNSET".into(),
        SpanStatus::Ok => "OK".into(),
        SpanStatus::Error { message } => format!("ERROR ({})", cut(message)),
    };
    let mut text = format!(
        "{indent}{} {} {status} at {} for {} ms",
        span.name,
        span.span_type.as_str(),
        millis(span.started_at),
        millis(span.ended_at) - millis(span.started_at)
    );
    let count = |key: &str| span.attributes.get(key).map_or("?".into(), Value::to_string);
    if span.span_type == SpanType::Llm {
        text += &format!(
            ", {} in ({} cached), {} out ({} reasoning)",
            count("input_tokens"),
            count("cached_input_tokens"),
            count("output_tokens"),
            count("reasoning_output_tokens")
        );
    }
    text.push('\n');
    let mut say = |mark: &str, line: String| text += &format!("{indent}    {mark} {line}\n");
    if span.span_type == SpanType::Llm {
        for message in span.inputs["messages"].as_array().into_iter().flatten() {
            let answers = message.get("tool_call_id").map_or(String::new(), |id| format!(" {id}"));
            say(">", cut(&format!("{}{answers}: {}", word(&message["role"]), word(&message["content"]))));
        }
        let answer = &span.outputs["choices"][0]["message"];
        for (key, value) in fields(answer) {
            match value {
                Value::Array(calls) => calls.iter().for_each(|call| {
                    let function = &call["function"];
                    say(
                        "<",
                        cut(&format!(
                            "call {} {} {}",
                            word(&call["id"]),
                            word(&function["name"]),
                            word(&function["arguments"])
                        )),
                    );
                }),
                value if key != "role" => say("<", cut(&format!("{key}: {}", word(value)))),
                _ => {}
            }
        }
    } else {
        fields(&span.inputs).for_each(|(key, value)| say(">", cut(&format!("{key}: {}", word(value)))));
        fields(&span.outputs).for_each(|(key, value)| say("<", cut(&format!("{key}: {}", word(value)))));
    }
    for (key, value) in &span.attributes {
        if !TOLD_ELSEWHERE.contains(&&**key) {
            say("@", cut(&format!("{key} = {}", word(value))));
        }
    }
    for event in &span.events {
        say(
            "!",
            cut(&format!(
                "{} at {}: {}",
                event.name,
                millis(event.at),
                Value::from(event.attributes.clone())
            )),
        );
    }
    text
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (&**key, value))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn depth(span: &Span, trace: &Trace) -> usize {
    let parent = span.parent.map(|id| trace.spans.iter().find(|span| span.id == id).expect("a parent"));
    parent.map_or(0, |parent| 1 + depth(parent, trace))
}

#[test]
fn every_rollout_of_the_corpus_tells_what_happened() {
    for path in corpus() {
        let session = read(&path);
        let trace = trace_of(&session, &path);
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path("snapshots/0.169.0");
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name_of(&path), told(&session, trace.as_ref())));
    }
}

#[test]
fn codex_0_169_writes_no_line_that_we_do_not_know() {
    for path in corpus() {
        let session = read(&path);
        assert!(session.unknown_lines.is_empty(), "{}: {:?}", path.display(), session.unknown_lines);
        assert_eq!(session.bad_lines, 0, "{}", path.display());
    }
}

#[test]
fn the_tokens_of_the_responses_are_codexs_own_total() {
    // In these Codex counted nothing.
    let without_totals = [
        ("err-429", "no response came"),
        ("err-500-always", "no response came"),
        ("err-failed", "every response broke off before it told its usage"),
        ("nousage", "the model's side told no usage"),
        ("review-exec-1", "the review's own thread has the responses"),
    ];
    for path in corpus() {
        let session = read(&path);
        let reason = without_totals.iter().find(|(name, _)| *name == name_of(&path));
        let expected = reason.is_none().then_some(true);
        assert_eq!(session.tokens_reconcile(), expected, "{}: {reason:?}", path.display());
    }
}
