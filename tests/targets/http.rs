//! A session's trace on real MLflow servers, read back by the client of the server's own version.

mod workspaces;

use crate::LAUNCHER;
use crate::rows::{Of, compare_rows};
use codex_session::session::family::Family;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::Redacted;
use codex_traced::settings::modes::Granularity;
use codex_traced::trace::build::{TraceSource, build_family, rebuild_turns};
use codex_traced::trace::price_book::PriceBook;
use jiff::Timestamp;
use mlflow_store::exporter::{Delivered, ExportError, Patience};
use mlflow_store::receipt::Receipt;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::Trace;
use mlflow_store::{self, sqlite};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::mlflow_server::post;
use support::real::{self, MLFLOW_BEFORE, MLFLOW_OLDEST, MLFLOW_OLDEST_SERVER, MLFLOW_VERSION};
use support::{
    Codex, End, Fault, FaultProxy, Front, Home, MlflowServer, ModelServer, Oracle, Reply, Script, Seen,
    ServerOptions, Verb, assert_facts, codex, run,
};

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

/// Everything that a span can hold: reasoning, calls, a failure with its event, text that is no ASCII.
fn a_small_job() -> Script {
    Script::new()
        .reply(
            Reply::new()
                .reasoning("**Plan** list")
                .commentary("Ich sehe nach: „ls“ 🙂")
                .call("exec_command", json!({"cmd": "ls"}))
                .usage(9000, 4096, 120, 64),
        )
        .reply(
            Reply::new().call("exec_command", json!({"cmd": "echo no >&2; exit 3"})).usage(9300, 9000, 40, 0),
        )
        .reply(Reply::new().custom("apply_patch", PATCH).usage(9500, 9300, 60, 0))
        .reply(Reply::new().answer("done").usage(9700, 9500, 20, 0))
}

/// A session that was traced into a database, from where it is delivered elsewhere.
struct Job {
    home: Home,
    server: ModelServer,
    thread: String,
}

impl Job {
    fn done(codex: &Codex) -> Job {
        let server = ModelServer::start(a_small_job());
        let home = Home::new(&server.url());
        let mut command = home.traced(LAUNCHER, &codex.native);
        let outcome = run(command.args(["exec", "--json", "do it"])).ended(End::Code(0));
        let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
        Job { home, server, thread }
    }

    fn resume(&self, codex: &Codex) {
        self.server.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
        let mut command = self.home.traced(LAUNCHER, &codex.native);
        run(command.args(["exec", "resume", &self.thread, "and more"])).ended(End::Code(0));
    }

    fn trace_id(&self) -> String {
        format!("tr-{}", self.thread.replace('-', ""))
    }

    fn trace(&self) -> Trace {
        let id = self.trace_id().parse().expect("a trace id");
        sqlite::read(&self.home.database(), id).expect("a readable database").expect("the trace")
    }
}

pub(crate) fn target(uri: &str) -> Target {
    Target::parse(uri, Path::new("/")).expect("a tracking URI")
}

fn deliver(uri: &str, trace: &Trace, before: Option<&Receipt>) -> Delivered {
    try_to_deliver(uri, trace, before).expect("the server takes the trace")
}

