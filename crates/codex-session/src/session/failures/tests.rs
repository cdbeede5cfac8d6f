//! Turns that end in a failure, and the request that failed.

use super::*;
use crate::session::model::TurnStatus;
use crate::session::reducer::SessionReducer;
use serde_json::{Value, json};

const PLAN: &str = "<proposed_plan>\n# Plan\n</proposed_plan>\n";

const TURN: &str = "01a10003-1111-7000-8000-000000000001";

fn session_of(lines: &[(&str, Value)]) -> Session {
    let mut reducer = SessionReducer::default();
    for (kind, payload) in lines {
        reducer.observe(json!({"type": kind, "payload": payload}).to_string().as_bytes());
    }
    reducer.finish()
}

fn event(kind: &str, more: Value) -> (&'static str, Value) {
    let mut event = json!({"type": kind});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ("event_msg", event)
}

fn begin() -> (&'static str, Value) {
    event("task_started", json!({"turn_id": TURN}))
}

fn plan() -> (&'static str, Value) {
    event("task_started", json!({"turn_id": TURN, "collaboration_mode_kind": "plan"}))
}

fn prompt(text: &str) -> (&'static str, Value) {
    event("user_message", json!({"message": text}))
}

fn say(text: &str) -> (&'static str, Value) {
    ("response_item", json!({"type": "message", "role": "assistant", "content": text}))
}

fn think() -> (&'static str, Value) {
    ("response_item", json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}))
}

fn show(text: &str) -> (&'static str, Value) {
    ("response_item", json!({"type": "message", "role": "user", "content": text}))
}

fn call() -> (&'static str, Value) {
    ("response_item", json!({"type": "function_call", "name": "shell", "call_id": "c", "arguments": "{}"}))
}

fn output() -> (&'static str, Value) {
    ("response_item", json!({"type": "function_call_output", "call_id": "c", "output": "ok"}))
}

fn count(total: u64) -> (&'static str, Value) {
    event("token_count", json!({"info": {"total_token_usage": {"input_tokens": total}}}))
}

fn used(percent: f64) -> (&'static str, Value) {
    event("token_count", json!({"info": null, "rate_limits": {"primary": {"used_percent": percent}}}))
}

fn compacted(summary: &str) -> (&'static str, Value) {
    ("compacted", json!({"message": summary}))
}

fn end(message: Value) -> (&'static str, Value) {
    event("task_complete", json!({"turn_id": TURN, "last_agent_message": message}))
}

