//! Targets that lost what they took: asked before a session is called unchanged, and sent it again.

use super::{NO_MODEL, original, originals, ours, spooled, stored, summary};
use crate::LAUNCHER;
use codex_traced::trace::ids::{trace_of_thread, trace_of_turn};
use mlflow_store::ids::TraceId;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::databricks::{Rules, TOKEN};
use support::many::{copy, many};
use support::mlflow_server::post;
use support::real::MLFLOW_VERSION;
use support::run::LIMIT;
use support::{
    Databricks, End, Front, Home, MlflowServer, ModelServer, Oracle, Outcome, Reply, Script, codex, run,
    start,
};

/// `mlflow gc` imports all of MLflow.
const GC: Duration = Duration::from_secs(240);

/// Where sessions go, and how.
struct Place<'a> {
    home: &'a Home,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Place<'a> {
    fn at(home: &'a Home, uri: String) -> Place<'a> {
        let on = ("MLFLOW_CODEX_TRACING_ENABLED", "true".to_owned());
        let experiment = ("MLFLOW_EXPERIMENT_NAME", "old sessions".to_owned());
        Place { home, variables: vec![("MLFLOW_TRACKING_URI", uri), on, experiment] }
    }

    fn say(&self, words: &[&str]) -> Outcome {
        let mut command = ours(self.home, words);
        command.env("CODEX_TRACED_NOTICE", "never").env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0");
        run(command.envs(self.variables.iter().map(|(name, value)| (name, value))))
    }

    #[track_caller]
    fn imports(&self, words: &[&str], expected: &str) -> Outcome {
        let outcome = self.say(&[&["import"], words].concat());
        assert_eq!((summary(&outcome), outcome.end), (expected, End::Code(0)), "{outcome:?}");
        outcome
    }

    /// What `doctor` finds of the traces that were sent, once the server answers within its time limit.
    #[track_caller]
    fn finding(&self) -> (String, String) {
        let until = Instant::now() + LIMIT;
        loop {
            let finding = self.finding_now();
            let is_silent =
                finding.1.starts_with("it does not say whether") && finding.1.contains("no answer from");
            if !is_silent || Instant::now() > until {
                return finding;
            }
        }
    }

    #[track_caller]
    fn finding_now(&self) -> (String, String) {
        let said = self.say(&["doctor", "--json"]).stdout;
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let findings = report["findings"].as_array().expect("a list");
        let of_traces = findings.iter().find(|finding| finding["check"] == "traces");
        let of_traces = of_traces.unwrap_or_else(|| panic!("nothing of traces: {said}"));
        let text = |key: &str| of_traces[key].as_str().unwrap_or_default().to_owned();
        (text("level"), text("found"))
    }

    #[track_caller]
    fn doctor_says_lost(&self, lost: usize, of: usize) {
        let (level, found) = self.finding();
        let words = format!("the last {of} traces that it took: {lost} not there any more (tr-");
        assert_eq!((level.as_str(), found.starts_with(&words)), ("warning", true), "{found}");
    }
}

fn ids(traces: &[support::Trace]) -> BTreeSet<String> {
    traces.iter().map(|trace| trace.trace_id.clone()).collect()
}

#[test]
fn what_a_server_lost_is_sent_again_and_nothing_else_is() {
    let (Some(server), Some(oracle)) = (MlflowServer::of(MLFLOW_VERSION), Oracle::newest()) else { return };
    let front = Front::before(server.port());
    let home = Home::new(NO_MODEL);
    let copies = many(&originals(), &home.sessions(), 24);
    let place = Place::at(&home, front.uri());
    let all: Vec<String> = copies.iter().map(|copied| trace_of_thread(&copied.thread).to_string()).collect();
    let six = home.root().join("six");
    let first = many(&originals(), &six, 6);
    let six = six.to_str().expect("UTF-8");
    place.imports(&[six], "6 new, 0 updated, 0 unchanged, 0 failed");
    let experiment = oracle.traces(&server)[0].experiment_id.clone();
    // A backup of a server that no client uses.
    let backup = home.root().join("backup.db");
    fs::copy(server.database(), &backup).expect("make a backup");

    place.imports(&["--all"], "18 new, 0 updated, 6 unchanged, 0 failed");
    front.forget();
    place.imports(&["--all"], "0 new, 0 updated, 24 unchanged, 0 failed");
    assert_eq!(front.asked(), ["POST /api/3.0/mlflow/traces/search"], "no upload, and no look at each");
    assert_eq!(place.finding().1, "the last 24 traces that it took: all there");

    let deleted = json!({"experiment_id": experiment, "request_ids": &all[..2]}).to_string();
    let answer = post(server.port(), "/api/2.0/mlflow/traces/delete-traces", &[], &deleted);
    assert!(answer.contains("\"traces_deleted\": 2") || answer.contains("\"traces_deleted\":2"), "{answer}");
    let dry = place.imports(&["--all", "--dry-run"], "would be 2 new, 0 updated, 22 unchanged, 0 failed");
    assert!(dry.stdout.contains("of the new, 2 had been sent before"), "{}", dry.stdout);
    place.imports(&["--all"], "2 new, 0 updated, 22 unchanged, 0 failed");

    fs::copy(&backup, server.database()).expect("bring the backup back");
    place.doctor_says_lost(18, 24);
    place.imports(&["--all"], "18 new, 0 updated, 6 unchanged, 0 failed");
    let restored = oracle.traces(&server);
    assert_eq!(ids(&restored), all.iter().cloned().collect(), "each once");
    assert_eq!(restored.len(), 24);
    let is_whole = |trace: &support::Trace| !trace.spans.is_empty() && trace.experiment_id == experiment;
    assert!(restored.iter().all(is_whole), "with its spans, where it was");

    // The experiment's id is gone, or is another experiment's: the settings decide where traces go.
    let gone = json!({"experiment_id": experiment}).to_string();
    post(server.port(), "/api/2.0/mlflow/experiments/delete", &[], &gone);
    let uri = format!("sqlite:///{}", server.database().display());
    let words = ["-m", "mlflow", "gc", "--backend-store-uri", &uri, "--tracking-uri", &server.uri()];
    start(oracle.python().args(words)).finish(GC).ended(End::Code(0));
    place.doctor_says_lost(24, 24);
    place.imports(&[six], "6 new, 0 updated, 0 unchanged, 0 failed");
    let made_anew = oracle.traces(&server);
    assert_eq!(made_anew.len(), first.len());
    for trace in made_anew {
        assert_eq!(trace.experiment.as_deref(), Some("old sessions"), "{}", trace.trace_id);
        assert!(!trace.spans.is_empty(), "{}", trace.trace_id);
    }
}

#[test]
fn what_a_local_store_lost_is_sent_again_and_doctor_reports_it_before() {
    let home = Home::new(NO_MODEL);
    let copies = many(&originals(), &home.sessions(), 6);
    let database = home.root().join("x.db");
    let place = Place::at(&home, format!("sqlite:///{}", database.display()));
    let six = "6 new, 0 updated, 0 unchanged, 0 failed";
    place.imports(&["--all"], six);
    fs::remove_file(&database).expect("remove the database");
    place.doctor_says_lost(6, 6);
    place.imports(&["--all"], six);
    place.imports(&["--all"], "0 new, 0 updated, 6 unchanged, 0 failed");
    let connection = Connection::open(&database).expect("open the database");
    let spans = format!("trace_id = '{}'", trace_of_thread(&copies[0].thread));
    connection.execute(&format!("DELETE FROM spans WHERE {spans}"), []).expect("delete its spans");
    place.doctor_says_lost(1, 6);
    place.imports(&["--all"], "1 new, 0 updated, 5 unchanged, 0 failed");
    let count = format!("SELECT count(*) FROM spans WHERE {spans}");
    let count: i64 = connection.query_row(&count, [], |row| row.get(0)).expect("count");
    assert!(count > 0);
    drop(connection);

    // A file that holds less than what was lost is what there is.
    let path = &copies[5].path;
    let text = fs::read_to_string(path).expect("the copy");
    let lines = text.lines().count() - 1;
    fs::write(path, text.lines().take(lines).flat_map(|line| [line, "\n"]).collect::<String>()).expect("cut");
    fs::remove_file(&database).expect("remove the database");
    place.imports(&["--all"], six);
    assert_eq!(spooled(&home), 0);
    place.imports(&["--all", "--again"], "0 new, 6 updated, 0 unchanged, 0 failed");

    let home = Home::new(NO_MODEL);
    let copies = many(&originals(), &home.sessions(), 6);
    let root = home.root().join("mlruns");
    let place = Place::at(&home, format!("file://{}", root.display()));
    place.imports(&["--all"], six);
    place.imports(&["--all"], "0 new, 0 updated, 6 unchanged, 0 failed");
    let folder_of = |trace: TraceId| {
        let experiments = fs::read_dir(&root).expect("the store").flatten();
        let mut traces = experiments.map(|entry| entry.path().join("traces").join(trace.to_string()));
        traces.find(|folder| folder.is_dir()).expect("the trace's folder")
    };
    let one = folder_of(trace_of_thread(&copies[0].thread));
    fs::remove_dir_all(&one).expect("remove a trace");
    place.doctor_says_lost(1, 6);
    place.imports(&["--all"], "1 new, 0 updated, 5 unchanged, 0 failed");
    let experiment = one.parent().and_then(Path::parent).expect("its experiment");
    fs::remove_dir_all(experiment).expect("remove the experiment");
    place.imports(&["--all"], six);
    place.imports(&["--all"], "0 new, 0 updated, 6 unchanged, 0 failed");
}

#[test]
fn what_a_workspace_of_databricks_lost_is_sent_again() {
    let databricks = Databricks::start(Rules::default());
    let path = "/Users/ada@example.com/codex";
    databricks.make_experiment(path, &[]);
    let home = Home::new(NO_MODEL);
    let copies = many(&originals(), &home.sessions(), 3);
    let mut place = Place::at(&home, "databricks".into());
    place.variables.extend([
        ("MLFLOW_EXPERIMENT_NAME", path.to_owned()),
        ("DATABRICKS_HOST", databricks.host().to_owned()),
        ("DATABRICKS_TOKEN", TOKEN.to_owned()),
    ]);
    place.imports(&["--all"], "3 new, 0 updated, 0 unchanged, 0 failed");
    place.imports(&["--all"], "0 new, 0 updated, 3 unchanged, 0 failed");
    let status: Value = serde_json::from_str(&place.say(&["status", "--json"]).stdout).expect("JSON");
    let link = status["sent"][0]["link"].as_str().expect("a link").to_owned();
    let shown = format!("{}/ml/experiments/", databricks.host());
    assert!(link.starts_with(&shown) && link.contains("?selectedEvaluationId=tr-"), "{link}");

    databricks.lose(&trace_of_thread(&copies[0].thread).to_string());
    place.doctor_says_lost(1, 3);
    place.imports(&["--all"], "1 new, 0 updated, 2 unchanged, 0 failed");
    assert_eq!(databricks.traces().len(), 3);
}

#[test]
fn of_a_target_that_does_not_answer_nothing_is_called_unchanged() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let away = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let home = Home::new(NO_MODEL);
    let switch = home.root().join("is away");
    let is_away = switch.clone();
    let front = Front::answering(server.port(), move |_| is_away.exists().then(|| away.to_owned()));
    let place = Place::at(&home, front.uri());
    let copied = copy(&original("exec-basic"), &home.sessions(), 0x2001);
    place.imports(&["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");
    copy(&original("codemode"), &home.sessions(), 0x2002);
    fs::write(&switch, "").expect("take the server away");
    let outcome = place.say(&["import", &copied.thread]);
    let expected = "0 new, 0 updated, 0 unchanged, 0 failed, 1 unknown";
    assert_eq!((summary(&outcome), outcome.end), (expected, End::Code(1)), "{outcome:?}");
    for told in
        ["unknown   tr-", "sent before, but their target cannot be asked", "503", "hint: import again when"]
    {
        assert!(outcome.stdout.contains(told), "{told}: {}", outcome.stdout);
    }
    assert_eq!(spooled(&home), 0, "what may be there does not fill the spool");
    let outcome = place.say(&["import", "--all", "--again"]);
    assert_eq!(summary(&outcome), "0 new, 0 updated, 0 unchanged, 0 failed, 2 waiting", "{outcome:?}");
    fs::remove_file(&switch).expect("bring the server back");
    place.say(&["sync"]).ended(End::Code(0));
    place.imports(&["--all"], "0 new, 0 updated, 2 unchanged, 0 failed");
}

#[test]
fn a_launch_brings_back_the_turns_that_its_target_lost() {
    let Some(codex) = codex() else { return };
    let script = ["one", "two", "three"].map(|answer| Reply::new().answer(answer));
    let server = ModelServer::start(script.into_iter().fold(Script::new(), Script::reply));
    let home = Home::new(&server.url());
    let launch = |words: &[&str]| {
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.args(["exec", "--json"]).args(words).env("CODEX_TRACED_GRANULARITY", "turn");
        run(&mut command).ended(End::Code(0))
    };
    let first = launch(&["one"]);
    let thread = first.json_lines()[0]["thread_id"].as_str().expect("an id").to_owned();
    launch(&["resume", &thread, "two"]);
    fs::remove_file(home.database()).expect("lose all traces");
    launch(&["resume", &thread, "three"]);
    assert!(stored(&home, &thread).is_none(), "each turn is a trace");
    for turn in 1..=3 {
        let read = mlflow_store::sqlite::read(&home.database(), trace_of_turn(&thread, turn));
        assert!(read.expect("readable").is_some(), "turn {turn}");
    }
}