fn try_to_deliver(uri: &str, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered, ExportError> {
    let access = Access::default();
    let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let exporter = mlflow_store::exporter(&target(uri), &experiment, &access, patience);
    exporter.and_then(|mut exporter| exporter.export(trace, before))
}

/// What two readings of one trace differ in, a line each.
fn differences(expected: &support::Trace, found: &support::Trace) -> Vec<String> {
    let mut lines = Vec::new();
    let whole = |trace: &support::Trace| {
        json!({
            "trace_id": trace.trace_id, "name": trace.name, "experiment": trace.experiment, "state": trace.state,
            "request_time_ms": trace.request_time_ms, "duration_ms": trace.duration_ms,
            "request_preview": trace.request_preview, "response_preview": trace.response_preview,
            "tags": trace.tags, "metadata": parsed(&trace.metadata), "token_usage": trace.token_usage,
            "spans": trace.spans.iter().map(|span| span.span_id.clone()).collect::<BTreeSet<_>>(),
        })
    };
    compare("trace", &whole(expected), &whole(found), &mut lines);
    for span in &expected.spans {
        let Some(other) = found.spans.iter().find(|other| other.span_id == span.span_id) else { continue };
        let told = |span: &support::Span| {
            json!({
                "parent": span.parent_id, "name": span.name, "type": span.kind, "status": span.status,
                "message": span.message, "start_ns": span.start_ns, "end_ns": span.end_ns, "inputs": span.inputs,
                "outputs": span.outputs, "attributes": span.attributes, "events": span.events,
            })
        };
        compare(&span.name, &told(span), &told(other), &mut lines);
    }
    lines
}

/// MLflow 3.17 takes the JSON in metadata apart, and puts it together again with other spaces.
fn parsed(metadata: &Map<String, Value>) -> Value {
    let of = |value: &Value| value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let parsed = |value: &Value| of(value).filter(Value::is_object).unwrap_or_else(|| value.clone());
    metadata.iter().map(|(key, value)| (key.clone(), parsed(value))).collect::<Map<_, _>>().into()
}

fn compare(at: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                compare(&format!("{at} {key}"), &of(expected), &of(found), lines);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => lines.push(format!("{at}: {expected} became {found}")),
    }
}

/// What may differ between a server and our own database, and why: the end of a line, versions, reason.
const ALLOWED: [(&str, &[&str], &str); 3] = [
    ("trace tags mlflow.artifactLocation", &[], "every store has its own place for artifacts"),
    (
        "trace metadata mlflow.trace.infoFinalized",
        &["3.2.0", "3.6.0"],
        "a note of later servers to themselves",
    ),
    ("trace tags mlflow.trace.spansLocation", &["3.2.0"], "that server keeps spans as a file"),
];

pub(crate) fn assert_same(version: &str, expected: &support::Trace, found: &support::Trace) {
    let allowed = |line: &String| {
        ALLOWED.iter().any(|(at, versions, _)| {
            line.starts_with(&format!("{at}: ")) && (versions.is_empty() || versions.contains(&version))
        })
    };
    let mut lines = differences(expected, found);
    lines.retain(|line| !allowed(line));
    assert_eq!(lines, [""; 0], "MLflow {version}");
}

/// Every server that is tested, with the client of its version.
pub(crate) fn servers() -> impl Iterator<Item = (&'static str, Arc<MlflowServer>, Oracle)> {
    [MLFLOW_OLDEST_SERVER, MLFLOW_OLDEST, MLFLOW_BEFORE, MLFLOW_VERSION]
        .into_iter()
        .filter_map(|version| Some((version, MlflowServer::shared(version)?, Oracle::of(version)?)))
}

pub(crate) fn receipt(uri: &str, trace: &Trace, delivered: &Delivered) -> Receipt {
    Receipt::from_spans(target(uri), delivered.experiment_id.clone(), Timestamp::UNIX_EPOCH, &trace.spans)
}

/// How many spans each request carried, and whether the last one was the root.
fn spans_in(front: &Front) -> (Vec<usize>, bool) {
    let requests = front.seen().into_iter().filter(|seen| seen.target == "/v1/traces");
    let batches: Vec<_> = requests
        .map(|seen| {
            ExportTraceServiceRequest::decode(seen.body.as_slice()).expect("a request of the protocol")
        })
        .map(|request| request.resource_spans[0].scope_spans[0].spans.clone())
        .collect();
    let root_is_last =
        batches.last().and_then(|batch| batch.last()).is_some_and(|span| span.parent_span_id.is_empty());
    (batches.iter().map(Vec::len).collect(), root_is_last)
}

