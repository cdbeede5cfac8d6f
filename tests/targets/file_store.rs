//! Traces in a folder of files: read back by the oldest and the newest MLflow, and compared with the same in SQLite.

use crate::LAUNCHER;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::Redacted;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use mlflow_store::exporter::Exporter;
use mlflow_store::file_store::FileStoreExporter;
use mlflow_store::ids::TraceId;
use mlflow_store::sqlite::SqliteExporter;
use mlflow_store::target::Experiment;
use mlflow_store::target::uri::file_uri;
use mlflow_store::trace::Trace;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::real::MLFLOW_OLDEST;
use support::{
    Codex, End, Home, ModelServer, Oracle, Outcome, Reply, Script, Verb, assert_facts, codex, run,
};

const BUSY: Duration = Duration::from_secs(10);

struct Job {
    home: Home,
    server: ModelServer,
    thread: String,
    first: Outcome,
}

impl Job {
    /// `codex-traced exec` with a folder of files as its target.
    fn done(codex: &Codex) -> Job {
        let script = Script::new()
            .reply(
                Reply::new()
                    .reasoning("**Plan** try")
                    .call("exec_command", json!({"cmd": "echo no >&2; exit 3"}))
                    .usage(900, 400, 12, 6),
            )
            .reply(Reply::new().answer("done\n\n\u{7f}\u{2028}😀 \"it's\"").usage(950, 900, 5, 0));
        let server = ModelServer::start(script);
        let home = Home::new(&server.url());
        let first = run(traced(&home, codex).args(["exec", "--json", "do it"])).ended(End::Code(0));
        let thread = first.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
        Job { home, server, thread, first }
    }

    fn resume(&self, codex: &Codex) -> Outcome {
        self.server.play(Script::new().reply(Reply::new().answer("more").usage(1000, 950, 7, 0)));
        run(traced(&self.home, codex).args(["exec", "resume", &self.thread, "and more"])).ended(End::Code(0))
    }

    /// Straight from the session file.
    fn trace(&self) -> Trace {
        let rollout = self.home.rollout();
        let session = session::read(&rollout, Writer::Gone).expect("read the rollout");
        let surroundings =
            TraceSource { rollout: &rollout, user: Some("tester"), prices: PriceBook::built_in() };
        let trace = build_family(&session.into(), &ThreadRecord::default(), surroundings)
            .expect("a session with a turn");
        Redacted::with_built_in_rules(trace).into()
    }
}

/// Where the traces of a job go.
fn store_of(home: &Home) -> PathBuf {
    home.root().join("ml runs")
}

fn traced(home: &Home, codex: &Codex) -> Command {
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.env("MLFLOW_TRACKING_URI", file_uri(&store_of(home))).env("CODEX_TRACED_NOTICE", "always");
    command
}

fn export(exporter: &mut dyn Exporter, trace: &Trace) -> String {
    exporter.export(trace, None).expect("export").experiment_id
}

fn to_files(root: &Path, experiment: &str, trace: &Trace) -> String {
    let experiment = Experiment::Name(experiment.to_owned());
    export(&mut FileStoreExporter::open(root, experiment, BUSY).expect("open a store"), trace)
}

