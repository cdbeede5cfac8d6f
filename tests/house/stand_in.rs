//! Tests of the tests' own tools against the real Codex: the scripted model server, homes, and limits on runs.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;
use support::model_server::NOTHING_LEFT;
use support::processes;
use support::run::LIMIT;
use support::{
    Codex, End, Gate, Home, Item, ModelServer, Recorded, Reply, Script, Usage, codex, normalised, run, start,
    wait_for,
};

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

fn a_small_job() -> Script {
    Script::new()
        .reply(
            Reply::new()
                .reasoning("**Plan** list")
                .call("exec_command", json!({"cmd": "ls"}))
                .usage(9000, 4096, 120, 64),
        )
        .reply(
            Reply::new()
                .commentary("Now what fails.")
                .call("exec_command", json!({"cmd": "echo no >&2; exit 3"})),
        )
        .reply(
            Reply::new()
                .item(Item::custom("apply_patch", PATCH).call_id("call_patch"))
                .usage(9500, 9000, 80, 0),
        )
        .reply(Reply::new().answer("done").usage(9700, 9500, 5, 0))
}

fn exec(home: &Home, codex: &Codex, arguments: &[&str]) -> Command {
    let mut command = home.command(&codex.native);
    command.arg("exec").args(arguments);
    command
}

#[test]
fn codex_does_the_scripted_job_and_counts_what_the_server_reported() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(a_small_job());
    let home = Home::new(&server.url());

    let outcome = run(&mut exec(&home, &codex, &["do it"])).ended(End::Code(0));

    server.assert_script_used_up_exactly();
    assert_eq!(outcome.stdout, "done\n");
    assert_eq!(std::fs::read_to_string(home.work().join("hello.txt")).unwrap(), "hello\n");
    let recorded = Recorded::read(&home.rollout());
    assert_eq!(recorded.usage_each(), server.reported_each());
    assert_eq!(server.reported(), Usage { input: 29200, cached: 23096, output: 255, reasoning: 84 });
    let items = recorded.payloads("item_completed").map(|payload| &payload["item"]);
    let items: Vec<_> =
        items.map(|item| (item["type"].as_str().unwrap(), item["exit_code"].as_i64())).collect();
    let expected = [
        ("UserMessage", None),
        ("Reasoning", None),
        ("CommandExecution", Some(0)),
        ("AgentMessage", None),
        ("CommandExecution", Some(3)),
        ("FileChange", None),
        ("AgentMessage", None),
    ];
    assert_eq!(items, expected);
    let patch = recorded.payloads("custom_tool_call").next().unwrap();
    assert_eq!(patch["call_id"], "call_patch");
}

#[test]
fn the_same_script_again_looks_the_same_but_for_ids_and_times() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(a_small_job());
    let home = Home::new(&server.url());
    for form in [&["do it"][..], &["--json", "do it"]] {
        let run_again = |program: &Path| {
            home.reset_work();
            server.play(a_small_job());
            run(home.command(program).arg("exec").args(form)).ended(End::Code(0))
        };
        let (native, launcher) = (run_again(&codex.native), run_again(&codex.launcher));
        assert_ne!(native, launcher, "two sessions have two ids");
        assert_eq!(native.normalised(), launcher.normalised());
        let planted = launcher.stdout.replacen("done", "dOne", 1);
        assert_ne!(normalised(&planted), native.normalised().stdout);
    }
}

#[test]
fn a_failed_turn_ends_with_1_and_its_reason() {
    let Some(codex) = codex() else { return };
    let failing = || Reply::new().failed("insufficient_quota", "no money left");
    let server = ModelServer::start(Script::new().reply(failing()));
    let home = Home::new(&server.url());

    let outcome = run(&mut exec(&home, &codex, &["--json", "do it"])).ended(End::Code(1));

    server.assert_script_used_up_exactly();
    assert_eq!(outcome.json_lines().last().unwrap()["type"], "turn.failed");
    let recorded = Recorded::read(&home.rollout());
    let complete = recorded.payloads("task_complete").next().unwrap();
    assert!(complete["error"]["message"].is_string(), "{complete}");
}

