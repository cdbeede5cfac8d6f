//! What strangers may write into a project, a session and a configuration, and its effects.

use crate::LAUNCHER;
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use support::{End, Home, ModelServer, Outcome, Reply, Script, codex, run};

/// A title, a cleared screen, a colour, a bell, a line that is written over, text that runs backwards.
pub(crate) const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{202e}evil\u{7f}";

fn ours(home: &Home, words: &[&str]) -> Command {
    let mut command = home.traced(LAUNCHER, Path::new("/nowhere"));
    command.arg("mlflow").args(words);
    command
}

#[track_caller]
pub(crate) fn assert_harmless(what: &str, said: &str) {
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!said.contains(is_obeyed), "{what}: {said:?}");
}

fn all_of(said: &Outcome) -> String {
    format!("{}{}", said.stdout, said.stderr)
}

/// A session in which every text is hostile.
fn session(home: &Home) -> String {
    let thread = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    let line = |kind: &str, payload| {
        json!({"timestamp": "2026-11-22T10:00:00.000Z", "type": kind, "payload": payload}).to_string()
    };
    let meta = json!({"id": thread, "timestamp": "2026-11-22T10:00:00.000Z", "cwd": format!("/x/{HOSTILE}"), "originator": HOSTILE,
        "cli_version": HOSTILE, "model_provider": HOSTILE, "git": {"branch": HOSTILE, "repository_url": HOSTILE}});
    let lines = [
        line("session_meta", meta),
        line("turn_context", json!({"model": HOSTILE, "cwd": HOSTILE})),
        line("event_msg", json!({"type": "task_started", "turn_id": "1"})),
        line("event_msg", json!({"type": "user_message", "message": HOSTILE})),
        line(
            "response_item",
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": HOSTILE}]}),
        ),
        line(
            "response_item",
            json!({"type": "function_call", "name": HOSTILE, "call_id": "c1", "arguments": json!({"cmd": HOSTILE}).to_string()}),
        ),
        line("response_item", json!({"type": "function_call_output", "call_id": "c1", "output": HOSTILE})),
        line(
            "response_item",
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": HOSTILE}]}),
        ),
        line("event_msg", json!({"type": "task_complete", "turn_id": "1", "last_agent_message": HOSTILE})),
        "{\"type\":".repeat(10_000),
        format!("{{\"type\":\"event_msg\",\"payload\":{}", "[".repeat(100_000)),
    ];
    let folder = home.sessions().join("2026/11/22");
    fs::create_dir_all(&folder).expect("a folder of sessions");
    fs::write(folder.join(format!("rollout-2026-11-22T10-00-00-{thread}.jsonl")), lines.join("\n"))
        .expect("a session");
    thread.to_owned()
}

#[test]
fn no_text_of_a_session_steers_the_terminal() {
    let home = Home::new("http://127.0.0.1:9");
    let thread = session(&home);
    run(&mut ours(&home, &["import", &thread])).ended(End::Code(0));
    for words in [
        &["show"][..],
        &["show", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["trace-latest"],
        &["import", "--all", "--dry-run"],
        &["sync", "--list"],
        &["forget", &thread],
    ] {
        let said = run(&mut ours(&home, words));
        assert_harmless(&words.join(" "), &all_of(&said));
        assert!(!said.stdout.is_empty(), "{words:?} said nothing: {said:?}");
    }
    let log = fs::read_to_string(home.state().join("codex_tracing.log")).unwrap_or_default();
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn no_text_of_a_configuration_or_a_variable_steers_the_terminal() {
    let home = Home::new("http://127.0.0.1:9");
    let config = json!({"environment": {"MLFLOW_TRACKING_URI": HOSTILE, "MLFLOW_EXPERIMENT_NAME": HOSTILE, "CODEX_TRACED_CONTENT": HOSTILE},
        "sessions_dir": HOSTILE, "redaction": {"rules": [{"name": "a", "pattern": format!("({HOSTILE}")}], HOSTILE: 1, "allow": [HOSTILE, "("]}});
    fs::write(home.codex().join("mlflow_config.json"), config.to_string()).expect("a configuration");
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["show"],
        &["show", HOSTILE],
        &["enable", "-u", HOSTILE],
        &["enable", "-s", HOSTILE],
        &["forget", HOSTILE],
        &["sync", "--drop", HOSTILE],
        &["import", HOSTILE],
    ] {
        assert_harmless(&words.join(" "), &all_of(&run(&mut ours(&home, words))));
    }
}

#[test]
fn a_projects_folder_sends_nothing_elsewhere_and_loosens_nothing() {
    let Some(codex) = codex() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("without waiting");
    let elsewhere = format!("http://{}", listener.local_addr().expect("an address"));
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    let folder = home.work().join(".codex");
    fs::create_dir_all(&folder).expect("a project's folder");
    let loose = json!({"environment": {"MLFLOW_TRACKING_URI": elsewhere, "MLFLOW_CODEX_TRACING_ENABLED": "true",
        "CODEX_TRACED_CONTENT": "full", "HTTPS_PROXY": elsewhere}, "redaction": {"allow": [".*"]}, "sessions_dir": "/"});
    fs::write(folder.join("mlflow_config.json"), loose.to_string()).expect("its file");
    let mut command = home.traced(LAUNCHER, &codex.native);
    run(command.env("CODEX_TRACED_CONTENT", "metadata").args(["exec", "a prompt that stays here"]))
        .ended(End::Code(0));
    home.wait_until_delivered();
    let database = fs::read(home.database()).expect("the local database");
    assert!(!crate::bytes::holds(&database, "a prompt that stays here"));
    assert!(listener.accept().is_err(), "a client came to the project's server");

    // And it can switch off, for what is done below it.
    fs::write(
        folder.join("mlflow_config.json"),
        json!({"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "false"}}).to_string(),
    )
    .expect("its file");
    server.play(Script::new().reply(Reply::new().answer("done")));
    let before = home.claimed().len();
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "nothing of this"])).ended(End::Code(0));
    assert_eq!((home.claimed().len(), home.rollouts().len()), (before, 2));
    let file = home.rollouts().pop().expect("the second session");
    let said = run(&mut ours(&home, &["import", file.to_str().expect("UTF-8")]));
    assert!(said.stdout.contains("0 new"), "{said:?}");
}

