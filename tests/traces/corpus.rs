//! What real rollouts become: every file of the corpus, read, built, and printed as a text to review.

use codex_session::session::model::Session;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::Redacted;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use common::json::value::Map;
use common::json::value::Value;
use jiff::Timestamp;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Long enough to recognise a text, short enough for a line of review.
const CHARACTERS: usize = 100;

/// Enough to see every kind of span; a session of hundreds repeats itself.
const SPANS: usize = 60;

/// Attributes that repeat a name or a column of the text; below the root all of OpenTelemetry's do.
const TOLD_ELSEWHERE: [&str; 6] = [
    "tool_name",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_output_tokens",
    "mlflow.chat.tokenUsage",
];

/// `tests/corpus/<version that wrote it last>/<scenario>.jsonl`.
fn corpus() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        below(Path::new("tests/corpus")).iter().flat_map(|version| below(version)).collect();
    paths.sort();
    assert!(paths.len() >= 90, "only {} files found", paths.len());
    paths
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the corpus");
    entries.map(|entry| entry.expect("a file of the corpus").path()).collect()
}

/// As in `0.98.0/exec-tools`.
fn scenario_of(path: &Path) -> String {
    format!("{}/{}", version_of(path), name_of(path))
}

fn version_of(path: &Path) -> &str {
    path.parent().and_then(Path::file_name).and_then(OsStr::to_str).expect("a folder in ASCII")
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).expect("a name in ASCII")
}

fn read(path: &Path) -> Session {
    session::read(path, Writer::Gone).expect("a file that can be read")
}

fn trace_of(session: &Session, path: &Path) -> Option<Trace> {
    let trace = build_family(
        &session.clone().into(),
        &ThreadRecord::default(),
        TraceSource { rollout: path, user: Some("me"), prices: PriceBook::built_in() },
    );
    // Nothing in the corpus is a secret; long texts are cut with it.
    trace.map(|trace| Redacted::with_built_in_rules(trace).into())
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
    for span in trace.spans.iter().take(SPANS) {
        text.push_str(&span_told(span, trace));
    }
    if let Some(more @ 1..) = trace.spans.len().checked_sub(SPANS) {
        text.push_str(&format!("… and {more} spans more\n"));
    }
    text
}

