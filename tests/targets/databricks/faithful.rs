//! The exporter's requests are those of MLflow's client: both deliver the same trace to the mock, and every difference
//! must be in the list below, with its reason.

use super::made::{Delivery, EXPERIMENT, id, trace};
use mlflow_store::trace::{Span, SpanStatus, Trace};
use serde_json::{Value, json};
use support::databricks::compare::{Side, differences, order};
use support::databricks::{Cloud, Rules, TOKEN};
use support::{Databricks, Oracle, Verb};

/// Each allowed difference (`*` matches any text), and its reason.
const ALLOWED: [(&str, &str); 20] = [
    ("GET /.well-known/databricks-config times: * != 1", "MLflow asks before every request, we once"),
    (
        "GET /api/3.0/mlflow/traces/<trace>: only ours",
        "a trace that is there stays in its experiment and keeps people's tags, so we look first",
    ),
    (
        "* headers x-mlflow-client-version: \"3.18.0\" != nothing",
        "we are no version of MLflow's client; the user agent says what we are",
    ),
    ("* trace_info execution_duration: \"18s\" != \"18.000s\"", "the same duration"),
    ("* trace_info request_time: \"*:46Z\" != \"*:46.000Z\"", "the same time"),
    (
        "* trace_metadata mlflow.codex.tagsWritten: nothing != *",
        "which tags are ours to change later; only metadata is out of people's reach",
    ),
    ("* trace_metadata mlflow.source.git.branch: \"\" != nothing", "no repository: we leave it out"),
    ("* trace_metadata mlflow.source.git.commit: \"\" != nothing", "no repository: we leave it out"),
    ("* trace_metadata mlflow.source.git.repoURL: \"\" != nothing", "no repository: we leave it out"),
    ("* trace_metadata mlflow.trace.cost: \"*: 0.75}\" != \"*:0.75}\"", "JSON without spaces"),
    ("* trace_metadata mlflow.trace.tokenUsage: \"*: 12}\" != \"*:12}\"", "JSON without spaces"),
    ("* trace_metadata mlflow.trace.sizeBytes: * != nothing", "a number that MLflow's page may show"),
    (
        "* trace_metadata mlflow.trace.sizeStats: * != nothing",
        "by its count of spans MLflow's page waits for those that come late; ours come in one file",
    ),
    ("* trace_metadata mlflow.traceInputs: * != nothing", "a real session's trace brings its own"),
    ("* trace_metadata mlflow.traceOutputs: * != nothing", "a real session's trace brings its own"),
    ("* trace_metadata mlflow.user: * != nothing", "a real session's trace brings its own"),
    (
        "* body spans * kind: \"SPAN_KIND_INTERNAL\" != \"SPAN_KIND_CLIENT\"",
        "a model's response waits for another service; MLflow's client calls every span internal",
    ),
    (
        "* body spans * attributes mlflow.spanLogLevel: * != nothing",
        "made from the span's status, and optional: MLflow before 3.17 had none",
    ),
    (
        "* body spans * attributes mlflow.spanStartTimeNs: * != nothing",
        "a note of MLflow's client to itself; the span says its start",
    ),
    (
        "* body spans 0 attributes mlflow.experimentId: * != nothing",
        "a note of MLflow's client to itself; the information says the experiment",
    ),
];

fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(pattern, _)| *pattern)
}

/// `*` matches any text.
fn fits(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            (0..=line.len()).any(|at| line.is_char_boundary(at) && fits(rest, &line[at..]))
        }),
    }
}

/// The trace in neutral words, for MLflow's client to log.
fn told(trace: &Trace) -> Value {
    let span = |span: &Span| {
        let error = match &span.status {
            SpanStatus::Error { message } => Some(message),
            SpanStatus::Ok | SpanStatus::Unset => None,
        };
        let events = span.events.iter().map(|event| {
            json!({"name": event.name, "time_ns": event.at.as_nanosecond() as i64, "attributes": event.attributes})
        });
        json!({
            "id": span.id, "parent": span.parent, "name": span.name, "type": span.span_type.as_str(), "error": error,
            "start_ns": span.started_at.as_nanosecond() as i64, "end_ns": span.ended_at.as_nanosecond() as i64,
            "inputs": span.inputs, "outputs": span.outputs, "attributes": span.attributes,
            "events": events.collect::<Vec<_>>(),
        })
    };
    json!({
        "metadata": trace.metadata, "tags": trace.tags, "request_preview": trace.request_preview,
        "response_preview": trace.response_preview, "spans": trace.spans.iter().map(span).collect::<Vec<_>>(),
    })
}

/// The ids that a client gave, each with the name that both sides have for it.
fn names(databricks: &Databricks, trace: &str) -> Vec<(String, String)> {
    let file: Value = serde_json::from_slice(&databricks.file(trace).expect("a file")).expect("JSON");
    let mut names = vec![(trace.to_owned(), "<trace>".to_owned())];
    for (index, span) in file["spans"].as_array().expect("spans").iter().enumerate() {
        for (key, name) in [("trace_id", "<trace>".to_owned()), ("span_id", format!("<span {index}>"))] {
            names.push((span[key].as_str().expect("an id").to_owned(), name));
        }
    }
    for (index, block) in
        databricks.exchanges().iter().filter_map(|asked| asked.parameter("blockid")).enumerate()
    {
        names.push((block.to_owned(), format!("<block {index}>")));
    }
    names
}

#[test]
fn the_requests_to_databricks_are_those_of_mlflow() {
    let Some(oracle) = Oracle::newest() else { return };
    let mut found = Vec::new();
    for cloud in [Cloud::Aws, Cloud::Google, Cloud::AzureBlob, Cloud::AzureLake] {
        let rules = Rules { cloud, ..Rules::default() };
        let (by_mlflow, by_us) = (Databricks::start(rules), Databricks::start(rules));
        let variables = [("DATABRICKS_HOST", by_mlflow.host()), ("DATABRICKS_TOKEN", TOKEN)];
        let log = Verb::Log { experiment: EXPERIMENT, trace: &told(&trace()) };
        let logged = oracle.ask_store("databricks", &variables, &[log]);
        let theirs = logged[0].as_str().expect("a trace id").to_owned();
        assert_eq!(by_mlflow.traces(), std::slice::from_ref(&theirs), "{:#?}", by_mlflow.story());
        Delivery::to(&by_us).of(&trace()).expect("delivered");

        let (their_names, our_names) = (names(&by_mlflow, &theirs), names(&by_us, &id(&trace())));
        let (their_exchanges, our_exchanges) = (by_mlflow.exchanges(), by_us.exchanges());
        let theirs = Side { exchanges: &their_exchanges, host: by_mlflow.host(), names: &their_names };
        let ours = Side { exchanges: &our_exchanges, host: by_us.host(), names: &our_names };
        assert_eq!(order(&theirs, &ours), order(&ours, &theirs), "{cloud:?}");
        assert!(order(&ours, &theirs).len() >= 5, "{:#?}", order(&ours, &theirs));
        found.extend(differences(&theirs, &ours));
    }
    found.sort();
    found.dedup();
    let unknown: Vec<_> = found.iter().filter(|line| !allowed().any(|known| fits(known, line))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let stale: Vec<_> = allowed().filter(|known| !found.iter().any(|line| fits(known, line))).collect();
    assert!(stale.is_empty(), "no longer a difference: {stale:#?}");
}
