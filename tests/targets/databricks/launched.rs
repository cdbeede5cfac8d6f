//! A real run of Codex through the launcher, its trace on Databricks, read back by MLflow's own client.

use crate::LAUNCHER;
use serde_json::json;
use std::process::Command;
use support::databricks::{CLIENT_ID, CLIENT_SECRET, Cloud, Rules, TOKEN};
use support::{
    Databricks, End, Home, ModelServer, Oracle, Reply, Script, Trace, Verb, assert_facts, codex, run,
};

/// A launch that delivers to Databricks, set up as a user does.
fn traced(home: &Home, codex: &std::path::Path, variables: &[(&str, &str)]) -> Command {
    let mut command = home.traced(LAUNCHER, codex);
    command.env("MLFLOW_TRACKING_URI", "databricks").env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    command.envs(variables.iter().copied());
    command
}

fn read(oracle: &Oracle, databricks: &Databricks) -> Trace {
    let traces = databricks.traces();
    let [id] = &traces[..] else { panic!("expected one trace: {traces:?}\n{:#?}", databricks.story()) };
    let variables = [("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", TOKEN)];
    let mut answers = oracle.ask_store("databricks", &variables, &[Verb::Trace { trace: id }]);
    serde_json::from_value(answers.remove(0)).expect("a trace as oracle.py writes it")
}

#[test]
fn a_run_and_its_resumption_are_one_trace_that_mlflow_reads() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let databricks = Databricks::start(Rules { cloud: Cloud::AzureLake, ..Rules::default() });
    let robot = [
        ("DATABRICKS_HOST", databricks.host()),
        ("DATABRICKS_CLIENT_ID", CLIENT_ID),
        ("DATABRICKS_CLIENT_SECRET", CLIENT_SECRET),
    ];
    let first = Script::new()
        .reply(Reply::new().call("exec_command", json!({"cmd": "exit 3"})).usage(9000, 4096, 120, 64))
        .reply(Reply::new().answer("done").usage(9300, 9000, 40, 0));
    let server = ModelServer::start(first);
    let home = Home::new(&server.url());
    let outcome =
        run(traced(&home, &codex.native, &robot).args(["exec", "--json", "do it"])).ended(End::Code(0));
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let trace = read(&oracle, &databricks);
    assert_eq!(trace.trace_id, format!("tr-{}", thread.replace('-', "")));
    assert!(trace.metadata["mlflow.trace.cost"].as_str().is_some_and(|cost| cost.contains("total_cost")));
    assert_facts(
        &trace,
        r#"
            trace OK name=codex_cli_session request="do it" response=done in=18300 out=160 tags.codex.cli_version=0.171.0 spans=4
            codex_cli_session AGENT OK inputs.prompt="do it" outputs.response=done outputs.status=completed process.exit.code=0
              llm_call_1 LLM OK in=9000 cached=4096 out=120 mlflow.llm.model=gpt-5.5
              tool_exec_command TOOL ERROR message="exit code 3" event=exception
              llm_call_2 LLM OK in=9300 out=40 outputs.response=done
            "#,
    );

    server.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
    let mut resume = traced(&home, &codex.native, &robot);
    run(resume.args(["exec", "resume", &thread, "and more"])).ended(End::Code(0));
    assert_facts(
        &read(&oracle, &databricks),
        "trace OK request=\"do it\" response=more in=28300 out=167 spans=7",
    );
    let path = format!("/Users/{}/codex-sessions", support::databricks::USER);
    assert!(databricks.experiment(&path).is_some(), "the default name is in the user's folder");
}

#[test]
fn a_refused_token_keeps_the_trace_on_disk_and_is_written_nowhere() {
    let Some(codex) = codex() else { return };
    let databricks = Databricks::start(Rules::default());
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").usage(10, 0, 1, 0)));
    let home = Home::new(&server.url());
    let variables = [("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", "dapi-of-another")];
    let mut command = traced(&home, &codex.native, &variables);
    command.env("CODEX_TRACED_NOTICE", "always");
    let outcome = run(command.args(["exec", "do it"])).ended(End::Code(0));
    assert!(outcome.stderr.contains("refused the credentials"), "{}", outcome.stderr);
    let kept: Vec<_> = std::fs::read_dir(home.state().join("spool")).expect("a spool").flatten().collect();
    assert!(kept.iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".json")), "{kept:?}");
    let ours = everything_in(&home.state());
    for text in [outcome.stderr, ours] {
        assert!(!text.contains("dapi-of-another"), "{text}");
    }
}

/// Every file of the launcher's, as one text.
fn everything_in(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.push_str(&everything_in(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()));
        }
    }
    all
}

#[test]
fn tokens_are_no_part_of_what_is_kept_of_a_delivery() {
    let Some(codex) = codex() else { return };
    let databricks =
        Databricks::start(Rules { cloud: Cloud::AzureBlob, dead_addresses: 1, ..Rules::default() });
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").usage(10, 0, 1, 0)));
    let home = Home::new(&server.url());
    let variables = [("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", TOKEN)];
    run(traced(&home, &codex.native, &variables).args(["exec", "do it"])).ended(End::Code(0));
    assert_eq!(databricks.traces().len(), 1, "{:#?}", databricks.story());
    super::made::assert_no_secret(&everything_in(&home.state()));
}
