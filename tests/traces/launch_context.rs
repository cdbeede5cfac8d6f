//! What a launch takes over from the program that started it, as MLflow's client reads it.

use crate::LAUNCHER;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use support::scenarios::{self, CODE_MODE};
use support::{End, Home, ModelServer, Oracle, Reply, Script, codex, run};

/// MLflow's own search; prints the ids that it finds. Arguments: store, filter.
const SEARCH: &str = r#"
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiments = [experiment.experiment_id for experiment in client.search_experiments()]
for trace in client.search_traces(locations=experiments, filter_string=sys.argv[2]):
    print(trace.info.trace_id)
"#;

fn with<'c>(command: &'c mut Command, variables: &[(&str, &str)]) -> &'c mut Command {
    command.envs(variables.iter().copied())
}

#[test]
fn mlflow_finds_a_trace_by_its_tags_its_job_and_its_caller() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    std::fs::write(home.codex().join("mlflow_config.json"), r#"{"tags": {"team": "of-file", "floor": 3}}"#)
        .expect("write the configuration");
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let variables = [
        ("TRACEPARENT", format!("00-{caller}-00f067aa0ba902b7-01")),
        ("CODEX_TRACED_TAGS", "team=payments,key=AKIAIOSFODNN7EXAMPLF".to_owned()),
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_REF_NAME", "topic".to_owned()),
        ("GITHUB_SHA", "c0ffee".to_owned()),
    ];
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut command = home.traced(LAUNCHER, &codex.native);
    run(with(&mut command, &variables).args(["exec", "hi"])).ended(End::Code(0));
    let trace = oracle.trace(&home.database());
    let tag = |key: &str| trace.tags.get(key).and_then(|value| value.as_str());
    assert_eq!((tag("team"), tag("floor")), (Some("payments"), Some("3")));
    assert_eq!((tag("vcs.ref.head.name"), tag("vcs.ref.head.revision")), (Some("topic"), Some("c0ffee")));
    assert_eq!(tag("codex.caller.trace_id"), Some(caller));
    assert!(tag("key").is_some_and(|key| key.starts_with("[redacted:")), "{:?}", tag("key"));
    let uri = format!("sqlite:///{}", home.database().display());
    for filter in ["tags.team = 'payments'", &format!("tags.`codex.caller.trace_id` = '{caller}'")] {
        let found = run(oracle.python().args(["-c", SEARCH, &uri, filter])).ended(End::Code(0)).stdout;
        assert_eq!(found.trim(), trace.trace_id, "{filter}");
    }
    // MLflow's span links its caller's span.
    let query = "SELECT content FROM spans WHERE parent_span_id IS NULL";
    let connection = rusqlite::Connection::open(home.database()).expect("open");
    let content: String = connection.query_row(query, [], |row| row.get(0)).expect("a root");
    let root: serde_json::Value = serde_json::from_str(&content).expect("JSON");
    let link = json!({"trace_id": format!("tr-{caller}"), "span_id": "00f067aa0ba902b7", "attributes": null});
    assert_eq!(root["links"], json!([link]));

    // A trace of metadata only has the user's tags, and neither names nor addresses of the job.
    let home = Home::new(&server.url());
    server.play(Script::new());
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.env("CODEX_TRACED_CONTENT", "metadata");
    run(with(&mut command, &variables).args(["exec", "hi"])).ended(End::Code(0));
    let trace = oracle.trace(&home.database());
    let tag = |key: &str| trace.tags.get(key).and_then(|value| value.as_str());
    assert_eq!((tag("team"), tag("vcs.ref.head.name")), (Some("payments"), None));
    assert!(tag("key").is_some_and(|key| key.starts_with("[redacted:")), "{:?}", tag("key"));
}

#[test]
fn sampling_leaves_out_a_session_and_status_counts_it() {
    let Some(codex) = codex() else { return };
    let script = || Script::new().reply(Reply::new().answer("done").usage(10, 0, 1, 0));
    let server = ModelServer::start(script());
    let home = Home::new(&server.url());
    let launch = |ratio: &str, words: &[&str]| {
        server.play(script());
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.env("MLFLOW_TRACE_SAMPLING_RATIO", ratio);
        let outcome = run(command.arg("exec").args(words)).ended(End::Code(0));
        outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned()
    };
    let thread = launch("0", &["--json", "hi"]);
    assert!(!home.database().exists() && home.spooled().is_empty() && home.launches().is_empty());
    let status = |words: &[&str]| {
        let mut command = home.traced(LAUNCHER, &codex.native);
        run(command.args(["mlflow", "status"]).args(words)).ended(End::Code(0)).stdout
    };
    assert!(status(&[]).contains("1 session, by MLFLOW_TRACE_SAMPLING_RATIO"), "{}", status(&[]));
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"])).expect("JSON");
    assert_eq!(json["left_out"], 1);
    // What is traced once is traced to its end, whatever the ratio is then.
    launch("1", &["resume", "--json", &thread, "again"]);
    launch("0", &["resume", "--json", &thread, "and again"]);
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"])).expect("JSON");
    assert_eq!(json["left_out"], 0);
    let connection = rusqlite::Connection::open(home.database()).expect("open");
    let count = "SELECT count(*) FROM spans WHERE name LIKE 'llm_call_%'";
    let responses: u32 = connection.query_row(count, [], |row| row.get(0)).expect("a count");
    assert_eq!(responses, 3);
}

/// Each launch starts an agent that starts another. Their ids are not the session's.
#[test]
fn sampling_takes_a_session_with_its_agents_or_none_of_it() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    home.face(CODE_MODE, &server.url());
    let (mut taken, mut left_out) = (BTreeSet::new(), 0);
    // Both outcomes come within a few launches; 40 without one of them have a chance of 1 in 10^12.
    for number in 1..=40 {
        server.play(scenarios::nested_agents());
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.env("MLFLOW_TRACE_SAMPLING_RATIO", "0.5").env("CODEX_TRACED_WAIT", "60");
        run(command.args(["exec", "do it with agents"])).ended(End::Code(0));
        server.assert_script_used_up_exactly();
        let traces = spans_by_trace(&home);
        assert!(traces.values().all(|spans| *spans == 17), "a part of a family: {traces:?}");
        left_out += usize::from(traces.len() == taken.len());
        taken = traces.into_keys().collect();
        if number >= 6 && left_out > 0 && !taken.is_empty() {
            break;
        }
    }
    assert!(left_out > 0 && !taken.is_empty(), "{left_out} left out, {} taken", taken.len());
    let mut status = home.traced(LAUNCHER, &codex.native);
    let json = run(status.args(["mlflow", "status", "--json"])).ended(End::Code(0)).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["left_out"], left_out);
}

/// Empty while there is no database.
fn spans_by_trace(home: &Home) -> BTreeMap<String, u32> {
    if !home.database().exists() {
        return BTreeMap::new();
    }
    let connection = rusqlite::Connection::open(home.database()).expect("open");
    let mut statement =
        connection.prepare("SELECT trace_id, count(*) FROM spans GROUP BY trace_id").expect("a query");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("readable rows")
}
