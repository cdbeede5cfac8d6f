//! A trace that grows while its session runs: what MLflow shows after each update, and at the end.

use crate::http::{assert_same, delete, receipt, servers, target};
use crate::rows::Tables;
use codex_session::session::family::Family;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::Redacted;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use mlflow_store::exporter::{Delivered, ExportError, Exporter, Patience, Result};
use mlflow_store::ids::SpanId;
use mlflow_store::target::Experiment;
use mlflow_store::target::access::Access;
use mlflow_store::trace::{Span, Trace, TraceState};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::real::{MLFLOW_OLDEST_SERVER, MLFLOW_VERSION};
use support::{Front, MlflowServer, Oracle};

/// Two turns with tools; with the second, the responses get another parent.
const SESSION: &str = "tests/corpus/0.169.0/exec-json-resume-1.jsonl";

/// The session's thread. Each test gives it another id: tests share servers, and the trace of a thread has one id.
const THREAD: &str = "01a202b4-af9e-78f2-b2a0-7cd709c9fc2a";

const EXPERIMENT: &str = "codex-sessions";

/// The trace of the session's first lines, at six moments: the last is the whole session, which has ended.
fn growing(test: u8) -> Vec<Trace> {
    let folder = tempfile::tempdir().expect("make a folder");
    let text = fs::read_to_string(SESSION).expect("read the session");
    let text = text.replace(THREAD, &format!("01a2d0fe-0000-7000-8000-0000000000{test:02x}"));
    let lines: Vec<&str> = text.lines().collect();
    let path = folder.path().join(Path::new(SESSION).file_name().expect("a name"));
    let mut all: Vec<Trace> = Vec::new();
    for count in 1..=lines.len() {
        let writer = if count == lines.len() { Writer::Gone } else { Writer::Alive };
        fs::write(&path, lines[..count].join("\n") + "\n").expect("write some lines");
        let session = session::read(&path, writer).expect("a session");
        let family = Family::gather(session, |_| Vec::new());
        let source = TraceSource {
            rollout: Path::new("rollout.jsonl"),
            user: Some("ada"),
            prices: PriceBook::built_in(),
        };
        let built = build_family(&family, &ThreadRecord::default(), source);
        let Some(trace) = built.map(|built| Redacted::with_built_in_rules(built).into()) else { continue };
        if all.last() != Some(&trace) {
            all.push(trace);
        }
    }
    let last = all.len() - 1;
    (0..6).map(|step| all[step * last / 5].clone()).collect()
}

/// What the target was sent of a trace.
#[derive(Default)]
struct SentSpans(BTreeMap<SpanId, Span>);

impl SentSpans {
    /// The changes since the last call, with or without the root.
    fn changes(&mut self, trace: &Trace, with_root: bool) -> Trace {
        let is_due = |span: &&Span| with_root || span.parent.is_some();
        let is_new = |span: &&Span| self.0.get(&span.id) != Some(span);
        let spans: Vec<Span> = trace.spans.iter().filter(is_due).filter(is_new).cloned().collect();
        self.0.extend(spans.iter().map(|span| (span.id, span.clone())));
        Trace { spans, ..trace.clone() }
    }
}

/// Runs with an exporter of this target.
fn with_exporter<T>(uri: &str, run: impl FnOnce(&mut dyn Exporter) -> T) -> T {
    let access = Access::default();
    let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
    let experiment = Experiment::Name(EXPERIMENT.to_owned());
    let exporter = mlflow_store::exporter(&target(uri), &experiment, &access, patience);
    run(&mut *exporter.expect("a target"))
}

fn taken(update: Option<Result<Delivered>>) -> Delivered {
    update.expect("the target takes updates").expect("the target takes the update")
}

