//! What the recorded files do not show of older Codexes: copied histories, events of their own for tools, turns taken
//! back, streams that broke off.

use codex_session::session::model::{Outcome, Session, Step, ToolCall, TurnStatus};
use codex_session::session::reducer::SessionReducer;
use codex_session::session::{self, Writer};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fs;

const OWN: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
/// Made an hour before.
const OTHER: &str = "01a2027f-b8be-7ee3-8243-251c871b1d4f";

/// Lines of an envelope, each ten milliseconds after the one before.
struct Lines {
    lines: Vec<Value>,
    at: Timestamp,
}

impl Lines {
    fn new() -> Lines {
        Lines { lines: Vec::new(), at: "2026-11-22T10:04:15Z".parse().expect("a time") }
    }

    fn of(id: &str) -> Lines {
        Lines::new().line("session_meta", json!({"id": id, "cli_version": "1.19.2"}))
    }

    fn pause(mut self, millis: i64) -> Lines {
        self.at += SignedDuration::from_millis(millis);
        self
    }

    fn line(mut self, kind: &str, payload: Value) -> Lines {
        self.lines.push(json!({"timestamp": self.at.to_string(), "type": kind, "payload": payload}));
        self.pause(10)
    }

    fn event(self, payload: Value) -> Lines {
        self.line("event_msg", payload)
    }

    fn item(self, payload: Value) -> Lines {
        self.line("response_item", payload)
    }

    fn prompt(self, text: &str) -> Lines {
        self.item(json!({"type": "message", "role": "user", "content": text}))
            .event(json!({"type": "user_message", "message": text, "kind": "plain"}))
    }

    /// A request, what it answers, and the count after it.
    fn answer(self, text: &str, total: u64, last: u64) -> Lines {
        self.line("turn_context", json!({"model": "gpt-5"}))
            .item(json!({"type": "message", "role": "assistant", "content": text}))
            .count(total, last)
    }

    fn count(self, total: u64, last: u64) -> Lines {
        let usage =
            |input: u64| json!({"input_tokens": input, "output_tokens": 1, "total_tokens": input + 1});
        let mut total = usage(total);
        // Each response counted one token.
        total["output_tokens"] = json!(total["input_tokens"].as_u64().unwrap_or(0) / 10);
        let mut last = usage(last);
        last["output_tokens"] = json!(last["input_tokens"].as_u64().unwrap_or(0) / 10);
        self.event(
            json!({"type": "token_count", "info": {"total_token_usage": total, "last_token_usage": last}}),
        )
    }

    fn call(self, call_id: &str, name: &str, arguments: &str, output: &str) -> Lines {
        self.item(json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}))
            .item(json!({"type": "function_call_output", "call_id": call_id, "output": output}))
    }

    fn session(self) -> Session {
        let mut reducer = SessionReducer::default();
        self.lines.iter().for_each(|line| reducer.observe(line.to_string().as_bytes()));
        let session = reducer.finish();
        assert!(session.unknown_lines.is_empty(), "{:?}", session.unknown_lines);
        session
    }
}

fn prompts(session: &Session) -> Vec<&str> {
    session.turns.iter().filter_map(|turn| turn.prompt.as_deref()).collect()
}

fn inputs(session: &Session) -> Vec<Option<u64>> {
    session.inferences().map(|inference| inference.usage.map(|usage| usage.input)).collect()
}

fn calls(session: &Session) -> Vec<&ToolCall> {
    let steps = session.turns.iter().flat_map(|turn| &turn.steps);
    steps
        .filter_map(|step| match &**step {
            Step::ToolCall(call) => Some(&**call),
            _ => None,
        })
        .collect()
}

#[test]
fn a_resume_that_copied_the_old_file_traces_only_what_is_new() {
    for (goes_on_at, name) in [(0, "the counter begins anew"), (40, "the counter goes on")] {
        let session = Lines::of(OWN)
            .line("session_meta", json!({"id": OTHER}))
            .prompt("old")
            .answer("yes", 10, 10)
            .answer("and", 40, 30)
            .pause(2000)
            .prompt("new")
            .answer("done", goes_on_at + 20, 20)
            .session();
        assert_eq!(session.meta.id, OWN);
        assert_eq!(prompts(&session), ["new"], "{name}");
        assert_eq!(inputs(&session), [Some(20)], "{name}");
        assert_eq!(session.tokens_reconcile(), Some(true), "{name}");
    }
}

