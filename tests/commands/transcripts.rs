//! What each command prints in each situation, as snapshots to review.

use crate::LAUNCHER;
use crate::situation::{NOBODY, SECRET, Situation};
use crate::stand_in::{Manner, server};
use serde_json::json;
use support::databricks::{Rules, TOKEN};
use support::{Databricks, End, Home, ModelServer, Reply, Script, codex, run};

/// The commands one after the other, in `tests/snapshots/commands/<name>.snap`.
#[track_caller]
pub(crate) fn review(name: &str, situation: &Situation, commands: &[&[&str]]) {
    let said: Vec<String> = commands.iter().map(|words| situation.transcript(words)).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, said.join("\n")));
}

const STATUS: &[&str] = &["status"];
const DOCTOR: &[&str] = &["doctor"];

#[test]
fn fresh() {
    review(
        "fresh",
        &Situation::fresh(),
        &[STATUS, DOCTOR, &["show"], &["sync"], &["disable"], &["enable"], STATUS],
    );
}

#[test]
fn enabled() {
    let situation = Situation::fresh();
    let commands: [&[&str]; 3] = [&["enable", "-u", "sqlite:///x.db", "-n", "parsers"], STATUS, DOCTOR];
    review("enabled", &situation, &commands);
}

#[test]
fn disabled() {
    let situation = Situation::fresh();
    review("disabled", &situation, &[&["enable"], &["disable"], STATUS, DOCTOR, &["enable"]]);
}

#[test]
fn a_server() {
    let url = server(Manner::Well);
    let commands: [&[&str]; 4] = [&["enable", "-u", &url], STATUS, DOCTOR, &["enable", "-e", "7"]];
    review("a server", &Situation::fresh(), &commands);
}

#[test]
fn server_down() {
    let situation = Situation::fresh();
    let enable: &[&str] = &["enable", "-u", NOBODY];
    let anyway: &[&str] = &["enable", "-u", NOBODY, "--no-check"];
    review("server down", &situation, &[enable, anyway, STATUS, DOCTOR]);
}

#[test]
fn wrong_credentials() {
    let url = server(Manner::Unauthorized);
    let situation =
        Situation::fresh().with("MLFLOW_TRACKING_USERNAME", "ada").with("MLFLOW_TRACKING_PASSWORD", SECRET);
    let with_user = url.replace("http://", &format!("http://ada:{SECRET}@"));
    assert_eq!(situation.say(&["enable", "-u", &with_user, "--no-check"]).end, End::Code(0));
    review("wrong credentials", &situation, &[STATUS, DOCTOR, &["enable"]]);
}

#[test]
fn a_databricks_workspace() {
    let databricks = Databricks::start(Rules::default());
    let id = databricks.make_experiment("/Users/ada@example.com/codex", &[]);
    let situation = Situation::fresh().with("DATABRICKS_HOST", databricks.host());
    let without = situation.transcript(&["enable", "-u", "databricks", "-e", &id]);
    let situation = situation.with("DATABRICKS_TOKEN", TOKEN);
    assert!(without.contains("no credentials for") && !without.contains("Tracing is on"), "{without}");
    let commands: [&[&str]; 4] = [
        &["enable", "-u", "databricks", "-e", &id],
        STATUS,
        DOCTOR,
        &["enable", "-u", "databricks", "-n", "/Users/ada@example.com/new"],
    ];
    review("databricks", &situation, &commands);
    assert_eq!(databricks.experiment("/Users/ada@example.com/new"), None, "a look made it");
}

#[test]
fn a_clock_that_is_wrong() {
    let url = server(Manner::Late);
    let situation = Situation::fresh();
    situation.say(&["enable", "-u", &url, "-n", "not there yet"]).ended(End::Code(0));
    let said = situation.transcript(DOCTOR);
    assert!(
        said.contains("warning  clock         the server's clock is <many> minutes behind yours"),
        "{said}"
    );
    assert!(said.contains("\"not there yet\" is not there yet: the first trace makes it"), "{said}");
}

