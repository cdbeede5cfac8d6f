//! Sessions from lines.

use super::*;
use serde_json::{Value, json};

fn session_of(payloads: &[(&str, Value)]) -> Session {
    let mut reducer = SessionReducer::default();
    for (kind, payload) in payloads {
        reducer.observe(json!({"type": kind, "payload": payload}).to_string().as_bytes());
    }
    reducer.finish()
}

fn begin(turn_id: &str) -> (&'static str, Value) {
    ("event_msg", json!({"type": "task_started", "turn_id": turn_id}))
}

fn say(text: &str) -> (&'static str, Value) {
    ("response_item", json!({"type": "message", "role": "assistant", "content": text}))
}

#[test]
fn the_plan_is_a_part_of_a_plan_turns_answer() {
    let begin = |mode: &str| {
        let payload = json!({"type": "task_started", "turn_id": "a", "collaboration_mode_kind": mode});
        ("event_msg", payload)
    };
    // Codex writes the plan as an item of its own, and the rest as the last message.
    let end = |last: Value| {
        ("event_msg", json!({"type": "task_complete", "turn_id": "a", "last_agent_message": last}))
    };
    let planned = "Here:\n<proposed_plan>\n# Plan\n</proposed_plan>";
    let only_plan = "<proposed_plan>\n# Plan\n</proposed_plan>";
    let table = [
        ("plan", planned, json!("Here:\n"), planned),
        ("plan", only_plan, Value::Null, only_plan),
        ("plan", "What for?", json!("What for?"), "What for?"),
        ("default", planned, json!("as it ended"), "as it ended"),
    ];
    for (mode, text, last, answer) in table {
        let session = session_of(&[begin(mode), say(text), end(last)]);
        let turn = &session.turns[0];
        assert_eq!(turn.final_answer.as_deref(), Some(answer), "{mode} {text}");
        assert_eq!(turn.status, crate::session::model::TurnStatus::Completed);
    }
}

#[test]
fn a_review_without_a_result_does_not_take_the_next_turns_response() {
    let item = json!({"type": "ExitedReviewMode", "review_output": null});
    let exited = ("event_msg", json!({"type": "item_completed", "turn_id": "review", "item": item}));
    let session = session_of(&[begin("review"), exited.clone(), begin("next"), say("hello")]);
    assert_eq!(session.inferences().map(|inference| &inference.texts[..]).collect::<Vec<_>>(), [["hello"]]);

    let session = session_of(&[begin("review"), exited, say("all good"), begin("next"), say("hello")]);
    assert_eq!(session.turns[0].final_answer.as_deref(), Some("all good"));
    assert_eq!(session.inferences().count(), 1);
}

#[test]
fn the_first_request_of_a_new_thread_holds_its_instructions_once() {
    let meta = |more: Value| {
        let mut meta = json!({"id": "t", "base_instructions": {"text": "be Codex"}});
        meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("session_meta", meta)
    };
    let shown =
        |role: &str, text: &str| ("response_item", json!({"type": "message", "role": role, "content": text}));
    let requests = |lines: &[(&str, Value)]| {
        let session = session_of(lines);
        let messages = session.inferences().map(|it| it.new_messages.clone());
        messages.map(|all| all.iter().map(|it| it.text.to_string()).collect()).collect::<Vec<Vec<_>>>()
    };
    let turns = [begin("a"), shown("user", "go"), say("one"), shown("user", "on"), say("two")];
    let with = |first: &[(&'static str, Value)]| [first, &turns].concat();
    let repeated = [meta(json!({})), shown("developer", "be Codex")];
    let base = json!({"history_base": {"thread_id": "p", "end_ordinal_exclusive": 7}});
    for (first, expected) in [
        (&[meta(json!({}))][..], &["be Codex", "go"][..]),
        (&repeated, &["be Codex", "go"]),
        (&[meta(json!({"forked_from_id": "p"}))], &["go"]),
        (&[meta(base)], &["go"]),
        (&[meta(json!({"base_instructions": null}))], &["go"]),
        (&[meta(json!({"base_instructions": "be odd"}))], &["go"]),
    ] {
        assert_eq!(requests(&with(first)), [expected, &["on"]], "{first:?}");
    }
}

#[test]
fn only_a_thread_that_begins_with_anothers_tokens_inherits_them() {
    let usage = |input: u64, total: u64| {
        let record = json!({"usage": {"input_tokens": input}, "thread_token_usage": {"input_tokens": total}});
        ("token_usage_record", record)
    };
    let reconciles = |lines: &[(&str, Value)]| session_of(lines).tokens_reconcile();
    assert_eq!(reconciles(&[begin("a"), usage(10, 10), usage(5, 15)]), Some(true));
    assert_eq!(reconciles(&[begin("a"), usage(10, 110), usage(5, 115)]), Some(true), "a fork");
    // The record of the first response was lost.
    let shown = ("response_item", json!({"type": "message", "role": "user", "content": "go on"}));
    assert_eq!(reconciles(&[begin("a"), say("one"), shown, usage(5, 15)]), Some(false));
}

#[test]
fn an_id_that_a_provider_gives_twice_is_two_calls() {
    let call = |cmd: &str| {
        let arguments = json!({"command": [cmd]}).to_string();
        (
            "response_item",
            json!({"type": "function_call", "name": "shell", "call_id": "call_0", "arguments": arguments}),
        )
    };
    let answer = |code: u64| {
        let output = json!({"output": "printed", "metadata": {"exit_code": code}}).to_string();
        ("response_item", json!({"type": "function_call_output", "call_id": "call_0", "output": output}))
    };
    let session = session_of(&[begin("a"), call("true"), answer(0), call("false"), answer(1)]);
    let calls = session.turns[0].steps.iter().filter_map(|step| match &**step {
        super::super::model::Step::ToolCall(call) => {
            Some((call.arguments["cmd"].to_string(), call.facts.exit_code))
        }
        _ => None,
    });
    assert_eq!(calls.collect::<Vec<_>>(), [("\"true\"".into(), Some(0)), ("\"false\"".into(), Some(1))]);
}
