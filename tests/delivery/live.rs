//! A trace while Codex works: with the real Codex, read by MLflow's client.

use crate::LAUNCHER;
use serde_json::json;
use std::fs;
use support::home::is_portable;
use support::processes::is_finisher;
use support::run::LIMIT;
use support::{End, Home, ModelServer, Oracle, Reply, Script, Trace, assert_facts, codex, start, wait_for};

/// A command that runs until the test makes this file in the working folder.
const GO: &str = "go";

fn waits() -> String {
    format!("echo before; until [ -e {GO} ]; do sleep 0.05; done; echo after")
}

fn a_command_that_waits() -> Script {
    Script::new()
        .reply(
            Reply::new()
                .call("exec_command", json!({"cmd": waits(), "yield_time_ms": 60_000}))
                .usage(100, 0, 10, 0),
        )
        .reply(Reply::new().answer("it is done").usage(200, 0, 20, 0))
}

/// Its niceness, whether it leads a session of its own, what its stdin, stdout and stderr are, and the copy that spares the
/// launcher the wait for the end of its inotify instance.
const TRACER: (i32, bool, [&str; 4]) = (10, true, ["pipe", "pipe", "/dev/null", "inotify"]);

/// Without inotify there is no copy: the first file that it opened itself.
const PORTABLE_TRACER: (i32, bool, [&str; 4]) = (10, true, ["pipe", "pipe", "/dev/null", "file"]);

fn properties_of_the_tracer(home: &Home) -> (i32, bool, [&'static str; 4]) {
    let tracer =
        home.processes().into_iter().find(|id| is_finisher(*id)).expect("a tracer follows the launch");
    let stat = fs::read_to_string(format!("/proc/{tracer}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let stream = |number: i32| {
        let link = fs::read_link(format!("/proc/{tracer}/fd/{number}")).expect("it runs");
        match link.to_str().expect("UTF-8") {
            "/dev/null" => "/dev/null",
            "anon_inode:inotify" => "inotify",
            pipe if pipe.starts_with("pipe:") => "pipe",
            file if file.starts_with('/') => "file",
            other => panic!("stream {number} is {other}"),
        }
    };
    let niceness = fields[16].parse().expect("a number");
    (niceness, fields[3] == tracer.to_string(), [0, 1, 2, 3].map(stream))
}

fn let_go(home: &Home) {
    fs::write(home.work().join(GO), "").expect("make the file");
}

#[test]
fn a_tool_call_that_runs_is_seen_and_completed_under_the_same_id() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(a_command_that_waits());
    let home = Home::new(&server.url());
    let traced = start(home.traced(LAUNCHER, &codex.native).args(["exec", "--skip-git-repo-check", "do it"]));
    let mut seen: Option<Trace> = None;
    wait_for("the running call in the store", LIMIT, || {
        seen = if home.database().exists() { oracle.traces(&home.database()).pop() } else { None };
        seen.as_ref().is_some_and(|trace| trace.spans.iter().any(|span| span.kind == "TOOL"))
    });
    let seen = seen.expect("it was waited for");
    assert_facts(
        &seen,
        r#"
        trace IN_PROGRESS request="do it" response=running in=100 out=10
        codex_cli_session AGENT UNSET outputs.status=running
          llm_call_1 LLM OK in=100 out=10
          tool_exec_command TOOL UNSET outputs.status=running
        "#,
    );
    let expected = if is_portable() { PORTABLE_TRACER } else { TRACER };
    assert_eq!(properties_of_the_tracer(&home), expected);
    let_go(&home);
    traced.finish(LIMIT).ended(End::Code(0));
    let whole = oracle.trace(&home.database());
    assert_facts(
        &whole,
        r#"
        trace OK request="do it" response="it is done" in=300 out=30
        codex_cli_session AGENT OK outputs.status=completed process.exit.code=0
          llm_call_1 LLM OK in=100 out=10
          tool_exec_command TOOL OK exit_code=0
          llm_call_2 LLM OK in=200 out=20
        "#,
    );
    for span in &seen.spans {
        assert_eq!(whole.span(&span.name).span_id, span.span_id);
    }
}
