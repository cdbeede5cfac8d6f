//! Codex as a server of other programs: `app-server` and `mcp-server`.

use super::{claimed, evidence, traced};
use crate::LAUNCHER;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::home::is_portable;
use support::run::LIMIT;
use support::{
    Codex, End, Gate, Home, JsonRpc, ModelServer, Oracle, Reply, Script, assert_facts,
    assert_messages_of_plain, codex, normalised_messages, older_codex, run, wait_for,
};

const SERVE: [&str; 3] = ["app-server", "--listen", "stdio://"];

fn plain(home: &Home, codex: &Codex) -> Command {
    let mut command = home.command(&codex.native);
    command.args(SERVE);
    command
}

fn ours(home: &Home, codex: &Codex) -> Command {
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.args(SERVE);
    command
}

/// The thread is noted by the launcher, before it has a session file. Without a list of locks it is noted later.
fn wait_for_claim(home: &Home, thread: &str) {
    if is_portable() {
        return;
    }
    let folder = home.state().join("launches");
    let is_noted = |name: String| {
        let notes = fs::read_to_string(folder.join(name)).unwrap_or_default();
        notes.lines().any(|line| line.starts_with("{\"claim\"") && line.contains(thread))
    };
    wait_for("the claim to be noted", LIMIT, || home.launches().into_iter().any(is_noted));
}

fn sync(home: &Home) {
    run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "sync"])).ended(End::Code(0));
}

fn two_turns() -> Script {
    Script::new()
        .reply(Reply::new().call("exec_command", json!({"cmd": "ls"})).usage(9000, 4096, 120, 0))
        .reply(Reply::new().answer("one").usage(9200, 9000, 5, 0))
        .reply(Reply::new().answer("two").usage(9300, 9200, 5, 0))
}

#[test]
fn a_server_answers_as_plain_codex_does_and_its_threads_are_traced() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    // Codex makes files of its own at its first start.
    JsonRpc::app_server(&mut plain(&home, &codex)).end().ended(End::Code(0));
    let serve = |command: &mut Command| {
        server.play(two_turns());
        let mut client = JsonRpc::app_server(command);
        let thread = client.thread();
        let turns = ["first", "second"].map(|prompt| client.turn(&thread, prompt));
        assert_eq!(turns, ["completed", "completed"]);
        (thread, client.close())
    };
    let (_, first) = serve(&mut plain(&home, &codex));
    let (thread, traced) = serve(&mut ours(&home, &codex));
    assert_eq!(first.end, End::Code(0));
    let again = (0..3).map(|_| serve(&mut plain(&home, &codex)).1);
    assert_messages_of_plain(&traced, [first].into_iter().chain(again));

    home.wait_until_delivered();
    assert_eq!(claimed(&home), BTreeSet::from([thread]));
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK name=codex_cli_session request=first response=two in=27500 out=130
        codex_cli_session AGENT OK inputs.prompt=first outputs.response=two codex.attribution=held codex.originator=test_client process.exit.code=0
          turn_1 AGENT OK
            llm_call_1 LLM OK in=9000 out=120
            tool_exec_command TOOL OK inputs.cmd=ls outputs.result="README.md\n"
            llm_call_2 LLM OK outputs.response=one
          turn_2 AGENT OK
            llm_call_3 LLM OK outputs.response=two
        "#,
    );
}

#[test]
fn a_planted_difference_of_one_byte_in_a_message_is_seen() {
    let outcome =
        |stdout: &str| support::Outcome { stdout: stdout.into(), stderr: "".into(), end: End::Code(0) };
    let line = r#"{"method":"m","params":{"startedAtMs":1795927257758,"completedAt":null,"count":3},"emittedAtMs":17}"#;
    let same = line.replace("1795927257758", "9").replace(":17}", ":18}");
    assert_eq!(normalised_messages(&outcome(line)), normalised_messages(&outcome(&same)));
    for other in
        [line.replace("\"count\":3", "\"count\":4"), line.replace("null", "1"), line.replace("m\"", "n\"")]
    {
        assert_ne!(normalised_messages(&outcome(line)), normalised_messages(&outcome(&other)), "{other}");
        let failed = std::panic::catch_unwind(|| {
            assert_messages_of_plain(&outcome(line), [outcome(&other), outcome(&other)]);
        });
        assert!(failed.is_err(), "{other}");
    }
    assert_messages_of_plain(&outcome(line), [outcome("another"), outcome(&same)]);
}

#[test]
fn the_native_child_of_npms_launcher_is_the_holder() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    let mut command = home.traced(LAUNCHER, &codex.launcher);
    command.env("CODEX_TRACED_DIRECT", "0");
    let mut client = JsonRpc::app_server(command.args(["-c", "tools.web_search=false"]).args(SERVE));
    let thread = client.thread();
    wait_for_claim(&home, &thread);
    client.turn(&thread, "a prompt");
    client.close();
    home.wait_until_delivered();
    assert_eq!(
        (traced(&home), evidence(&home, &thread)),
        (BTreeSet::from([thread]), vec!["held".to_owned()])
    );
}