#[test]
fn a_folder_speaks_for_the_sessions_that_went_on_in_it_too() {
    let home = Home::new("http://127.0.0.1:9");
    let quiet = home.root().join("quiet");
    fs::create_dir_all(quiet.join("deep")).expect("a folder");
    let link = home.root().join("link");
    std::os::unix::fs::symlink(quiet.join("deep"), &link).expect("a link");
    let says = |name: &str, value: &str| {
        fs::create_dir_all(quiet.join(".codex")).expect("a folder");
        let file = json!({"environment": {name: value}});
        fs::write(quiet.join(".codex/mlflow_config.json"), file.to_string()).expect("its file");
    };
    let began = home.work();
    let turns = |thread: &str, folders: &[&Path]| {
        let line = |kind: &str, payload| {
            json!({"timestamp": "2026-11-22T10:00:00.000Z", "type": kind, "payload": payload}).to_string()
        };
        let mut lines = vec![line("session_meta", json!({"id": thread, "cwd": began}))];
        for (number, folder) in folders.iter().enumerate() {
            let id = number.to_string();
            lines.push(line("event_msg", json!({"type": "task_started", "turn_id": id})));
            lines.push(line("turn_context", json!({"turn_id": id, "cwd": folder, "model": "m"})));
            lines.push(line("event_msg", json!({"type": "user_message", "message": "a quiet prompt"})));
            lines.push(line(
                "event_msg",
                json!({"type": "task_complete", "turn_id": id, "last_agent_message": "a"}),
            ));
        }
        let folder = home.sessions().join("2026/11/22");
        fs::create_dir_all(&folder).expect("a folder of sessions");
        let file = folder.join(format!("rollout-2026-11-22T10-00-00-{thread}.jsonl"));
        fs::write(&file, lines.join("\n")).expect("a session");
        run(&mut ours(&home, &["import", file.to_str().expect("UTF-8")])).ended(End::Code(0)).stdout
    };
    says("MLFLOW_CODEX_TRACING_ENABLED", "false");
    let said = turns("01a202b6-a73e-7ee3-8243-251c871b1d01", &[&began, &quiet.join("deep"), &began]);
    assert!(said.contains("0 new"), "{said}");
    says("CODEX_TRACED_CONTENT", "metadata");
    let said = turns("01a202b6-a73e-7ee3-8243-251c871b1d02", &[&link]);
    assert!(said.contains("1 new"), "{said}");
    let database = fs::read(home.database()).expect("the local database");
    assert!(!crate::bytes::holds(&database, "a quiet prompt"));
    let said = turns("01a202b6-a73e-7ee3-8243-251c871b1d03", &[&began]);
    assert!(said.contains("1 new"), "{said}");
    let database = fs::read(home.database()).expect("the local database");
    assert!(crate::bytes::holds(&database, "a quiet prompt"));
}

#[test]
fn what_a_store_has_of_a_session_goes_when_figures_are_asked_for() {
    let home = Home::new("http://127.0.0.1:9");
    let thread = session(&home);
    let told = || {
        run(&mut ours(&home, &["import", &thread])).ended(End::Code(0));
        let store = rusqlite::Connection::open(home.database()).expect("the local database");
        let query = "SELECT key || '=' || value FROM trace_request_metadata";
        let mut statement = store.prepare(query).expect("MLflow's table");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        let rows: Vec<String> = rows.map(|row| row.expect("text")).collect();
        rows.into_iter()
            .filter(|row| row.contains("evil") || row.contains("/x/") || row.contains("rollout-"))
            .count()
    };
    // The file, the folder, the branch, the remote, what went in and what came out; the user is the test's own.
    assert_eq!(told(), 6);
    let config = json!({"environment": {"CODEX_TRACED_CONTENT": "metadata"}});
    fs::write(home.codex().join("mlflow_config.json"), config.to_string()).expect("a configuration");
    assert_eq!(told(), 0);
}