#[test]
fn a_prompt_alone_begins_a_turn_and_the_next_one_or_the_files_end_ends_it() {
    let lines = || Lines::of(OWN).prompt("one").answer("first", 10, 10).prompt("two");
    let answered = lines().answer("second", 30, 20).session();
    assert_eq!(
        answered.turns.iter().map(|turn| (&turn.status, turn.final_answer.as_deref())).collect::<Vec<_>>(),
        [(&TurnStatus::Completed, Some("first")), (&TurnStatus::Completed, Some("second"))]
    );
    assert_eq!(lines().session().turns[1].status, TurnStatus::Lost, "nothing was said");
    let asked =
        lines().line("turn_context", json!({"model": "gpt-5"})).call("c", "shell", "{}", "x").session();
    assert_eq!(asked.turns[1].status, TurnStatus::Lost, "it had asked for a tool");
    let aborted = lines().event(json!({"type": "turn_aborted", "reason": "interrupted"})).session();
    assert_eq!(aborted.turns[1].status, TurnStatus::Interrupted { reason: "interrupted".into() });
}

#[test]
fn text_before_an_interruption_is_kept_without_its_own_line() {
    let session = Lines::of(OWN)
        .prompt("go")
        .line("turn_context", json!({"model": "gpt-5"}))
        .event(json!({"type": "agent_message", "message": "I was about to"}))
        .event(json!({"type": "turn_aborted", "reason": "interrupted"}))
        .session();
    let texts: Vec<_> = session.inferences().map(|inference| inference.texts.clone()).collect();
    assert_eq!(texts, [["I was about to"]]);
}

#[test]
fn prompts_that_were_taken_back_are_marked_and_their_tokens_were_spent() {
    let session = Lines::of(OWN)
        .prompt("one")
        .answer("first", 10, 10)
        .prompt("two")
        .answer("second", 30, 20)
        .event(json!({"type": "thread_rolled_back", "num_turns": 1}))
        .prompt("instead")
        .answer("third", 60, 30)
        .session();
    let marks: Vec<bool> = session.turns.iter().map(|turn| turn.is_taken_back).collect();
    assert_eq!(marks, [false, true, false]);
    assert_eq!(
        (inputs(&session), session.tokens_reconcile()),
        (vec![Some(10), Some(20), Some(30)], Some(true))
    );
}

#[test]
fn a_count_that_comes_before_the_words_and_again_with_the_next_request_is_of_one_response() {
    let session = Lines::of(OWN)
        .prompt("go")
        .line("turn_context", json!({"model": "gpt-5"}))
        .event(json!({"type": "token_count", "info": null}))
        .count(10, 10)
        .call("a", "shell", "{}", "x")
        .call("b", "shell", "{}", "y")
        .line("turn_context", json!({"model": "gpt-5"}))
        .count(10, 10)
        .count(30, 20)
        .item(json!({"type": "message", "role": "assistant", "content": "done"}))
        .session();
    assert_eq!(inputs(&session), [Some(10), Some(20)]);
    let requests: Vec<usize> = session.inferences().map(|inference| inference.requests.len()).collect();
    assert_eq!(requests, [2, 0]);
    assert_eq!(session.turns[0].status, TurnStatus::Completed);
}

#[test]
fn a_model_that_is_asked_again_without_news_had_broken_off() {
    let started = |id: &str| json!({"type": "task_started", "turn_id": id});
    let say = |text: &str| json!({"type": "message", "role": "assistant", "content": text});
    let session = Lines::of(OWN)
        .event(started("t"))
        .prompt("go")
        .item(say("I th"))
        .count(0, 0)
        .item(say("I thi"))
        .event(json!({"type": "token_count", "info": null}))
        .item(say("I think"))
        .count(10, 10)
        .event(json!({"type": "task_complete", "turn_id": "t", "last_agent_message": "I think"}))
        .session();
    let has_broken_off: Vec<bool> = session.inferences().map(|inference| inference.has_broken_off).collect();
    assert_eq!(has_broken_off, [true, true, false]);
    assert_eq!(inputs(&session), [None, None, Some(10)]);
}

