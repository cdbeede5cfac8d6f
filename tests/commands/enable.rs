//! What `enable` and `disable` write.

use crate::situation::Situation;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use support::{End, run};

fn environment(situation: &Situation) -> Value {
    situation.config_json()["environment"].clone()
}

#[test]
fn targets_are_written_as_mlflows_documents_type_them_and_relative_ones_become_absolute() {
    let work = |situation: &Situation, path: &str| situation.home.work().join(path).display().to_string();
    type Expected = fn(&dyn Fn(&str) -> String) -> String;
    let table: [(&str, Expected); 7] = [
        ("file://./mlruns", |at| format!("file://{}", at("mlruns"))),
        ("file:///abs", |_| "file:///abs".to_owned()),
        ("sqlite:///x.db", |at| format!("sqlite:///{}", at("x.db"))),
        ("sqlite:////abs/x.db", |_| "sqlite:////abs/x.db".to_owned()),
        ("./mlruns", |at| format!("file://{}", at("mlruns"))),
        ("databricks", |_| "databricks".to_owned()),
        ("http://localhost:5000", |_| "http://localhost:5000".to_owned()),
    ];
    for (typed, expected) in table {
        let situation = Situation::fresh();
        situation.say(&["enable", "-u", typed, "--no-check"]).ended(End::Code(0));
        let at = |path: &str| work(&situation, path);
        let expected = json!({"MLFLOW_CODEX_TRACING_ENABLED": "true", "MLFLOW_TRACKING_URI": expected(&at),
            "MLFLOW_EXPERIMENT_NAME": "codex-sessions"});
        assert_eq!(environment(&situation), expected, "{typed}");
    }
}