#[test]
fn a_run_is_one_trace_in_a_folder_of_files_and_a_resumed_session_updates_it() {
    let (Some(codex), Some(oldest), Some(newest)) = (codex(), Oracle::of(MLFLOW_OLDEST), Oracle::newest())
    else {
        return;
    };
    let job = Job::done(&codex);
    let uri = file_uri(&store_of(&job.home));
    for oracle in [&oldest, &newest] {
        assert_facts(
            &oracle.trace(uri.as_str()),
            r#"
            trace OK name=codex_cli_session experiment=codex-sessions request="do it" in=1850 out=17 source=codex_cli spans=4
            codex_cli_session AGENT OK inputs.prompt="do it" outputs.status=completed codex.attribution=held
              llm_call_1 LLM OK in=900 cached=400 out=12 mlflow.llm.model=gpt-5.5
              tool_exec_command TOOL ERROR inputs.cmd="echo no >&2; exit 3" exit_code=3 event=exception
              llm_call_2 LLM OK in=950 cached=900 out=5
            "#,
        );
    }
    let id = newest.trace(uri.as_str()).trace_id;
    let added = [
        Verb::Feedback { trace: &id, name: "good", value: json!(true) },
        Verb::Expectation { trace: &id, name: "answer", value: json!("done") },
        Verb::Tag { trace: &id, key: "team", value: "red" },
        Verb::Tag { trace: &id, key: "codex.cli_version", value: "mine" },
        Verb::Rename { trace: &id, name: "The job" },
    ];
    newest.traces_after(uri.as_str(), &added);
    job.resume(&codex);

    for oracle in [&oldest, &newest] {
        let after = oracle.trace(uri.as_str());
        assert_eq!(after.trace_id, id);
        let mut names: Vec<&str> =
            after.assessments.iter().filter_map(|added| added["assessment_name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["answer", "good"]);
        assert_facts(
            &after,
            "trace OK name=\"The job\" tags.team=red tags.codex.cli_version=mine in=2850 out=24 response=more spans=7",
        );
    }
    let shown = run(traced(&job.home, &codex).args(["mlflow", "show"])).ended(End::Code(0));
    assert!(shown.stdout.contains("turn_2") && shown.stdout.contains(&uri), "{}", shown.stdout);
}

#[test]
fn what_mlflow_needs_to_open_a_folder_of_files_is_printed_once() {
    let Some(codex) = codex() else { return };
    let job = Job::done(&codex);
    let hint = "MLFLOW_ALLOW_FILE_STORE=true";
    assert_eq!(job.first.stderr.matches(hint).count(), 1, "{}", job.first.stderr);
    let again = job.resume(&codex);
    assert!(!again.stderr.contains(hint), "{}", again.stderr);
}

/// The places where two JSON values differ, with what is there.
fn differences(at: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let of =
                    |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(json!("nothing"));
                differences(&format!("{at}/{key}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{at}/{index}"), one, other, found);
            }
        }
        // A newer MLflow keeps totals in columns and rebuilds their JSON, with other spaces.
        (Value::String(one), Value::String(other)) if one != other => {
            let object = |text: &str| serde_json::from_str(text).ok().filter(Value::is_object);
            match (object(one), object(other)) {
                (Some(one), Some(other)) => differences(at, &one, &other, found),
                _ => found.push(format!("{at}: {one:?} | {other:?}")),
            }
        }
        _ if one != other => found.push(format!("{at}: {one} | {other}")),
        _ => {}
    }
}