/// What a user sees of the whole trace.
fn totals(trace: &support::Trace) -> Value {
    let cost = trace.metadata.get("mlflow.trace.cost").and_then(Value::as_str);
    let cost = cost.map(|cost| serde_json::from_str::<Value>(cost).expect("JSON"));
    json!({
        "state": trace.state, "name": trace.name, "duration": trace.duration_ms,
        "request": trace.request_preview, "response": trace.response_preview, "tokens": trace.token_usage,
        "cost": cost, "session": trace.metadata.get("mlflow.trace.session"),
    })
}

#[test]
fn a_trace_that_grew_on_a_server_is_the_trace_exported_whole() {
    let steps = growing(1);
    let (last, running) = steps.split_last().expect("six moments");
    let in_progress = running.iter().filter(|trace| trace.state == TraceState::InProgress).count();
    assert!(
        (3..running.len()).contains(&in_progress),
        "between two turns, the trace has ended: {in_progress}"
    );
    let folder = tempfile::tempdir().expect("make a folder");
    let Some(newest) = Oracle::newest() else { return };
    let in_database = |trace: &Trace, name: &str| {
        let database = folder.path().join(name);
        with_exporter(&format!("sqlite:///{}", database.display()), |exporter| exporter.export(trace, None))
            .expect("a database takes the trace");
        newest.trace(&database)
    };
    let id = last.id.to_string();
    for (version, server, oracle) in servers() {
        with_exporter(&server.uri(), |exporter| {
            let mut sent = SentSpans::default();
            let begun = exporter.begin(&sent.changes(&running[0], true), None);
            if version == MLFLOW_OLDEST_SERVER {
                assert_eq!(begun, None, "a server that keeps an artifact");
            } else {
                taken(begun);
            }
            let mut state = running[0].state;
            for (step, trace) in running.iter().enumerate() {
                let now = || oracle.trace_of(&*server, &id);
                if version == MLFLOW_OLDEST_SERVER {
                    continue;
                }
                let spans_only = sent.changes(trace, false);
                assert_eq!(taken(exporter.update(&spans_only)).spans_sent, spans_only.spans.len());
                println!(
                    "MLflow {version}, step {step}, spans only: {} {}",
                    spans_only.spans.len(),
                    totals(&now())
                );
                assert_eq!(now().state, state.as_str(), "MLflow {version}, step {step}, spans only");
                let with_root = sent.changes(trace, true);
                if with_root.root().is_none() {
                    continue;
                }
                taken(exporter.update(&with_root));
                state = trace.state;
                let whole = in_database(trace, &format!("{version}-{step}.db"));
                println!(
                    "MLflow {version}, step {step}, with root: {} {}",
                    with_root.spans.len(),
                    totals(&now())
                );
                assert_eq!(totals(&now()), totals(&whole), "MLflow {version}, step {step}");
                assert_same(version, &whole, &now());
            }
            // The end: the receipt lists what the updates sent.
            let known = Trace { spans: sent.0.values().cloned().collect(), ..last.clone() };
            let delivered = Delivered { experiment_id: String::new(), spans_sent: 0 };
            let before = receipt(&server.uri(), &known, &delivered);
            let new = last.spans.iter().filter(|span| !before.holds(span)).count();
            let delivered = exporter.export(last, Some(&before)).expect("the server takes the trace");
            if version != MLFLOW_OLDEST_SERVER {
                assert_eq!(delivered.spans_sent, new, "MLflow {version}");
                assert!(new < last.spans.len(), "{new}");
            }
        });
        assert_same(version, &in_database(last, &format!("{version}.db")), &oracle.trace_of(&*server, &id));
    }
}