#[test]
fn a_server_of_others_beside_it_stays_unclaimed_and_so_does_what_a_tool_starts() {
    let Some(codex) = codex() else { return };
    let inner = format!("{} exec --json a-tools-prompt", codex.native.display());
    let script = Script::new()
        .reply_to("their-prompt", Reply::new().answer("not ours"))
        .reply_to("a-tools-prompt", Reply::new().answer("a tool's"))
        .reply_to(
            "my-prompt",
            Reply::new().call("exec_command", json!({"cmd": inner, "yield_time_ms": 60_000})),
        )
        .reply_to("my-prompt", Reply::new().answer("ours"));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let mut theirs = JsonRpc::app_server(&mut plain(&home, &codex));
    let mut mine = JsonRpc::app_server(&mut ours(&home, &codex));
    let [other, thread] = [theirs.thread(), mine.thread()];
    // Threads that are idle have their locks held too.
    let idle = mine.thread();
    for thread in [&thread, &idle] {
        wait_for_claim(&home, thread);
    }
    theirs.turn(&other, "their-prompt");
    mine.turn(&thread, "my-prompt");
    mine.close();
    theirs.end();
    assert_eq!(home.rollouts().len(), 3);
    home.wait_until_delivered();
    assert_eq!((traced(&home), claimed(&home)), (BTreeSet::from([thread.clone()]), BTreeSet::from([thread])));
}

#[test]
fn a_server_that_is_closed_in_mid_turn_loses_nothing() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let gate = Gate::new();
    let slow = Reply::new().answer("late").stall_at_start(&gate);
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one")).reply(slow));
    let home = Home::new(&server.url());
    let mut client = JsonRpc::app_server(&mut ours(&home, &codex));
    let thread = client.thread();
    client.turn(&thread, "first");
    client.begin_turn(&thread, "second");
    gate.wait_until_reached(LIMIT);
    client.close().ended(End::Code(0));
    home.wait_until_delivered();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request=first
        codex_cli_session AGENT OK codex.attribution=held process.exit.code=0
          turn_1 AGENT OK outputs.response=one
            llm_call_1 LLM OK
          turn_2 AGENT OK inputs.prompt=second outputs.status=interrupted
        "#,
    );
}

#[test]
fn a_server_dies_with_its_launcher_and_is_traced_later() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let slow = Reply::new().answer("late").stall_at_start(&gate);
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one")).reply(slow));
    let home = Home::new(&server.url());
    let mut client = JsonRpc::app_server(&mut ours(&home, &codex));
    let thread = client.thread();
    client.turn(&thread, "first");
    client.begin_turn(&thread, "second");
    gate.wait_until_reached(LIMIT);
    // Its stdin stays open: only the launcher's death ends it. The client sees the end of its stdout.
    client.kill().ended(End::Signal(9));
    home.wait_until_ended();
    sync(&home);
    assert_eq!(
        (traced(&home), evidence(&home, &thread)),
        (BTreeSet::from([thread]), vec!["held".to_owned()])
    );
}

#[test]
fn a_server_that_died_before_its_claims_is_never_given_a_session_by_guess() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("not ours")));
    let home = Home::new(&server.url());
    let client = JsonRpc::app_server(&mut ours(&home, &codex));
    let mut theirs = JsonRpc::app_server(&mut plain(&home, &codex));
    let other = theirs.thread();
    theirs.turn(&other, "theirs");
    theirs.end();
    client.kill().ended(End::Signal(9));
    home.wait_until_ended();
    sync(&home);
    assert_eq!((claimed(&home), home.launches().len()), (BTreeSet::new(), 0));
    let status = run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["unclaimed"][0]["thread_id"], json!(other));
}

#[test]
fn tools_of_the_server_and_its_daemon_replace_the_launcher() {
    let Some(codex) = codex() else { return };
    let home = Home::new("http://127.0.0.1:9");
    let schemas = home.root().join("schemas");
    for words in [
        &["app-server", "generate-json-schema", "--out", schemas.to_str().expect("UTF-8")][..],
        &["app-server", "daemon", "version"],
        &["app-server", "--print-startup-config"],
        &["app-server", "--help"],
    ] {
        let [plain, traced] = [home.command(&codex.native), home.traced(LAUNCHER, &codex.native)]
            .map(|mut command| run(command.args(words)));
        assert_eq!(plain.normalised(), traced.normalised(), "{words:?}");
        assert!(!home.state().exists(), "{words:?}");
    }
}

/// Version, and the words that start its MCP server; 0.169 and 0.171 have none.
const MCP: [(&str, &[&str]); 4] = [
    ("0.36.0", &["mcp"]),
    ("0.98.0", &["mcp-server"]),
    ("0.130.0", &["mcp-server"]),
    ("0.150.0", &["mcp-server"]),
];

#[test]
fn the_mcp_servers_of_older_codexes_are_traced() {
    for (version, words) in MCP {
        let Some(codex) = older_codex(version) else { return };
        let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
        let home = Home::new(&server.url());
        let mut client = JsonRpc::mcp_server(home.traced(LAUNCHER, &codex.native).args(words));
        let call = json!({"name": "codex", "arguments": {"prompt": "a prompt"}});
        let answer = client.request("tools/call", call);
        assert_eq!(answer["content"][0]["text"], "done", "{version}");
        client.end().ended(End::Code(0));
        home.wait_until_delivered();
        let [thread] = &home.claimed()[..] else { panic!("{version}: one thread") };
        assert_eq!(evidence(&home, thread), ["held"], "{version}");
    }
}

/// Threads of a Codex before the locks are found by its open files.
#[test]
fn the_servers_of_older_codexes_are_traced() {
    for version in ["0.98.0", "0.142.5", "0.150.0", support::real::CODEX_BEFORE] {
        let Some(codex) = older_codex(version) else { return };
        let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
        let home = Home::new(&server.url());
        let mut client = JsonRpc::app_server(home.traced(LAUNCHER, &codex.native).arg("app-server"));
        let thread = client.thread();
        assert_eq!(client.turn(&thread, "a prompt"), "completed", "{version}");
        client.end().ended(End::Code(0));
        home.wait_until_delivered();
        assert_eq!(evidence(&home, &thread), ["held"], "{version}");
    }
}