#[test]
fn the_ends_of_old_events_are_exact() {
    let took = json!({"secs": 0, "nanos": 7_000_000});
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "t"}))
        .prompt("go")
        .item(json!({"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}"}))
        .event(json!({"type": "exec_command_end", "call_id": "c1", "turn_id": "t", "command": ["ls"], "cwd": "/w",
            "stdout": "", "stderr": "no", "aggregated_output": "no", "exit_code": 2, "duration": took, "status": "failed"}))
        .item(json!({"type": "function_call_output", "call_id": "c1", "output": "Exit code: 2\nWall time: 9 seconds\nOutput:\nno"}))
        .item(json!({"type": "custom_tool_call", "call_id": "script", "name": "exec", "input": "x"}))
        .event(json!({"type": "mcp_tool_call_end", "call_id": "exec-1", "result": {"Err": "gone"}, "duration": took,
            "invocation": {"server": "s", "tool": "add", "arguments": {"a": 1}}}))
        .event(json!({"type": "patch_apply_end", "call_id": "exec-2", "stdout": "Success", "stderr": "", "success": true,
            "changes": {"/w/a": {"type": "add", "content": "x"}}}))
        .item(json!({"type": "custom_tool_call_output", "call_id": "script", "output": "Script completed\nWall time 0.1 seconds\nOutput:\n"}))
        .session();
    let calls = calls(&session);
    let [command, script] = calls[..] else { panic!("{calls:?}") };
    assert_eq!(command.facts.exit_code, Some(2));
    assert_eq!(command.facts.duration, Some(SignedDuration::from_millis(7)));
    assert_eq!(command.facts.printed.as_deref(), Some("no"));
    assert_eq!(command.outcome, Outcome::Failed { message: "exit code 2".into() });
    let ended = command.ended_at.expect("an end");
    assert_eq!(command.started_at, Some(ended - SignedDuration::from_millis(7)));
    let nested: Vec<_> = script.nested.iter().map(|call| (&*call.name, &call.outcome)).collect();
    assert_eq!(
        nested,
        [("mcp__s__add", &Outcome::Failed { message: "gone".into() }), ("apply_patch", &Outcome::Ok)]
    );
    assert_eq!(script.nested[0].server.as_deref(), Some("s"));
    assert!(script.nested[1].facts.changes.is_some());
}

#[test]
fn an_old_review_is_answered_by_codex_and_not_by_a_response() {
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "t"}))
        .event(json!({"type": "entered_review_mode", "user_facing_hint": "current changes"}))
        .event(json!({"type": "exited_review_mode", "review_output": null}))
        .item(json!({"type": "message", "role": "assistant", "content": "all good"}))
        .event(json!({"type": "agent_message", "message": "all good"}))
        .event(json!({"type": "task_complete", "turn_id": "t", "last_agent_message": null}))
        .session();
    assert_eq!((prompts(&session), session.inferences().count()), (vec!["[review current changes]"], 0));
    assert_eq!(session.turns[0].final_answer.as_deref(), Some("all good"));
}

#[test]
fn a_call_that_a_user_refused_is_denied_and_not_failed() {
    let refused = "exec command rejected by user";
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "t"}))
        .prompt("go")
        .call("c", "shell", "{\"command\":[\"rm\"]}", refused)
        .session();
    assert_eq!(calls(&session)[0].outcome, Outcome::Denied { message: refused.into() });
}

#[test]
fn the_reason_of_a_failed_turn_is_shown_where_its_end_lacks_it() {
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "t"}))
        .prompt("go")
        .event(json!({"type": "error", "message": "stream disconnected", "codex_error_info": "other"}))
        .event(json!({"type": "task_complete", "turn_id": "t", "last_agent_message": null}))
        .session();
    let failed = TurnStatus::Failed { message: "stream disconnected".into(), kind: Some("other".into()) };
    assert_eq!(session.turns[0].status, failed);
}

#[test]
fn a_model_that_is_switched_counts_from_the_next_response() {
    let session = Lines::of(OWN)
        .prompt("one")
        .answer("first", 10, 10)
        .prompt("two")
        .line("turn_context", json!({"model": "gpt-6", "effort": "high"}))
        .item(json!({"type": "message", "role": "assistant", "content": "second"}))
        .session();
    let models = session.inferences().map(|it| (it.model.as_deref(), it.effort.as_deref()));
    assert_eq!(models.collect::<Vec<_>>(), [(Some("gpt-5"), None), (Some("gpt-6"), Some("high"))]);
}