#[test]
fn a_trace_that_grew_in_a_database_has_the_rows_of_the_trace_exported_whole() {
    let Some(oracle) = Oracle::newest() else { return };
    let folder = tempfile::tempdir().expect("make a folder");
    let [grown, whole, made] = ["grown.db", "whole.db", "made.db"].map(|name| folder.path().join(name));
    oracle.ask(&made, &[support::Verb::Open]);
    for is_made in [false, true] {
        for database in [&grown, &whole] {
            let _ = fs::remove_file(database);
            if is_made {
                fs::copy(&made, database).expect("copy a database");
            }
        }
        let uri = |database: &Path| format!("sqlite:///{}", database.display());
        let steps = growing(2);
        with_exporter(&uri(&grown), |exporter| {
            let mut sent = SentSpans::default();
            exporter.export(&sent.changes(&steps[0], true), None).expect("a database takes the trace");
            for trace in &steps[1..] {
                taken(exporter.update(&sent.changes(trace, false)));
                taken(exporter.update(&sent.changes(trace, true)));
            }
        });
        let last = &steps[5];
        with_exporter(&uri(&whole), |exporter| exporter.export(last, None)).expect("a database takes it");
        if !is_made {
            // MLflow upgrades what codex-traced made.
            assert_eq!(totals(&oracle.trace(&grown)), totals(&oracle.trace(&whole)));
        }
        let ids = [last.id.to_string()].into();
        let [grown, whole] = [&grown, &whole].map(|database| Tables::of(database, EXPERIMENT, &ids));
        let mut differences = whole.differences(&grown);
        for of_time in ["experiments.creation_time", "experiments.last_update_time"] {
            differences.remove(of_time);
        }
        if is_made {
            differences.remove("trace_info.db_payload_generation").expect("a count of the writes");
        }
        assert_eq!(differences, BTreeMap::new(), "made by MLflow: {is_made}");
    }
}

#[test]
fn an_update_is_one_request_and_with_the_root_three() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let front = Front::before(server.port());
    let steps = growing(3);
    with_exporter(&front.uri(), |exporter| {
        let mut sent = SentSpans::default();
        exporter.export(&sent.changes(&steps[0], true), None).expect("the server takes the trace");
        front.forget();
        taken(exporter.update(&sent.changes(&steps[2], false)));
        assert_eq!(front.asked(), ["POST /v1/traces"]);
        front.forget();
        taken(exporter.update(&sent.changes(&steps[3], true)));
        let look = format!("GET /api/3.0/mlflow/traces/{}", steps[0].id);
        assert_eq!(front.asked(), [&*look, "POST /v1/traces", "POST /api/3.0/mlflow/traces"]);
        front.forget();
        assert_eq!(taken(exporter.update(&sent.changes(&steps[3], true))).spans_sent, 0);
        assert_eq!(front.asked(), [""; 0]);
        // An exporter that did not send the trace looks first.
        with_exporter(&front.uri(), |other| {
            front.forget();
            taken(other.update(&sent.changes(&steps[4], false)));
            assert_eq!(front.asked(), [&*look, "POST /v1/traces"]);
        });
    });
}

#[test]
fn a_trace_that_a_server_lost_is_not_updated_and_then_sent_whole() {
    let Some(server) = MlflowServer::of(MLFLOW_VERSION) else { return };
    let front = Front::before(server.port());
    let steps = growing(4);
    let is_gone = |update: Option<Result<Delivered>>| matches!(update, Some(Err(ExportError::Gone(_))));
    with_exporter(&front.uri(), |exporter| {
        let mut sent = SentSpans::default();
        assert!(is_gone(exporter.update(&steps[0])), "it was never there");
        let delivered = exporter.export(&sent.changes(&steps[0], true), None).expect("the server takes it");
        delete(&front, &delivered.experiment_id, &steps[0].id.to_string());
        front.forget();
        assert!(is_gone(exporter.update(&sent.changes(&steps[1], true))));
        assert_eq!(front.asked().len(), 1, "a look");
        // Spans alone are not refused: the server makes a trace of them.
        taken(exporter.update(&sent.changes(&steps[2], false)));
        assert!(is_gone(exporter.update(&sent.changes(&steps[3], true))));
        let before = receipt(&front.uri(), &steps[3], &delivered);
        let whole = exporter.export(&steps[3], Some(&before)).expect("the server takes it");
        assert_eq!(whole.spans_sent, steps[3].spans.len());
        taken(exporter.update(&sent.changes(&steps[4], true)));
    });
}