#[test]
fn files_hold_of_a_trace_what_a_database_holds() {
    let (Some(codex), Some(oldest), Some(newest)) = (codex(), Oracle::of(MLFLOW_OLDEST), Oracle::newest())
    else {
        return;
    };
    let job = Job::done(&codex);
    job.resume(&codex);
    let trace = job.trace();
    let folder = tempfile::tempdir().expect("make a folder");
    let root = folder.path().join("runs");
    let experiment = to_files(&root, "compared", &trace);
    assert_eq!(to_files(&root, "compared", &trace), experiment, "sent twice");
    let artifacts = file_uri(&root.join(&experiment).join(format!("traces/{}/artifacts", trace.id)));
    let beside = file_uri(folder.path());

    for (oracle, name) in [(&oldest, "oldest.db"), (&newest, "newest.db")] {
        let database = folder.path().join(name);
        let place = Experiment::Name("compared".to_owned());
        export(&mut SqliteExporter::open(&database, place, BUSY).expect("open a database"), &trace);
        let in_files = oracle.ask(file_uri(&root).as_str(), &[Verb::Traces]);
        let in_database = oracle.ask(&database, &[Verb::Traces]);
        let mut found = Vec::new();
        differences("", &in_files[0], &in_database[0], &mut found);
        let expected = [
            // Each store counts its experiments its own way.
            format!("/0/experiment_id: \"{experiment}\" | \"1\""),
            // Marks totals as final in a database; a file store adds up no totals.
            r#"/0/metadata/mlflow.trace.infoFinalized: "nothing" | "true""#.to_owned(),
            // Where the spans are is what makes them two stores.
            format!(
                "/0/tags/mlflow.artifactLocation: \"{artifacts}\" | \"{beside}/artifacts/1/traces/{}/artifacts\"",
                trace.id
            ),
            r#"/0/tags/mlflow.trace.spansLocation: "nothing" | "TRACKING_STORE""#.to_owned(),
        ];
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn mlflow_and_the_launcher_share_a_store_and_its_experiments() {
    let (Some(codex), Some(oldest), Some(newest)) = (codex(), Oracle::of(MLFLOW_OLDEST), Oracle::newest())
    else {
        return;
    };
    let trace = Job::done(&codex).trace();
    for oracle in [&oldest, &newest] {
        for ours_first in [true, false] {
            let folder = tempfile::tempdir().expect("make a folder");
            let root = folder.path().join("runs");
            let uri = file_uri(&root);
            let ours = ours_first.then(|| to_files(&root, "samples", &trace));
            // MLflow looks for an experiment of this name, and makes it only when there is none.
            oracle.ask(uri.as_str(), &[Verb::Sample]);
            let ours = ours.unwrap_or_else(|| to_files(&root, "samples", &trace));
            let traces = oracle.traces(uri.as_str());
            assert_eq!(traces.len(), 2);
            assert!(traces.iter().all(|trace| trace.experiment_id == ours), "{traces:#?}");
        }
    }
}

#[test]
fn mlflow_reads_odd_names_and_values_and_passes_over_what_a_crash_left() {
    let (Some(codex), Some(oldest), Some(newest)) = (codex(), Oracle::of(MLFLOW_OLDEST), Oracle::newest())
    else {
        return;
    };
    let mut trace = Job::done(&codex).trace();
    let folder = tempfile::tempdir().expect("make a folder");
    let root = folder.path().join("é 100% #?");
    let preview = "\u{7f}\u{85}\u{2028}\u{feff}\u{ffff} \"'\\\t😀\r\n: #";
    trace.request_preview = Some(preview.to_owned());
    for (key, value) in
        [("empty", ""), ("lines", "a\r\nb\n\n"), ("team/red", "x"), ("../up", "y"), ("é%", "z")]
    {
        trace.tags.insert(key.to_owned(), value.to_owned());
    }
    let name = "it's: \"so\" #1";
    let experiment = to_files(&root, name, &trace);

    // As a crash before its end leaves a second trace.
    let mut lost = trace.clone();
    lost.id = TraceId([9; 16]);
    to_files(&root, name, &lost);
    let half = root.join(&experiment).join(format!("traces/{}", lost.id));
    fs::rename(half.join("trace_info.yaml"), half.join(".tmp-123")).expect("leave it half written");

    for oracle in [&oldest, &newest] {
        let read = oracle.trace(file_uri(&root).as_str());
        assert_eq!(read.request_preview.as_deref(), Some(preview));
        assert_eq!((read.experiment.as_deref(), read.spans.len()), (Some(name), trace.spans.len()));
        let tags = ["empty", "lines", "team/red", "_../up", "_e9_25"].map(|key| read.tags[key].clone());
        assert_eq!(tags, ["", "a\r\nb\n\n", "x", "y", "z"]);
    }
    assert_eq!(to_files(&root, name, &lost), experiment);
    assert_eq!(newest.traces(file_uri(&root).as_str()).len(), 2, "the next delivery completes it");
}