#[test]
fn an_http_error_is_tried_again_as_often_as_configured() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(
        Script::new()
            .reply(Reply::new().http_error(500, "boom"))
            .reply(Reply::new().answer("done after all")),
    );
    let home = Home::new(&server.url());
    let outcome = run(&mut exec(&home, &codex, &["do it"])).ended(End::Code(0));
    assert_eq!(outcome.stdout, "done after all\n");

    let fatal = || Reply::new().http_error(400, "no such thing");
    server.play(Script::new().reply(fatal()));
    let outcome = run(&mut exec(&home, &codex, &["do it"])).ended(End::Code(1));
    assert!(outcome.stderr.contains("no such thing"), "{}", outcome.stderr);
    server.assert_script_used_up_exactly();
}

#[test]
fn a_stalled_reply_is_ended_by_sigint_and_the_server_sees_the_client_leave() {
    let Some(codex) = codex() else { return };
    let never = Gate::new();
    let server =
        ModelServer::start(Script::new().reply(Reply::new().commentary("thinking").stall_at_end(&never)));
    let home = Home::new(&server.url());

    let running = start(&mut exec(&home, &codex, &["do it"]));
    never.wait_until_reached(LIMIT);
    wait_for("the message before the stall", LIMIT, || running.stderr().contains("thinking"));
    running.signal(Signal::SIGINT);
    running.finish(LIMIT).ended(End::Code(1));

    wait_for("the server to see it", LIMIT, || server.clients_gone() == 1);
    let recorded = Recorded::read(&home.rollout());
    assert_eq!(recorded.payloads("turn_aborted").next().unwrap()["reason"], "interrupted");
    assert_eq!(recorded.usage_each(), server.reported_each());
}

#[test]
fn a_stalled_reply_is_ended_by_sigterm() {
    let Some(codex) = codex() else { return };
    let never = Gate::new();
    let server = ModelServer::start(Script::new().reply(Reply::new().stall_at_start(&never)));
    let home = Home::new(&server.url());
    let running = start(&mut exec(&home, &codex, &["do it"]));
    never.wait_until_reached(LIMIT);
    running.signal(Signal::SIGTERM);
    running.finish(LIMIT).ended(End::Signal(Signal::SIGTERM as i32));
}

#[test]
fn an_opened_gate_lets_the_reply_go_on() {
    let Some(codex) = codex() else { return };
    let (start_gate, end_gate) = (Gate::new(), Gate::new());
    let reply = Reply::new().answer("done").stall_at_start(&start_gate).stall_at_end(&end_gate);
    let server = ModelServer::start(Script::new().reply(reply));
    let home = Home::new(&server.url());
    let running = start(&mut exec(&home, &codex, &["do it"]));
    for gate in [start_gate, end_gate] {
        gate.wait_until_reached(LIMIT);
        gate.open();
    }
    assert_eq!(running.finish(LIMIT).ended(End::Code(0)).stdout, "done\n");
    assert_eq!(server.clients_gone(), 0);
}

#[test]
fn a_dropped_stream_is_seen_at_once_and_tried_again() {
    let Some(codex) = codex() else { return };
    let dropped = Reply::new().commentary("half").call("exec_command", json!({"cmd": "ls"})).drop_after(1);
    let server = ModelServer::start(Script::new().reply(dropped).reply(Reply::new().answer("whole")));
    let home = Home::new(&server.url());

    let outcome = start(&mut exec(&home, &codex, &["do it"])).finish(LIMIT).ended(End::Code(0));

    server.assert_script_used_up_exactly();
    assert_eq!(outcome.stdout, "whole\n");
    assert_eq!(server.reported_each(), [Usage::USUAL], "what was dropped was not reported");
    assert_eq!(Recorded::read(&home.rollout()).usage_each(), server.reported_each());
}

