//! The MLflows between the oldest and the newest: each opens our database and reads the trace as it was.
//!
//! Each takes a minute and 0.8 GB to install, so this runs on demand and nightly: `just older-mlflows`. `rows.rs`
//! compares what a server stores with what we write; `http.rs` does so with the MLflows that all tests need.

use crate::LAUNCHER;
use crate::rows::{Of, compare_rows};
use serde_json::json;
use support::{End, Home, MlflowServer, ModelServer, Oracle, Reply, Script, assert_facts, codex, run};

#[test]
#[ignore = "installs three MLflows; run by `just older-mlflows`"]
fn every_older_mlflow_opens_our_database() {
    let Some(codex) = codex() else { return };
    for version in ["3.6.0", "3.10.1", "3.14.0"] {
        let Some(oracle) = Oracle::of(version) else { return };
        let command = json!({"cmd": "exit 3"});
        let script = Script::new()
            .reply(
                Reply::new().reasoning("**Plan** try").call("exec_command", command).usage(900, 400, 12, 6),
            )
            .reply(Reply::new().answer("done").usage(950, 900, 5, 0));
        let server = ModelServer::start(script);
        let home = Home::new(&server.url());
        run(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"])).ended(End::Code(0));
        let trace = oracle.trace(&home.database());
        assert_facts(
            &trace,
            r#"
            trace OK name=codex_cli_session experiment=codex-sessions request="do it" response=done in=1850 out=17 source=codex_cli spans=4
            codex_cli_session AGENT OK inputs.prompt="do it" outputs.response=done codex.attribution=held
              llm_call_1 LLM OK in=900 cached=400 out=12 mlflow.llm.model=gpt-5.5
              tool_exec_command TOOL ERROR inputs.cmd="exit 3" exit_code=3 event=exception
              llm_call_2 LLM OK in=950 cached=900 out=5 outputs.response=done
            "#,
        );
        println!("MLflow {version} reads {} with its {} spans", trace.trace_id, trace.spans.len());
    }
}

#[test]
#[ignore = "installs two MLflows more; run by `just older-mlflows`"]
fn five_mlflows_hold_the_same_rows_whether_sent_or_written() {
    let mut wrong = Vec::new();
    for version in ["3.6.0", "3.10.1", "3.14.0", "3.17.2", "3.18.0"] {
        let (Some(server), Some(oracle)) = (MlflowServer::of(version), Oracle::of(version)) else { return };
        for of in [Of::Session, Of::Turn] {
            let report = compare_rows(version, &server, &oracle, of);
            println!("MLflow {version}, a trace for each {of:?}: {report}");
            wrong.extend(report.wrong.iter().map(|line| format!("MLflow {version}, {of:?}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
