//! Puts a large trace into a home's spool, so that a delivery can be measured:
//! `cargo run --example large_trace -- HOME URI SPANS MEGABYTES`, then
//! `CODEX_HOME=HOME /usr/bin/time -v codex-traced mlflow sync`.

use codex_traced::queue::spool::Spool;
use codex_traced::queue::spool::entry::Entry;
use codex_traced::redact::Redacted;
use codex_traced::trace::ids::{span_of_key, trace_of_thread};
use common::json::value::Value;
use jiff::{SignedDuration, Timestamp};
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use serde_json::json;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, uri, spans, megabytes] = &arguments[..] else {
        return Err("usage: large_trace HOME URI SPANS MEGABYTES".into());
    };
    let (spans, megabytes): (u64, usize) = (spans.parse()?, megabytes.parse()?);
    let trace = large_trace(spans, (megabytes << 20) / usize::try_from(spans)?.max(1));
    let entry = Entry {
        target: Target::parse(uri, Path::new("/"))?,
        experiment: Experiment::Name("large".to_owned()),
        trace: Redacted::with_built_in_rules(trace),
    };
    let path = Spool::new(Path::new(home).join("mlflow/spool")).put(&entry, Timestamp::now())?;
    println!("{}: {} bytes", path.display(), path.metadata()?.len());
    Ok(())
}

/// A root, and under it calls of tools with much output; every tenth span is a call of the model, with tokens.
fn large_trace(spans: u64, bytes_each: usize) -> Trace {
    let now = Timestamp::now();
    let thread = format!("large {now}");
    let root = span_of_key(&thread, "root");
    let line = "fn main() { println!(\"one line of what a tool printed\") }\n";
    let output: String = line.chars().cycle().take(bytes_each).collect();
    let is_call = |number: u64| number % 10 == 1;
    let object = |value: serde_json::Value| Value::from(value).as_object().cloned().unwrap_or_default();
    let exit_code = object(json!({"exit_code": 0}));
    let tokens = object(json!({
        "mlflow.chat.tokenUsage": {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050},
        "mlflow.llm.model": "gpt-5-codex",
        "mlflow.llm.provider": "openai",
    }));
    let span = |number: u64| Span {
        id: if number == 0 { root } else { span_of_key(&thread, &number.to_string()) },
        parent: (number > 0).then_some(root),
        name: if number == 0 { "codex_cli_session".to_owned() } else { format!("tool_{number}") },
        span_type: match number {
            0 => SpanType::Agent,
            _ if is_call(number) => SpanType::Llm,
            _ => SpanType::Tool,
        },
        status: SpanStatus::Ok,
        started_at: now,
        ended_at: now + SignedDuration::from_millis(5),
        inputs: json!({"cmd": "cat main.rs", "number": number}).into(),
        outputs: json!({"result": output}).into(),
        attributes: if is_call(number) { tokens.clone() } else { exit_code.clone() },
        events: Vec::new(),
    };
    Trace {
        id: trace_of_thread(&thread),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: now,
        ended_at: now + SignedDuration::from_secs(60),
        request_preview: Some("a large one".to_owned()),
        response_preview: None,
        metadata: [].into(),
        tags: [].into(),
        spans: (0..spans).map(span).collect(),
        context: Default::default(),
    }
}