#[test]
fn a_resumed_session_goes_on_in_the_same_rollout() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(a_small_job());
    let home = Home::new(&server.url());
    let first = run(&mut exec(&home, &codex, &["--json", "do it"])).ended(End::Code(0));
    let thread = first.json_lines()[0]["thread_id"].as_str().unwrap().to_owned();

    server.play(Script::new().reply(Reply::new().answer("more").usage(10000, 9700, 7, 0)));
    let second = run(&mut exec(&home, &codex, &["resume", &thread, "and more"])).ended(End::Code(0));

    server.assert_script_used_up_exactly();
    assert_eq!(second.stdout, "more\n");
    let recorded = Recorded::read(&home.rollout());
    assert_eq!(recorded.payloads("task_complete").count(), 2);
    assert_eq!(recorded.usage_each(), server.reported_each());
    assert!(server.requests()[4]["input"].to_string().contains("and more"));
}

#[test]
fn a_request_finds_the_reply_kept_for_it() {
    let Some(codex) = codex() else { return };
    let script = Script::new()
        .reply_to("second prompt", Reply::new().answer("to the second"))
        .reply(Reply::new().answer("to anyone"));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let answer = |prompt: &str| run(&mut exec(&home, &codex, &[prompt])).stdout;
    assert_eq!(answer("first prompt"), "to anyone\n");
    assert_eq!(answer("second prompt"), "to the second\n");
    assert_eq!(server.strays(), [""; 0]);
}

#[test]
fn a_request_too_many_is_answered_and_counted() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let outcome = run(&mut exec(&home, &codex, &["do it"])).ended(End::Code(0));
    assert_eq!((outcome.stdout.trim_end(), server.unscripted()), (NOTHING_LEFT, 1));
}

#[test]
fn codex_takes_every_kind_of_item() {
    let Some(codex) = codex() else { return };
    let raw =
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "raw"}]});
    let server =
        ModelServer::start(
            Script::new()
                .reply(Reply::new().web_search("the weather").item(Item::raw(raw)).item(
                    Item::call("look_up", json!({"key": 1})).namespace("mcp__none").call_id("call_none"),
                ))
                .reply(Reply::new().answer("no usage").no_usage()),
        );
    let home = Home::new(&server.url());
    run(&mut exec(&home, &codex, &["do it"])).ended(End::Code(0));

    server.assert_script_used_up_exactly();
    let recorded = Recorded::read(&home.rollout());
    assert_eq!(recorded.payloads("web_search_call").next().unwrap()["action"]["query"], "the weather");
    let call = recorded.payloads("function_call").next().unwrap();
    assert_eq!((&call["namespace"], &call["call_id"]), (&json!("mcp__none"), &json!("call_none")));
    assert!(recorded.payloads("message").any(|message| message["content"][0]["text"] == "raw"));
    assert_eq!(recorded.usage_each(), [Usage::USUAL], "the second reply has none");
}

#[test]
fn an_incomplete_reply_fails_the_turn() {
    let Some(codex) = codex() else { return };
    let half = Reply::new().answer("half of").incomplete("max_output_tokens");
    let server = ModelServer::start(Script::new().reply(half));
    let home = Home::new(&server.url());
    let outcome = run(&mut exec(&home, &codex, &["--json", "do it"])).ended(End::Code(1));
    server.assert_script_used_up_exactly();
    assert!(outcome.stdout.contains("max_output_tokens"), "{}", outcome.stdout);
    // Codex counts what a reply reports that fails the turn.
    assert_eq!(Recorded::read(&home.rollout()).usage_each(), server.reported_each());
    assert_eq!(server.reported(), Usage::USUAL);
}

#[test]
fn a_daemon_ends_with_its_home_and_another_homes_daemon_does_not() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let (home, other) = (Home::new(&server.url()), Home::new(&server.url()));
    for home in [&home, &other] {
        run(home.command(&codex.native).args(["app-server", "daemon", "start"])).ended(End::Code(0));
        wait_for("a daemon", LIMIT, || home.daemon().is_some());
    }
    let ours = home.processes();
    assert!(ours.contains(&home.daemon().unwrap()));
    drop(home);
    // A process that ends has no environment any more, by which its home finds it, before its last thread is gone.
    wait_for("its processes to end", LIMIT, || !ours.iter().any(|id| processes::runs(*id)));
    assert!(processes::runs(other.daemon().unwrap()));
}
