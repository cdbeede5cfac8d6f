//! Calls from lines, and their outcomes.

use super::super::reducer::SessionReducer;
use super::*;
use serde_json::{Value, json};

fn script_at(second: u32, call_id: &str) -> String {
    let payload = json!({"type": "custom_tool_call", "call_id": call_id, "name": "exec", "input": ""});
    json!({
        "timestamp": format!("2026-11-22T10:00:{second:02}Z"),
        "type": "response_item",
        "payload": payload
    })
    .to_string()
}

fn command(started_at: &str, id: &str, exit_code: i64) -> String {
    let millis = started_at.parse::<Timestamp>().unwrap().as_millisecond();
    let item = json!({"type": "CommandExecution", "id": id, "exit_code": exit_code});
    let payload = json!({"type": "item_completed", "item": item, "started_at_ms": millis});
    json!({"type": "event_msg", "payload": payload}).to_string()
}

fn calls_of(lines: &[String]) -> Vec<ToolCall> {
    let mut reducer = SessionReducer::default();
    lines.iter().for_each(|line| reducer.observe(line.as_bytes()));
    let mut session = reducer.finish();
    let steps = session.turns.pop().unwrap().into_inner().steps.into_iter();
    let calls = steps.filter_map(|step| match step.into_inner() {
        Step::ToolCall(call) => Some(*call),
        _ => None,
    });
    calls.collect()
}

/// Each script with the calls it made and their exit codes.
fn scripts_of(lines: &[String]) -> Vec<String> {
    let text = |call: ToolCall| {
        let inner = call.nested.iter().map(|call| (&call.call_id, call.facts.exit_code));
        inner.fold(call.call_id.to_string(), |text, (id, code)| format!("{text} {id}={}", code.unwrap()))
    };
    calls_of(lines).into_iter().map(text).collect()
}

#[test]
fn a_call_that_an_earlier_script_left_running_stays_that_scripts() {
    let lines = [
        script_at(1, "first"),
        script_at(10, "second"),
        command("2026-11-22T10:00:11Z", "exec-b", 0),
        command("2026-11-22T10:00:02Z", "exec-a", 0),
        command("2026-11-22T10:00:00Z", "exec-before-all", 0),
    ];
    assert_eq!(scripts_of(&lines), ["first exec-a=0", "second exec-b=0 exec-before-all=0"]);
}

#[test]
fn a_call_that_is_recorded_twice_is_one_call_as_it_was_recorded_last() {
    let lines = [
        script_at(1, "script"),
        command("2026-11-22T10:00:02Z", "exec-a", 0),
        command("2026-11-22T10:00:02Z", "exec-a", 7),
    ];
    assert_eq!(scripts_of(&lines), ["script exec-a=7"]);
}
fn lines_of(payloads: &[Value]) -> Vec<String> {
    payloads.iter().map(|payload| json!({"type": kind_of(payload), "payload": payload}).to_string()).collect()
}

fn kind_of(payload: &Value) -> &'static str {
    let is_event = payload["type"].as_str().is_some_and(|kind| kind.ends_with("_end"));
    if is_event { "event_msg" } else { "response_item" }
}

#[test]
fn a_command_that_outlives_its_call_ends_as_a_later_call_learns() {
    let asked = |id: &str, name: &str, arguments: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments});
    let answered =
        |id: &str, output: &str| json!({"type": "function_call_output", "call_id": id, "output": output});
    let lines = lines_of(&[
        asked("run", "exec_command", r#"{"cmd": "make"}"#),
        answered("run", "Chunk ID: 1\nWall time: 1.0 seconds\nProcess running with session ID 7\nOutput:\n"),
        asked("ask", "write_stdin", r#"{"session_id": 7, "chars": ""}"#),
        answered("ask", "Chunk ID: 2\nWall time: 1.0 seconds\nProcess running with session ID 7\nOutput:\n"),
        asked("again", "write_stdin", r#"{"session_id": 7, "chars": ""}"#),
        answered("again", "Chunk ID: 3\nWall time: 1.0 seconds\nProcess exited with code 2\nOutput:\n"),
    ]);
    let calls = calls_of(&lines);
    let exits: Vec<_> = calls.iter().map(|call| (&*call.call_id, call.facts.exit_code)).collect();
    assert_eq!(exits, [("run", Some(2)), ("ask", None), ("again", Some(2))]);
    assert_eq!(calls[0].outcome, Outcome::Failed { message: "exit code 2".into() });
}

#[test]
fn a_response_that_is_written_with_its_calls_ends_when_they_begin() {
    let line = |at: &str, payload: Value| {
        let kind = if payload["type"] == "task_started" { "event_msg" } else { "response_item" };
        json!({"timestamp": format!("2026-11-22T10:00:{at}Z"), "type": kind, "payload": payload}).to_string()
    };
    let took =
        |seconds: f64| json!({"output": "", "metadata": {"exit_code": 0, "duration_seconds": seconds}});
    let session_of = |seconds: f64| {
        let arguments = json!({"command": ["make"]}).to_string();
        let asked = json!({"type": "function_call", "name": "shell", "call_id": "c", "arguments": arguments});
        let answered =
            json!({"type": "function_call_output", "call_id": "c", "output": took(seconds).to_string()});
        let mut reducer = SessionReducer::default();
        for line in [
            line("00.000", json!({"type": "task_started", "turn_id": "t"})),
            line("05.000", asked),
            line("05.001", answered),
        ] {
            reducer.observe(line.as_bytes());
        }
        reducer.finish()
    };
    let at = |millis: i64| Timestamp::from_millisecond(1_795_341_600_000 + millis).ok();
    for (seconds, began) in [(4.0, 1_001), (9.0, 0)] {
        let session = session_of(seconds);
        let ended = session.inferences().next().unwrap().ended_at;
        let call = session.turns[0].steps.iter().find_map(|step| match &**step {
            Step::ToolCall(call) => Some(call),
            _ => None,
        });
        assert_eq!((ended, call.unwrap().started_at), (at(began), at(began)), "{seconds}");
    }
}

#[test]
fn a_search_is_one_call_with_or_without_an_id_in_the_models_line() {
    let record = json!({"type": "web_search_end", "call_id": "ws_1", "query": "rust"});
    let asked = |id: Option<&str>| json!({"type": "web_search_call", "id": id, "action": {"query": "rust"}});
    for (payloads, ids) in [
        (vec![record.clone(), asked(Some("ws_1"))], vec!["ws_1"]),
        (vec![record.clone(), asked(None)], vec!["ws_1"]),
        (vec![record, asked(None), asked(None)], vec!["ws_1", "web_search-1"]),
        (vec![asked(None)], vec!["web_search-0"]),
    ] {
        let calls = calls_of(&lines_of(&payloads));
        assert_eq!(calls.iter().map(|call| &*call.call_id).collect::<Vec<_>>(), ids);
        assert_eq!(calls[0].arguments["query"].as_str(), Some("rust"));
    }
}