#[test]
fn a_document_of_the_first_codex_is_a_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("rollout-2025-05-01-{OWN}.json"));
    let text = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
    let document = json!({
        "session": {"timestamp": "2025-05-01T10:00:00.000Z", "id": OWN, "instructions": ""},
        "items": [
            text("user", "list"),
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "shell", "arguments": "{\"command\":[\"ls\"]}"},
            {"type": "function_call_output", "call_id": "c",
                "output": "{\"output\":\"a\\n\",\"metadata\":{\"exit_code\":0,\"duration_seconds\":0.1}}"},
            text("assistant", "one file"),
        ],
    });
    fs::write(&path, serde_json::to_string_pretty(&document).expect("JSON")).expect("a file");
    let session = session::read(&path, Writer::Gone).expect("a session");
    assert_eq!((prompts(&session), session.is_bare), (vec!["list"], true));
    assert_eq!(session.turns[0].final_answer.as_deref(), Some("one file"));
    assert_eq!(calls(&session)[0].facts.printed.as_deref(), Some("a\n"));
    assert_eq!((session.inferences().count(), session.bad_lines), (2, 0));
}

/// Milliseconds after the first line of all.
fn after_start(at: Option<Timestamp>) -> i64 {
    let start: Timestamp = "2026-11-22T10:04:15Z".parse().expect("a time");
    at.expect("a time").duration_since(start).as_millis().try_into().expect("few")
}

#[test]
fn a_command_that_slept_with_the_machine_began_before_its_own_first_output() {
    // Codex's clock stopped for 80 minutes: it measured 90 seconds.
    let end = json!({"type": "exec_command_end", "call_id": "c1", "turn_id": "a", "command": ["bash", "-lc", "serve"],
        "cwd": "/w", "stdout": "", "stderr": "", "aggregated_output": "up", "exit_code": 0,
        "duration": {"secs": 90, "nanos": 0}});
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "a"}))
        .prompt("serve")
        .call(
            "c1",
            "exec_command",
            "{\"cmd\":\"serve\"}",
            "Chunk ID: 0b\nWall time: 0.01 seconds\nProcess running with session ID 7\nOutput:\nup",
        )
        .item(json!({"type": "message", "role": "assistant", "content": "it serves"}))
        .event(json!({"type": "task_complete", "turn_id": "a", "last_agent_message": "it serves"}))
        .pause(80 * 60_000)
        .event(json!({"type": "task_started", "turn_id": "b"}))
        .prompt("stop")
        .event(end.clone())
        .session();
    let command = calls(&session)[0];
    assert_eq!(after_start(command.started_at), 40, "asked for, and not 80 minutes later");
    assert!(after_start(command.ended_at) > 80 * 60_000);
    assert_eq!(command.facts.duration, Some(SignedDuration::from_secs(90)), "as Codex measured it");
    // Within its own turn the measure is exact, but for what the lines rule out.
    for (nanos, began) in [(5_000_000, 45), (40_000_000, 40)] {
        let mut end = end.clone();
        end["duration"] = json!({"secs": 0, "nanos": nanos});
        let session = Lines::of(OWN)
            .event(json!({"type": "task_started", "turn_id": "a"}))
            .prompt("serve")
            .item(
                json!({"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"}),
            )
            .event(end)
            .session();
        assert_eq!(after_start(calls(&session)[0].started_at), began);
    }
}

#[test]
fn nothing_that_a_script_called_began_before_the_script_or_its_turn() {
    let long = json!({"secs": 900, "nanos": 0});
    let session = Lines::of(OWN)
        .event(json!({"type": "task_started", "turn_id": "a"}))
        .prompt("go")
        .item(json!({"type": "custom_tool_call", "call_id": "script", "name": "exec", "input": "x"}))
        .event(json!({"type": "mcp_tool_call_end", "call_id": "exec-1", "result": {"Ok": {}}, "duration": long,
            "invocation": {"server": "s", "tool": "add", "arguments": {}}}))
        .event(json!({"type": "exec_command_end", "call_id": "lone", "command": ["ls"], "exit_code": 0, "duration": long}))
        .session();
    let calls = calls(&session);
    assert_eq!(after_start(calls[0].nested[0].started_at), 40);
    assert_eq!(after_start(calls[1].started_at), 10);
}