#[test]
fn a_server_shows_what_our_database_holds_and_a_second_delivery_changes_nothing() {
    let (Some(codex), Some(newest)) = (codex(), Oracle::newest()) else { return };
    let job = Job::done(&codex);
    let (trace, in_database) = (job.trace(), newest.trace(&job.home.database()));
    for (version, server, oracle) in servers() {
        let sent = deliver(&server.uri(), &trace, None);
        assert_eq!(sent.spans_sent, trace.spans.len());
        let on_server = oracle.trace_of(&*server, &job.trace_id());
        assert_same(version, &in_database, &on_server);

        assert_eq!(deliver(&server.uri(), &trace, None), sent);
        let again = oracle.trace_of(&*server, &job.trace_id());
        assert_eq!(differences(&on_server, &again), [""; 0], "MLflow {version}, sent twice");
    }
}

#[test]
fn a_server_and_a_file_hold_the_same_rows_in_each_table() {
    let mut wrong = Vec::new();
    for (version, server, oracle) in servers().filter(|(version, ..)| *version != MLFLOW_OLDEST_SERVER) {
        for of in [Of::Session, Of::Turn] {
            let report = compare_rows(version, &server, &oracle, of);
            println!("MLflow {version}, a trace for each {of:?}: {report}");
            wrong.extend(report.wrong.iter().map(|line| format!("MLflow {version}, {of:?}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_resumed_session_is_updated_and_what_people_added_stays() {
    let (Some(codex), Some(newest)) = (codex(), Oracle::newest()) else { return };
    let job = Job::done(&codex);
    let id = job.trace_id();
    let first = job.trace();
    let mut deliveries = Vec::new();
    for (version, server, oracle) in servers() {
        let before = receipt(&server.uri(), &first, &deliver(&server.uri(), &first, None));
        let added = [
            Verb::Feedback { trace: &id, name: "good", value: json!(true) },
            Verb::Expectation { trace: &id, name: "answer", value: json!("done") },
            Verb::Tag { trace: &id, key: "team", value: "red" },
            Verb::Tag { trace: &id, key: "reviewed", value: "yes" },
            Verb::Rename { trace: &id, name: "mine" },
        ];
        oracle.ask(&*server, &added);
        deliveries.push((version, server, oracle, before));
    }
    job.resume(&codex);
    let (second, in_database) = (job.trace(), newest.trace(&job.home.database()));
    for (version, server, oracle, before) in deliveries {
        deliver(&server.uri(), &second, Some(&before));
        let mut on_server = oracle.trace_of(&*server, &id);
        let mut names: Vec<&str> =
            on_server.assessments.iter().filter_map(|added| added["assessment_name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["answer", "good"], "MLflow {version}");
        let theirs = ["team", "reviewed"].map(|key| on_server.tags.remove(key));
        assert_eq!(theirs, [Some(json!("red")), Some(json!("yes"))], "MLflow {version}");
        assert_eq!(on_server.name.as_deref(), Some("mine"), "MLflow {version}");

        // The rest is as in the local database, which has no edits.
        on_server.name = in_database.name.clone();
        on_server.tags.insert("mlflow.traceName".to_owned(), json!(in_database.name));
        if version == MLFLOW_OLDEST_SERVER {
            // That server cannot change the preview of a trace that it has.
            assert_eq!(on_server.response_preview.as_deref(), Some("done"));
            on_server.response_preview = in_database.response_preview.clone();
        }
        assert_same(version, &in_database, &on_server);
        assert_facts(&on_server, "trace OK in=47500 out=247 spans=11");
    }
}

/// A session of the corpus, up to a line if one is named.
fn of_corpus(name: &str, lines: Option<usize>, writer: Writer, granularity: Granularity) -> Vec<Trace> {
    let folder = tempfile::tempdir().expect("a folder");
    // Another test sends the recorded session itself to the same servers.
    static COPIES: AtomicUsize = AtomicUsize::new(0xc000);
    let original = format!("tests/corpus/0.169.0/{name}.jsonl");
    let number = COPIES.fetch_add(1, Ordering::Relaxed);
    let rollout = support::many::copy(original.as_ref(), folder.path(), number).path;
    let text = std::fs::read_to_string(&rollout).expect("a session");
    let kept: String = text.split_inclusive('\n').take(lines.unwrap_or(usize::MAX)).collect();
    std::fs::write(&rollout, kept).expect("write a session");
    let family = Family::from(session::read(&rollout, writer).expect("read a session"));
    let (record, surroundings) = (
        ThreadRecord::default(),
        TraceSource { rollout: &rollout, user: None, prices: PriceBook::built_in() },
    );
    let traces: Vec<Trace> = match granularity {
        Granularity::Session => build_family(&family, &record, surroundings).into_iter().collect(),
        Granularity::Turn => {
            let built = rebuild_turns(&family, None, &record, surroundings);
            built.into_iter().map(|built| built.trace).collect()
        }
    };
    traces.into_iter().map(|trace| Redacted::with_built_in_rules(trace).into()).collect()
}

#[test]
fn every_server_lists_plain_text_and_the_time_that_codex_worked() {
    let session = |name: &str| of_corpus(name, None, Writer::Gone, Granularity::Session).remove(0);
    let running = of_corpus("exec-basic", Some(12), Writer::Alive, Granularity::Session).remove(0);
    // Resumed after 23 minutes, and worked for five seconds.
    let resumed = session("exec-json-resume-1");
    let traces = [running, session("err-400"), session("sig-KILL"), session("image-55"), resumed];
    let turns = of_corpus("exec-json-resume-1", None, Writer::Gone, Granularity::Turn);
    let expected = [
        ("please list files and edit", "running"),
        ("p", "failed: {"),
        ("sleep please", "lost"),
        ("what is this\n[local_image ", "a red square"),
        ("first prompt", "c 2"),
        ("first prompt", "first done"),
        ("second prompt", "resumed reply 4"),
        ("third prompt", "resumed reply 5"),
        ("resume compressed", "c 2"),
    ];
    let traces: Vec<&Trace> = traces.iter().chain(&turns).collect();
    assert_eq!(traces.len(), expected.len());
    for (version, server, oracle) in servers() {
        let ids: Vec<String> = traces.iter().map(|trace| trace.id.to_string()).collect();
        traces.iter().for_each(|trace| _ = deliver(&server.uri(), trace, None));
        let looks: Vec<Verb> = ids.iter().map(|id| Verb::Trace { trace: id }).collect();
        for ((trace, told), (request, response)) in
            traces.iter().zip(oracle.ask(&*server, &looks)).zip(expected)
        {
            let told: support::Trace = serde_json::from_value(told).expect("a trace");
            let previews =
                [&told.request_preview, &told.response_preview].map(|text| text.as_deref().unwrap_or("-"));
            assert!(
                previews[0].starts_with(request) && previews[1].starts_with(response),
                "{version}: {previews:?}"
            );
            let active = trace.spans[0].attributes.get("codex.active_ms").and_then(|active| active.as_u64());
            assert_eq!(
                told.duration_ms.and_then(|took| took.try_into().ok()),
                active,
                "{version}: {request}"
            );
            // The root keeps the whole time.
            let root = &told.spans.iter().find(|span| span.parent_id.is_none()).expect("a root");
            let whole = trace.ended_at.as_nanosecond() - trace.started_at.as_nanosecond();
            assert_eq!(
                root.end_ns.map(|end| i128::from(end - root.start_ns)),
                Some(whole),
                "{version}: {request}"
            );
        }
    }
}

#[test]
fn only_new_spans_go_over_the_wire() {
    let (Some(codex), Some(server)) = (codex(), MlflowServer::shared(MLFLOW_VERSION)) else { return };
    let front = Front::before(server.port());
    let job = Job::done(&codex);
    // A second turn brings a span for each turn, under which all others hang from then on.
    job.resume(&codex);
    let first = job.trace();
    let delivered = deliver(&front.uri(), &first, None);
    assert_eq!(spans_in(&front), (vec![first.spans.len()], true));
    let before = receipt(&front.uri(), &first, &delivered);

    // A second delivery: the trace itself, and no span.
    front.forget();
    assert_eq!(deliver(&front.uri(), &first, Some(&before)).spans_sent, 0);
    assert_eq!(spans_in(&front), (vec![], false));
    assert_eq!(front.asked().last().map(String::as_str), Some("POST /api/3.0/mlflow/traces"));

    job.resume(&codex);
    let second = job.trace();
    // The third turn, its one call of the model, and the root.
    let new = 3;
    front.forget();
    assert_eq!(deliver(&front.uri(), &second, Some(&before)).spans_sent, new);
    assert_eq!(spans_in(&front), (vec![new], true));

    // A receipt of another target does not count here.
    front.forget();
    deliver(&front.uri(), &second, Some(&receipt("http://elsewhere", &second, &delivered)));
    assert_eq!(spans_in(&front), (vec![second.spans.len()], true));

    // What is gone there is sent whole.
    let held = receipt(&front.uri(), &second, &delivered);
    delete(&front, &delivered.experiment_id, &job.trace_id());
    front.forget();
    deliver(&front.uri(), &second, Some(&held));
    assert_eq!(spans_in(&front), (vec![second.spans.len()], true));
}

/// Deletes a trace as MLflow's page does.
pub(crate) fn delete(front: &Front, experiment: &str, trace: &str) {
    let body = json!({"experiment_id": experiment, "request_ids": [trace]}).to_string();
    let answer = post(front.port(), "/api/2.0/mlflow/traces/delete-traces", &[], &body);
    assert!(answer.contains("\"traces_deleted\": 1"), "{answer}");
}

#[test]
fn spans_that_something_before_the_server_keeps_back_are_not_taken_for_delivered() {
    let (Some(codex), Some(server)) = (codex(), MlflowServer::shared(MLFLOW_OLDEST)) else { return };
    let job = Job::done(&codex);
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let front = Front::answering(server.port(), move |seen: &Seen| {
        seen.target.starts_with("/v1/").then(|| not_found.to_owned())
    });
    for _ in 0..2 {
        let told = try_to_deliver(&front.uri(), &job.trace(), None);
        let is_told = |error: &ExportError| matches!(error, ExportError::Unclear { reason, .. } if reason.contains("/v1/traces"));
        assert!(told.as_ref().is_err_and(is_told), "{told:?}");
    }
    assert_eq!(deliver(&server.uri(), &job.trace(), None).spans_sent, job.trace().spans.len());
}

#[test]
fn where_a_second_send_is_refused_a_lost_answer_is_no_harm() {
    let (Some(codex), Some(server), Some(oracle)) =
        (codex(), MlflowServer::shared(MLFLOW_OLDEST_SERVER), Oracle::of(MLFLOW_OLDEST_SERVER))
    else {
        return;
    };
    let job = Job::done(&codex);
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into());
    proxy.fail_once("/api/3.0/mlflow/traces", Fault::LoseAnswer);
    deliver(&proxy.url(), &job.trace(), None);
    let facts = "trace OK name=codex_cli_session in=37500 out=240 spans=8";
    assert_facts(&oracle.trace_of(&*server, &job.trace_id()), facts);
}

#[test]
fn a_cost_that_only_the_server_adds_up_grows_with_the_session() {
    let (Some(codex), Some(server), Some(oracle)) =
        (codex(), MlflowServer::shared(MLFLOW_VERSION), Oracle::newest())
    else {
        return;
    };
    let job = Job::done(&codex);
    // As for a model without a known price: each call has a cost from another source, the trace has none.
    let unpriced = |mut trace: Trace| {
        trace.metadata.remove("mlflow.trace.cost");
        trace
    };
    let cost = || {
        let told = oracle.trace_of(&*server, &job.trace_id()).metadata["mlflow.trace.cost"].clone();
        let cost: Value = serde_json::from_str(told.as_str().expect("text")).expect("JSON");
        cost["total_cost"].as_f64().expect("a number")
    };
    let full = |trace: &Trace| {
        let cost: Value = serde_json::from_str(&trace.metadata["mlflow.trace.cost"]).expect("JSON");
        cost["total_cost"].as_f64().expect("a number")
    };
    let first = job.trace();
    deliver(&server.uri(), &unpriced(first.clone()), None);
    assert!((cost() - full(&first)).abs() < 1e-9);
    job.resume(&codex);
    let second = job.trace();
    deliver(&server.uri(), &unpriced(second.clone()), None);
    assert!(
        full(&second) > full(&first) && (cost() - full(&second)).abs() < 1e-9,
        "{} {}",
        cost(),
        full(&second)
    );
}

#[test]
fn a_server_over_a_file_store_takes_a_trace_and_its_update() {
    let (Some(codex), Some(python), Some(oracle)) = (codex(), real::mlflow(MLFLOW_VERSION), Oracle::newest())
    else {
        return;
    };
    let options = ServerOptions {
        arguments: ["--backend-store-uri", "./mlruns"].map(str::to_owned).to_vec(),
        variables: vec![("MLFLOW_ALLOW_FILE_STORE".to_owned(), "true".to_owned())],
        ..ServerOptions::default()
    };
    let server = MlflowServer::with(&python, &options);
    let job = Job::done(&codex);
    let first = job.trace();
    assert_eq!(deliver(&server.uri(), &first, None).spans_sent, first.spans.len());
    oracle.ask(&server, &[Verb::Tag { trace: &job.trace_id(), key: "team", value: "red" }]);
    job.resume(&codex);
    deliver(&server.uri(), &job.trace(), None);
    let facts = "trace OK name=codex_cli_session tags.team=red in=47500 out=247 spans=11";
    assert_facts(&oracle.trace_of(&server, &job.trace_id()), facts);
}

#[test]
fn a_launch_delivers_to_the_server_of_its_environment() {
    let (Some(codex), Some(server), Some(oracle)) =
        (codex(), MlflowServer::shared(MLFLOW_VERSION), Oracle::newest())
    else {
        return;
    };
    let model = ModelServer::start(a_small_job());
    let home = Home::new(&model.url());
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.args(["exec", "--json", "do it"]).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    let outcome =
        run(command.env("MLFLOW_TRACKING_URI", server.uri()).env("MLFLOW_EXPERIMENT_NAME", "of a launch"));
    let thread =
        outcome.ended(End::Code(0)).json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let mut sync = home.traced(LAUNCHER, &codex.native);
    sync.args(["mlflow", "sync"]);
    run(&mut sync).ended(End::Code(0));
    assert_facts(
        &oracle.trace_of(&*server, &format!("tr-{}", thread.replace('-', ""))),
        r#"
        trace OK name=codex_cli_session experiment="of a launch" request="do it" response=done in=37500 out=240 spans=8
        codex_cli_session AGENT OK inputs.prompt="do it" outputs.response=done
          llm_call_1 LLM OK in=9000 cached=4096 out=120
          tool_exec_command TOOL OK inputs.cmd=ls
          llm_call_2 LLM OK in=9300
          tool_exec_command TOOL ERROR exit_code=3 event=exception
          llm_call_3 LLM OK in=9500
          tool_apply_patch TOOL OK
          llm_call_4 LLM OK in=9700 outputs.response=done
        "#,
    );
    assert!(!home.database().exists(), "nothing was written beside it");
}