#[test]
fn a_turn_that_ends_without_the_answer_that_it_waits_for_has_failed() {
    let none = || end(Value::Null);
    let table = [
        ("nothing came", vec![begin(), prompt("go"), none()], Some("no_answer"), vec![true]),
        (
            "the limit",
            vec![begin(), prompt("go"), used(100.0), none()],
            Some("usage_limit_exceeded"),
            vec![true],
        ),
        ("most is used", vec![begin(), prompt("go"), used(99.9), none()], Some("no_answer"), vec![true]),
        (
            "after a tool",
            vec![begin(), prompt("go"), call(), count(5), output(), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        (
            "usage after the tool",
            vec![begin(), prompt("go"), call(), output(), count(5), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        (
            "a second prompt",
            vec![begin(), prompt("go"), say("yes"), count(5), prompt("and"), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        ("in the middle", vec![begin(), prompt("go"), say("I wi"), none()], Some("no_answer"), vec![true]),
        (
            "after a compaction of its own",
            vec![begin(), prompt("go"), say("sum"), count(5), compacted("so: sum"), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        (
            "in the middle of a thought",
            vec![begin(), prompt("go"), think(), used(1.0), think(), used(1.0), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        (
            "in the middle of a plan",
            vec![plan(), prompt("go"), call(), count(5), output(), say(PLAN), none()],
            Some("no_answer"),
            vec![false, true],
        ),
        (
            "in the middle of what goes with a plan",
            vec![plan(), prompt("go"), say(&format!("Here:\n{PLAN}")), none()],
            Some("no_answer"),
            vec![true],
        ),
        (
            "what is a plan in no other mode",
            vec![begin(), prompt("go"), say(PLAN), none()],
            Some("no_answer"),
            vec![true],
        ),
        // These may end without a message.
        ("a thought alone", vec![begin(), prompt("go"), think(), count(5), none()], None, vec![false]),
        (
            "a thought of a provider without usage",
            vec![begin(), prompt("go"), think(), none()],
            None,
            vec![false],
        ),
        ("a plan alone, without usage", vec![plan(), prompt("go"), say(PLAN), none()], None, vec![false]),
        (
            "a citation alone, without usage",
            vec![begin(), prompt("go"), say("<oai-mem-citation>a</oai-mem-citation>\n"), none()],
            None,
            vec![false],
        ),
        ("answered", vec![begin(), prompt("go"), say("yes"), count(5), end(json!("yes"))], None, vec![false]),
        (
            "migrated",
            vec![begin(), prompt("go"), say("yes"), count(5), show("<x>y</x>"), none()],
            None,
            vec![false],
        ),
        ("compacted", vec![begin(), say("sum"), count(5), compacted("sum"), none()], None, vec![false]),
        ("compacted elsewhere", vec![begin(), compacted(""), none()], None, vec![]),
        (
            "answered, then compacted",
            vec![begin(), prompt("go"), say("yes"), count(5), compacted("another"), none()],
            None,
            vec![false],
        ),
        (
            "the user's own command",
            vec![
                begin(),
                show(
                    "<user_shell_command><command>ls</command><result>Exit code: 0\nOutput:\n</result></user_shell_command>",
                ),
                none(),
            ],
            None,
            vec![],
        ),
        (
            "a call without an answer",
            vec![begin(), prompt("go"), call(), count(5), none()],
            None,
            vec![false],
        ),
        (
            "a review",
            vec![
                event("entered_review_mode", json!({"user_facing_hint": "all"})),
                begin(),
                prompt("review all"),
                event("exited_review_mode", json!({})),
                say("all good"),
                none(),
            ],
            None,
            vec![],
        ),
        ("a prompt that a hook refused", vec![begin(), none()], None, vec![]),
    ];
    for (name, lines, kind, failed) in table {
        let session = session_of(&lines);
        let [turn] = &session.turns[..] else { panic!("{name}: {:?}", session.turns) };
        let failed_by = match &turn.status {
            TurnStatus::Completed => None,
            TurnStatus::Failed { kind, .. } => kind.as_deref(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(failed_by, kind, "{name}");
        let marks: Vec<bool> = session.inferences().map(|it| it.failure.is_some()).collect();
        assert_eq!(marks, failed, "{name}");
    }
}

#[test]
fn a_turn_that_codex_migrated_keeps_the_answer_in_the_file() {
    let old = |kind: &str| event(kind, json!({"turn_id": "rollout-5", "last_agent_message": null}));
    let lines = [old("task_started"), prompt("go"), say("yes"), show("<x>y</x>"), old("task_complete")];
    let session = session_of(&lines);
    assert_eq!(session.turns[0].status, TurnStatus::Completed);
    assert_eq!(session.turns[0].final_answer.as_deref(), Some("yes"));
}

#[test]
fn every_attempt_in_the_file_is_a_request_with_its_number() {
    let again = |text: &str| event("stream_error", json!({"message": text, "codex_error_info": "other"}));
    let error = json!({"message": "gone", "codex_error_info": {"response_stream_disconnected": {}}});
    let failed = event("task_complete", json!({"turn_id": TURN, "error": error}));
    let marks = |lines: &[(&str, Value)]| {
        let session = session_of(lines);
        let mark = |it: &crate::session::model::Inference| {
            let texts = it.new_messages.iter().map(|message| message.text.to_string()).collect::<Vec<_>>();
            (it.number, it.failure.is_some(), it.attempt, texts.join(" "))
        };
        session.inferences().map(mark).collect::<Vec<_>>()
    };
    let text = |text: &str| text.to_owned();
    let (first, second) = (again("Reconnecting... 1/5"), again("x; retrying 2/5 in 400ms…"));
    assert_eq!(
        marks(&[
            begin(),
            show("go"),
            prompt("go"),
            first.clone(),
            second,
            say("yes"),
            count(5),
            end(json!("yes"))
        ]),
        [(1, true, Some(1), text("go")), (2, true, Some(2), text("")), (3, false, Some(3), text(""))]
    );
    // The stream broke off twice, and only its partial texts are in the file.
    let null = event("token_count", json!({"info": null}));
    assert_eq!(
        marks(&[
            begin(),
            show("go"),
            prompt("go"),
            say("I"),
            null.clone(),
            say("I wi"),
            null,
            failed.clone()
        ]),
        [(1, false, Some(1), text("go")), (2, true, Some(2), text(""))]
    );
    assert_eq!(
        marks(&[begin(), show("go"), prompt("go"), say("I"), first, failed.clone()]),
        [(1, true, Some(1), text("go")), (2, true, Some(2), text(""))]
    );
    // A session that continues goes on counting requests.
    let later = event("task_started", json!({"turn_id": "b"}));
    assert_eq!(
        marks(&[begin(), show("go"), prompt("go"), failed, later, show("on"), prompt("on"), say("yes")]),
        [(1, true, None, text("go")), (2, false, None, text("on"))]
    );
}

#[test]
fn an_error_without_the_model_is_no_failed_request() {
    let error = |kind: &str| event("error", json!({"message": "no", "codex_error_info": kind}));
    let session = session_of(&[begin(), prompt("go"), error("sandbox_error"), end(Value::Null)]);
    assert!(matches!(session.turns[0].status, TurnStatus::Failed { .. }));
    assert_eq!(session.inferences().count(), 0);
    let session =
        session_of(&[begin(), prompt("go"), error("thread_rollback_failed"), say("yes"), end(json!("yes"))]);
    assert_eq!(session.turns[0].status, TurnStatus::Completed);
    // Where turns have no end in the file, the error ends them.
    let session = session_of(&[prompt("go"), error("unauthorized"), prompt("again"), say("yes")]);
    assert!(
        matches!(&session.turns[0].status, TurnStatus::Failed { kind: Some(kind), .. } if kind == "unauthorized")
    );
    assert_eq!(session.turns[1].status, TurnStatus::Completed);
    assert_eq!(session.inferences().map(|it| it.failure.is_some()).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn the_number_of_an_attempt_is_read_where_there_is_one() {
    for (message, attempt) in [
        ("Reconnecting... 2/5", Some(2)),
        ("stream error: gone: https://host/v1; retrying 1/5 in 201ms…", Some(1)),
        ("stream error: https://host/v1", None),
        ("gone", None),
        ("a/5", None),
    ] {
        assert_eq!(attempt_in(message), attempt, "{message}");
    }
}

#[test]
fn a_failure_is_read_in_every_shape() {
    let complete = |error: Value| TurnEndEvent { error: Some(error.into()), ..TurnEndEvent::default() };
    let failed = |message: &str, kind: Option<&str>| {
        Some(Failure { message: message.into(), kind: kind.map(str::to_owned) })
    };
    let table = [
        (json!({"message": "no", "codex_error_info": "other"}), failed("no", Some("other"))),
        (json!({"message": "no", "codex_error_info": null}), failed("no", None)),
        (
            json!({"message": "no", "codex_error_info": {"http": {"status": 500}}}),
            failed("no", Some(r#"{"http":{"status":500}}"#)),
        ),
        (json!("no"), failed("no", None)),
        (json!({"odd": 1}), failed(r#"{"odd":1}"#, None)),
    ];
    for (error, failure) in table {
        assert_eq!(of_turn(&complete(error.clone())), failure, "{error}");
    }
    let before = ErrorEvent { message: "no".into(), codex_error_info: Some("other".into()) };
    assert_eq!(Some(Failure::from(before)), failed("no", Some("other")));
}