#[test]
fn a_newer_codex_and_an_older_one() {
    let situation = Situation::fresh();
    situation.codex_of_version("0.200.0");
    review("newer codex", &situation, &[STATUS, DOCTOR]);
    situation.codex_of_version("0.20.0");
    review("older codex", &situation, &[DOCTOR]);
}

#[test]
fn no_codex_at_all() {
    let situation = Situation::fresh().with("CODEX_TRACED_CODEX_BIN", "/nowhere/codex");
    review("no codex", &situation, &[DOCTOR]);
}

#[test]
fn a_home_that_cannot_be_written() {
    let situation = Situation::fresh();
    let codex = situation.home.codex();
    let situation = situation.read_only(codex);
    review("read-only home", &situation, &[STATUS, DOCTOR, &["enable"], &["disable"]]);
}

#[test]
fn a_home_that_is_not_there() {
    let situation = Situation::fresh();
    let missing = situation.home.root().join("no-such-home").display().to_string();
    let situation = situation.with("CODEX_HOME", missing);
    review("missing home", &situation, &[STATUS, DOCTOR, &["enable"], &["disable"]]);
}

#[test]
fn waiting_traces() {
    let situation = Situation::fresh().with_waiting_traces();
    review("waiting traces", &situation, &[STATUS, DOCTOR, &["disable"]]);
}

#[test]
fn a_broken_configuration_file() {
    let situation = Situation::fresh();
    for text in ["{\"environment\": {", "[\"not ours\"]"] {
        situation.write_config(text);
        let kept: Vec<String> = [STATUS, DOCTOR, &["enable"]].map(|words| situation.transcript(words)).into();
        assert!(kept[2].contains("is kept as <root>/codex/mlflow_config.json.broken-<time>"), "{}", kept[2]);
        situation.config_json();
    }
    situation.write_config("{");
    review("broken configuration", &situation, &[STATUS, DOCTOR, &["disable"], STATUS]);
    let entries = std::fs::read_dir(situation.home.codex()).expect("the home");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.contains(".broken-")).count(), 3);
}

#[test]
fn an_environment_that_overrules_the_file() {
    let situation = Situation::fresh()
        .with("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/x.db")
        .with("MLFLOW_CODEX_TRACING_ENABLED", "true");
    review("environment", &situation, &[&["enable"], STATUS, &["disable"]]);
    let situation = Situation::fresh().with("CODEX_TRACED", "0");
    review("switched off here", &situation, &[&["enable"], STATUS, DOCTOR]);
}

#[test]
fn wrong_words() {
    let situation = Situation::fresh();
    let wrong: [&[&str]; 16] = [
        &[],
        &["statsu"],
        &["frobnicate"],
        &["enable", "-x"],
        &["enable", "-u"],
        &["enable", "-u", ""],
        &["enable", "-u", "ftp://host"],
        &["enable", "-u", "localhost:5000"],
        &["enable", "-u", "postgresql://ada:hush@host/db"],
        &["enable", "-u", "sqlite:///~/x.db"],
        &["enable", "-e", "codex-sessions"],
        &["enable", "-e", "1", "-n", "both"],
        &["enable", "-n", " "],
        &["enable", "-e", "7"],
        &["enable", "-s", "nowhere"],
        &["completions", "powershell"],
    ];
    review("wrong words", &situation, &wrong);
    assert!(!situation.config().exists(), "something was written");
}

#[test]
fn help() {
    let situation = Situation::fresh();
    let commands: [&[&str]; 5] = [
        &["--help"],
        &["enable", "--help"],
        &["disable", "--help"],
        &["doctor", "--help"],
        &["completions", "--help"],
    ];
    review("help", &situation, &commands);
}

#[test]
fn after_a_traced_run() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(
        Script::new()
            .reply(Reply::new().call("exec_command", json!({"cmd": "ls"})).usage(9000, 4096, 120, 64))
            .reply(Reply::new().answer("done").usage(9200, 9000, 5, 0)),
    );
    let situation = Situation::of(Home::new(&server.url()));
    let mut traced = situation.home.traced(LAUNCHER, &codex.native);
    run(traced.args(["exec", "do it"])).ended(End::Code(0));
    review("after a traced run", &situation, &[STATUS, DOCTOR]);
}