fn tokens(usage: codex_session::rollout::usage::TokenUsage) -> String {
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
    for (key, value) in span.attributes.iter() {
        let is_repeated = span.parent.is_some() && key.starts_with("gen_ai.");
        if !is_repeated && !TOLD_ELSEWHERE.contains(&&**key) {
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
    value.as_object().into_iter().flat_map(Map::iter).map(|(key, value)| (&**key, value))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn depth(span: &Span, trace: &Trace) -> usize {
    let parent = span.parent.map(|id| trace.spans.iter().find(|span| span.id == id).expect("a parent"));
    parent.map_or(0, |parent| 1 + depth(parent, trace))
}

#[test]
fn every_rollout_of_the_corpus_gives_its_reviewed_trace() {
    for path in corpus() {
        let session = read(&path);
        let trace = trace_of(&session, &path);
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path(format!("../snapshots/{}", version_of(&path)));
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name_of(&path), told(&session, trace.as_ref())));
    }
}

#[test]
fn no_codex_writes_an_unknown_line() {
    for path in corpus() {
        let session = read(&path);
        assert!(session.unknown_lines.is_empty(), "{}: {:?}", path.display(), session.unknown_lines);
        assert_eq!(session.bad_lines, 0, "{}", path.display());
    }
}

/// What Codex counted for the thread itself, read from the raw lines: input and output tokens. Counters that started
/// again are added up; the first one's initial value belongs to another thread.
fn counted_by_codex(path: &Path) -> Option<[u64; 2]> {
    let lines = fs::read_to_string(path).expect("a file of the corpus");
    let figures = |usage: &serde_json::Value| {
        ["input_tokens", "output_tokens"].map(|name| usage[name].as_u64().expect("a count of tokens"))
    };
    let (mut sum, mut now, mut uncounted) = (None, [0, 0], None);
    for line in lines.lines() {
        let payload = &serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON")["payload"];
        if payload["usage"].is_object() {
            uncounted = Some(figures(&payload["usage"]));
        }
        let info = &payload["info"];
        if !info["total_token_usage"].is_object() {
            continue;
        }
        uncounted = None;
        let (total, last) = (figures(&info["total_token_usage"]), figures(&info["last_token_usage"]));
        let starts_anew = total[0] < now[0] || now == [0, 0];
        // A response that was cut off has zeros next to its count.
        let first = if last == [0, 0] { total } else { last };
        let own = sum.get_or_insert([0, 0]);
        for index in 0..2 {
            own[index] += if starts_anew { first[index] } else { total[index] - now[index] };
        }
        now = total;
    }
    // Killed between the two lines.
    if let Some(usage) = uncounted {
        let own = sum.get_or_insert([0, 0]);
        (0..2).for_each(|index| own[index] += usage[index]);
    }
    sum.filter(|sum| *sum != [0, 0])
}

#[test]
fn the_tokens_of_the_responses_are_codexs_own_total() {
    // In these Codex counted nothing.
    let without_totals = [
        ("0.169.0/daemon-exec-1", "nothing was asked"),
        ("0.169.0/daemon-exec-3", "nothing was asked"),
        ("0.169.0/err-400", "no response came"),
        ("0.169.0/err-429", "no response came"),
        ("0.169.0/err-500-always", "no response came"),
        ("0.169.0/err-context", "no response came"),
        ("0.169.0/err-failed", "every response broke off before it told its usage"),
        ("0.169.0/nousage", "the model's side told no usage"),
        ("0.169.0/review-exec-1", "the review's own thread has the responses"),
        ("0.169.0/legacy-0.20.0", "bare files tell no tokens"),
        ("0.20.0/exec-tools", "bare files tell no tokens"),
        ("0.20.0/probe", "bare files tell no tokens"),
    ];
    let mut table = vec![format!(
        "{:<28} {:>5} {:>5} {:>5}  {:>17}  {:>17}  {}",
        "file", "turns", "llm", "tools", "tokens in / out", "by codex", "reconciled"
    )];
    for path in corpus() {
        let (session, scenario) = (read(&path), scenario_of(&path));
        let trace = trace_of(&session, &path);
        let spans =
            |kind| trace.iter().flat_map(|it| &it.spans).filter(|span| span.span_type == kind).count();
        let tokens = |tokens: Option<[u64; 2]>| {
            tokens.map_or("-".into(), |[input, output]| format!("{input} / {output}"))
        };
        let ours = session.usage().map(|usage| [usage.input, usage.output]);
        let codex = counted_by_codex(&path);
        let reconciled = session.tokens_reconcile();
        let told = match reconciled {
            Some(true) => "yes".into(),
            Some(false) => format!("no: {}", session.discrepancy().expect("a reason").as_str()),
            None => "no total".to_owned(),
        };
        table.push(format!(
            "{scenario:<28} {:>5} {:>5} {:>5}  {:>17}  {:>17}  {told}",
            session.turns.len(),
            spans(SpanType::Llm),
            spans(SpanType::Tool),
            tokens(ours),
            tokens(codex),
        ));
        let reason = without_totals.iter().find(|(name, _)| *name == scenario);
        assert_eq!(reconciled, reason.is_none().then_some(true), "{scenario}: {reason:?}");
        assert_eq!(ours, codex, "{scenario}");
    }
    let table = table.join("\n");
    println!("{table}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("corpus", table));
}

/// `codex migrate-rollouts` rewrites a file: other lines, ordinals, turn ids.
#[test]
fn a_migrated_file_gives_the_ids_that_it_gave_before() {
    let spans = |path: &str| {
        let path = Path::new("tests/corpus").join(path);
        let trace = trace_of(&read(&path), &path).expect("a trace");
        let spans = trace.spans.iter().map(|span| (span.id, span.name.clone())).collect::<Vec<_>>();
        (trace.id, spans)
    };
    let before = spans("0.98.0/exec-tools.jsonl");
    assert_eq!(before, spans("0.169.0/legacy-mig.jsonl"));
    assert!(before.1.len() > 10, "only {} spans", before.1.len());
}