#[test]
fn a_review_whose_reviewer_begins_and_ends_under_other_ids_is_one_turn() {
    let enter = |lines: Lines| {
        lines.event(json!({"type": "entered_review_mode", "user_facing_hint": "look for contradictions"}))
    };
    let begin = |lines: Lines, id: &str| lines.event(json!({"type": "task_started", "turn_id": id}));
    let said = json!({"type": "user_message", "message": "look for contradictions", "images": []});
    let reviewed = |lines: Lines| {
        lines
            .event(said.clone())
            .event(said.clone())
            .event(json!({"type": "exited_review_mode", "review_output": {"findings": []}}))
            .item(json!({"type": "message", "role": "assistant", "content": "none"}))
            .event(json!({"type": "agent_message", "message": "none"}))
    };
    let begun = || begin(Lines::of(OWN), "a").prompt("hello").answer("hi", 10, 10);
    let before =
        || begun().event(json!({"type": "task_complete", "turn_id": "a", "last_agent_message": "hi"}));
    let end = |lines: Lines, id: &str| {
        lines.event(json!({"type": "task_complete", "turn_id": id, "last_agent_message": null}))
    };
    let table = [
        ("0.104", end(reviewed(begin(enter(before()), "reviewer")), "another")),
        ("the reviewer's id", end(reviewed(begin(enter(before()), "reviewer")), "reviewer")),
        ("begun first", end(reviewed(begin(enter(begin(before(), "b")), "reviewer")), "b")),
        ("begun once", end(reviewed(enter(begin(before(), "b"))), "b")),
        ("never ended", reviewed(enter(before()))),
    ];
    for (name, lines) in table {
        let session = end(begin(lines, "z").prompt("thanks").answer("ok", 20, 10), "z").session();
        let turns: Vec<_> = session
            .turns
            .iter()
            .map(|turn| (turn.prompt.as_deref(), turn.final_answer.as_deref(), &turn.status))
            .collect();
        let turn = |prompt, answer| (Some(prompt), Some(answer), &TurnStatus::Completed);
        let expected =
            [turn("hello", "hi"), turn("[review look for contradictions]", "none"), turn("thanks", "ok")];
        assert_eq!(turns, expected, "{name}");
    }
    // Cut off, and Codex was started again: what is asked then is another turn.
    let session = begin(begin(enter(before()), "reviewer"), "z").prompt("thanks").answer("ok", 20, 10);
    let session = end(session, "z").session();
    assert_eq!(prompts(&session), ["hello", "[review look for contradictions]", "thanks"]);
    assert_eq!(session.turns[1].status, TurnStatus::Lost);
}

#[test]
fn a_file_that_begins_with_its_compaction_has_the_turns_that_were_asked_for() {
    let compacted = |lines: Lines| lines.line("compacted", json!({"message": "so far"}));
    let context = || json!({"type": "item_completed", "turn_id": "gone", "item": {"type": "ContextCompaction", "id": "c"}});
    let usage = json!({"input_tokens": 70, "output_tokens": 5});
    let record = json!({"usage": usage, "thread_token_usage": usage});
    let table = [
        ("alone", compacted(Lines::of(OWN))),
        ("twice", compacted(compacted(Lines::of(OWN)))),
        ("with its item", compacted(Lines::of(OWN)).event(context())),
        ("with its usage", compacted(Lines::of(OWN).line("token_usage_record", record)).count(70, 70)),
    ];
    for (name, lines) in table {
        let session = lines
            .event(json!({"type": "task_started", "turn_id": "a"}))
            .prompt("after")
            .answer("yes", 100, 30)
            .event(json!({"type": "task_complete", "turn_id": "a", "last_agent_message": "yes"}))
            .session();
        assert_eq!((prompts(&session), session.turns.len()), (vec!["after"], 1), "{name}");
        assert_eq!(session.turns[0].status, TurnStatus::Completed, "{name}");
        assert_eq!((session.tokens_reconcile(), inputs(&session)), (Some(true), vec![Some(30)]), "{name}");
        let began = session.turns[0].started_at;
        let compactions: Vec<_> = session.turns[0]
            .steps
            .iter()
            .filter_map(|step| match &**step {
                Step::Compaction(compaction) => Some(compaction.started_at),
                _ => None,
            })
            .collect();
        assert_eq!(compactions, vec![began; if name == "twice" { 2 } else { 1 }], "{name}");
    }
    let nothing = compacted(Lines::of(OWN)).event(context()).count(5, 5).session();
    assert_eq!(nothing.turns, []);
}