#[test]
fn the_file_is_the_one_of_the_document() {
    let situation = Situation::fresh();
    let sessions = situation.home.codex().join("sessions").display().to_string();
    situation.say(&["enable", "-u", "http://localhost:5000", "--no-check"]).ended(End::Code(0));
    let document = fs::read_to_string("docs/configuration.md").expect("the document");
    let example =
        document.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let written = fs::read_to_string(situation.config()).expect("a configuration file");
    assert_eq!(written, example.replace("/home/ada/.codex/sessions", &sessions));
    let mode = fs::metadata(situation.config()).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_experiment_is_by_id_or_by_name_and_an_id_stays_with_its_target() {
    let situation = Situation::fresh();
    let experiment = |words: &[&str]| {
        situation.say(&[&["enable", "--no-check"], words].concat()).ended(End::Code(0));
        let environment = environment(&situation);
        let of = |key: &str| environment[key].as_str().map(str::to_owned);
        (of("MLFLOW_EXPERIMENT_NAME"), of("MLFLOW_EXPERIMENT_ID"))
    };
    let name = |name: &str| (Some(name.to_owned()), None);
    let id = |id: &str| (None, Some(id.to_owned()));
    assert_eq!(experiment(&["-u", "databricks", "-e", "123456789"]), id("123456789"));
    assert_eq!(experiment(&[]), id("123456789"));
    assert_eq!(experiment(&["-n", "parsers"]), name("parsers"));
    assert_eq!(experiment(&["-u", "http://localhost:5000"]), name("parsers"));
    assert_eq!(experiment(&["-e", "5"]), id("5"));
    assert_eq!(experiment(&["-u", "databricks"]), name("codex-sessions"));
}

#[test]
fn the_granularity_can_be_chosen_and_stays_until_it_is_changed() {
    let situation = Situation::fresh();
    let chosen = |words: &[&str]| {
        let said = situation.say(&[&["enable", "--no-check"], words].concat()).ended(End::Code(0));
        let says = said.stdout.contains("one trace per turn");
        (environment(&situation)["CODEX_TRACED_GRANULARITY"].as_str().map(str::to_owned), says)
    };
    assert_eq!(chosen(&[]), (None, false));
    assert_eq!(chosen(&["--granularity", "turn"]), (Some("turn".to_owned()), true));
    assert_eq!(chosen(&["-n", "parsers"]), (Some("turn".to_owned()), true));
    let status = situation.say(&["status", "--json"]).ended(End::Code(0));
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!([&status["granularity"], &status["granularity_source"]], ["turn", "file"]);
    assert_eq!(chosen(&["--granularity", "session"]), (Some("session".to_owned()), false));
    situation.say(&["enable", "--granularity", "turns"]).ended(End::Code(2));
}

#[test]
fn a_workspace_of_the_environment_or_of_the_file_stays_with_the_target() {
    let server = "http://localhost:5000";
    let enabled = |situation: &Situation, words: &[&str]| {
        let said = situation.say(&[&["enable", "--no-check"], words].concat()).ended(End::Code(0));
        let workspace = environment(situation)["MLFLOW_WORKSPACE"].as_str().map(str::to_owned);
        assert_eq!(workspace.is_some(), said.stdout.contains("  workspace     team-a"), "{}", said.stdout);
        workspace
    };
    let (team, without) = (Some("team-a".to_owned()), Situation::fresh());
    assert_eq!(enabled(&without, &["-u", server]), None);
    let situation = Situation::of(without.home).with("MLFLOW_WORKSPACE", "team-a");
    assert_eq!(enabled(&situation, &[]), team);
    let situation = Situation::of(situation.home);
    assert_eq!(enabled(&situation, &["-n", "parsers"]), team);
    let status = situation.say(&["status", "--json"]).ended(End::Code(0)).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!([&status["tracking_uri"], &status["workspace"]], [server, "team-a"]);
    let status = situation.say(&["status"]).ended(End::Code(0)).stdout;
    assert!(status.contains("workspace      team-a"), "{status}");
    let doctor = run(&mut situation.command(&["doctor"])).stdout;
    assert!(doctor.contains("ok       workspace     team-a\n"), "{doctor}");
    let other = situation.with("MLFLOW_TRACKING_URI", "http://other").with("MLFLOW_WORKSPACE", "team-o");
    assert_eq!(enabled(&other, &[]), team, "the environment's is for its own server");
}

#[test]
fn what_others_wrote_into_the_file_stays_through_every_change() {
    let situation = Situation::fresh();
    situation.write_config(r#"{"mine": [1, {"a": null}], "environment": {"OTHER": "x"}, "more": true}"#);
    for words in [&["enable", "--no-check"][..], &["disable"], &["enable", "-n", "parsers", "--no-check"]] {
        situation.say(words).ended(End::Code(0));
        let config = situation.config_json();
        let stays = json!([config["mine"], config["environment"]["OTHER"], config["more"]]);
        assert_eq!(stays, json!([[1, {"a": null}], "x", true]));
    }
}

#[test]
fn a_linked_file_stays_a_link() {
    let situation = Situation::fresh();
    let dotfile = situation.home.user().join("codex-mlflow.json");
    fs::write(&dotfile, "{}").expect("write");
    symlink(&dotfile, situation.config()).expect("link");
    situation.say(&["enable"]).ended(End::Code(0));
    assert!(fs::symlink_metadata(situation.config()).expect("metadata").is_symlink());
    assert!(fs::read_to_string(dotfile).expect("read").contains("codex-sessions"));
}

#[test]
fn a_target_that_cannot_take_traces_changes_nothing() {
    let situation = Situation::fresh();
    situation.say(&["enable"]).ended(End::Code(0));
    let before = fs::read(situation.config()).expect("read");
    fs::write(situation.home.work().join("notes.db"), "a user's notes ".repeat(99)).expect("write");
    situation.say(&["enable", "-u", "sqlite:///notes.db"]).ended(End::Code(1));
    assert_eq!(fs::read(situation.config()).expect("read"), before);
}

#[test]
fn a_look_makes_nothing() {
    let situation = Situation::fresh();
    for words in [
        &["enable", "-u", "sqlite:///a/x.db"][..],
        &["status"],
        &["doctor"],
        &["enable", "-u", "./mlruns"],
        &["status"],
        &["doctor"],
    ] {
        situation.say(words);
    }
    assert!(!situation.home.work().join("a").exists() && !situation.home.work().join("mlruns").exists());
    assert!(!situation.home.state().exists(), "nothing of ours but the configuration");
}

#[test]
fn text_of_the_file_does_not_steer_the_terminal() {
    let situation = Situation::fresh();
    situation.write_config(
        "{\"environment\": {\"MLFLOW_TRACKING_URI\": \"sqlite:////x\\u001b[2J.db\", \"MLFLOW_EXPERIMENT_NAME\": \"a\\u001b]0;b\"}}",
    );
    for words in ["status", "doctor"] {
        let said = situation.say(&[words]).stdout;
        assert!(said.contains("a\\u{1b}]0;b") && said.contains("\\u{1b}[2J.db"), "{said}");
    }
}
