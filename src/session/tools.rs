//! Tool calls: what the model asked for, paired with what Codex recorded and what the model was shown.

use super::model::{Outcome, Session, Step, ToolCall, ToolFacts, ToolRequest};
use super::reducer::StepAt;
use crate::rollout::event::{CallItem, CommandExecution, FileChange, Item, ItemCompleted, McpToolCall};
use crate::rollout::response_item::{ResponseItem, text_of};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Codex's name for the tool with which a model runs a script of its own (code mode).
const SCRIPT_TOOL: &str = "exec";

/// How Codex names what a script called; there is no link to the script's own call.
const NESTED_CALL_PREFIX: &str = "exec-";

/// Where each call of the thread stands.
#[derive(Clone, Debug, Default)]
pub(super) struct ToolIndex(HashMap<String, StepAt>);

impl ToolIndex {
    pub(super) fn contains(&self, call_id: &str) -> bool {
        self.0.contains_key(call_id)
    }

    /// How many calls there are: the name of a call that Codex gave none.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn register(&mut self, call_id: String, place: StepAt) {
        self.0.insert(call_id, place);
    }

    /// The output that the model was shown. What Codex recorded itself is exact and stays.
    pub(super) fn answer(&self, session: &mut Session, call_id: &str, output: &str, at: Option<Timestamp>) {
        let Some(call) = self.call(session, call_id) else {
            return;
        };
        call.output = Some(output.to_owned());
        call.ended_at = call.ended_at.or(at);
        call.facts.exit_code = call.facts.exit_code.or_else(|| exit_code_in(output));
        if call.outcome == Outcome::Running {
            call.outcome = outcome_of_output(output, call.facts.exit_code);
        }
    }

    /// Codex's record of a call: of one the model asked for, of one that its script made, or of a
    /// command that the user ran.
    pub(super) fn completed(&mut self, session: &mut Session, turn: usize, completed: ItemCompleted) {
        let Some(mut record) = record_of(completed.item) else {
            return;
        };
        record.started_at = time(completed.started_at_ms);
        record.ended_at = time(completed.completed_at_ms);
        if let Some(call) = self.call(session, &record.call_id) {
            add_record(call, record);
            return;
        }
        let nested = record.call_id.starts_with(NESTED_CALL_PREFIX);
        if let Some(script) = last_script(session, turn).filter(|_| nested) {
            script.nested.push(record);
            return;
        }
        let steps = &mut session.turns[turn].steps;
        self.register(record.call_id.clone(), StepAt { turn, step: steps.len() });
        steps.push(Step::ToolCall(record));
    }

    /// The request of a call whose record came first.
    pub(super) fn describe(&self, session: &mut Session, request: ToolCall) {
        if let Some(call) = self.call(session, &request.call_id) {
            call.arguments = request.arguments;
        }
    }

    fn call<'a>(&self, session: &'a mut Session, call_id: &str) -> Option<&'a mut ToolCall> {
        let place = self.0.get(call_id)?;
        match session.turns.get_mut(place.turn)?.steps.get_mut(place.step)? {
            Step::ToolCall(call) => Some(call),
            _ => None,
        }
    }
}

/// The script that was running in the turn when the record was written: scripts do not overlap.
fn last_script(session: &mut Session, turn: usize) -> Option<&mut ToolCall> {
    session.turns[turn].steps.iter_mut().rev().find_map(|step| match step {
        Step::ToolCall(call) if call.name == SCRIPT_TOOL => Some(call),
        _ => None,
    })
}

fn add_record(call: &mut ToolCall, record: ToolCall) {
    call.started_at = record.started_at.or(call.started_at);
    call.ended_at = record.ended_at.or(call.ended_at);
    call.server = record.server.or(call.server.take());
    call.facts = record.facts;
    if call.outcome != Outcome::Interrupted {
        call.outcome = record.outcome;
    }
}

/// The call as the model wrote it and as it will be filled in; None for an item that is no call.
pub(super) fn requested(
    item: ResponseItem,
    nth: usize,
    at: Option<Timestamp>,
) -> Option<(ToolRequest, ToolCall)> {
    // Only the model's side answers a web search, so it may carry no id.
    let unnamed = |id: Option<String>, kind: &str| id.unwrap_or_else(|| format!("{kind}-{nth}"));
    let json_text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    let (call_id, name, namespace, arguments) = match item {
        ResponseItem::FunctionCall(call) => (call.call_id, call.name, call.namespace, call.arguments),
        ResponseItem::CustomToolCall(call) => (call.call_id, call.name, None, call.input),
        ResponseItem::WebSearchCall(call) => {
            (unnamed(call.id, "web_search"), "web_search".into(), None, json_text(call.action))
        }
        ResponseItem::ToolSearchCall(call) => {
            (unnamed(call.call_id, "tool_search"), "tool_search".into(), None, json_text(call.arguments))
        }
        ResponseItem::LocalShellCall(call) => {
            (unnamed(call.call_id, "local_shell"), "local_shell".into(), None, json_text(call.action))
        }
        _ => return None,
    };
    let mut call = running(call_id.clone(), name.clone(), arguments_of(&arguments));
    call.server = namespace.and_then(|namespace| namespace.strip_prefix("mcp__").map(str::to_owned));
    call.started_at = at;
    if call.name == "web_search" {
        call.ended_at = at;
        call.outcome = Outcome::Ok;
    }
    Some((ToolRequest { call_id, name, arguments }, call))
}

/// Free text (a patch, a script) stands as `input`, as the Responses API calls it.
fn arguments_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => json!({ "input": text }),
    }
}

fn running(call_id: String, name: String, arguments: Value) -> ToolCall {
    ToolCall {
        call_id,
        name,
        server: None,
        arguments,
        started_at: None,
        ended_at: None,
        outcome: Outcome::Running,
        output: None,
        facts: ToolFacts::default(),
        nested: Vec::new(),
    }
}

fn record_of(item: Item) -> Option<ToolCall> {
    match item {
        Item::CommandExecution(command) => Some(command_record(command)),
        Item::FileChange(change) => Some(change_record(change)),
        Item::McpToolCall(call) => Some(mcp_record(call)),
        Item::WebSearch(call) => Some(call_record(call, "web_search")),
        Item::ImageView(call) => Some(call_record(call, "view_image")),
        Item::CollabAgentToolCall(call) => Some(call_record(call, "agents")),
        Item::UserMessage(_) | Item::ContextCompaction | Item::Echo | Item::Unknown { .. } => None,
    }
}

fn command_record(command: CommandExecution) -> ToolCall {
    let by_user = command.source.as_deref() == Some("user_shell");
    let name = if by_user { "user_shell" } else { "exec_command" };
    let mut call = running(command.id, name.into(), json!({ "command": command.command }));
    call.outcome = match (command.exit_code, command.status.as_deref()) {
        // Codex ended it; a shell's own codes are 0 to 255.
        (Some(-1), _) => Outcome::Interrupted,
        (Some(0), _) | (None, Some("completed")) => Outcome::Ok,
        (Some(code), _) => Outcome::Failed { message: format!("exit code {code}") },
        (None, status) => Outcome::Failed { message: status.unwrap_or("failed").to_owned() },
    };
    call.facts = ToolFacts {
        exit_code: command.exit_code,
        cwd: command.cwd.map(|uri| uri.strip_prefix("file://").map(str::to_owned).unwrap_or(uri)),
        printed: command.aggregated_output,
        ..ToolFacts::default()
    };
    call
}

fn change_record(change: FileChange) -> ToolCall {
    let paths: Vec<String> = change
        .changes
        .as_ref()
        .and_then(Value::as_object)
        .map_or_else(Vec::new, |by_path| by_path.keys().cloned().collect());
    let mut call = running(change.id, "apply_patch".into(), json!({ "paths": paths }));
    let said = change.stderr.filter(|text| !text.is_empty());
    call.outcome = outcome_of_status(change.status.as_deref(), said);
    call.facts = ToolFacts { printed: change.stdout, changes: change.changes, ..ToolFacts::default() };
    call
}

fn mcp_record(mcp: McpToolCall) -> ToolCall {
    let mut call = running(mcp.id, mcp.tool, mcp.arguments.unwrap_or_else(|| Value::Object(Map::new())));
    call.server = mcp.server;
    let said = match (&mcp.error, &mcp.result) {
        (Some(error), _) => Some(
            error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned),
        ),
        (None, Some(result)) => result.get("content").map(text_of),
        (None, None) => None,
    };
    let is_error = mcp.result.as_ref().and_then(|result| result.get("isError")).and_then(Value::as_bool);
    let status = if is_error == Some(true) { Some("failed") } else { mcp.status.as_deref() };
    call.outcome = outcome_of_status(status, said);
    call.facts.mcp_result = mcp.result.or(mcp.error);
    call
}

fn call_record(item: CallItem, name: &str) -> ToolCall {
    let mut call = running(item.id, item.tool.unwrap_or_else(|| name.to_owned()), Value::Null);
    call.outcome = outcome_of_status(item.status.as_deref(), None);
    call
}

fn outcome_of_status(status: Option<&str>, said: Option<String>) -> Outcome {
    match status {
        None | Some("completed") => Outcome::Ok,
        Some("in_progress") => Outcome::Running,
        Some(status) => Outcome::Failed { message: said.unwrap_or_else(|| status.to_owned()) },
    }
}

/// What the text for the model says of the call, where Codex recorded nothing else.
fn outcome_of_output(output: &str, exit_code: Option<i64>) -> Outcome {
    let failed = |message: &str| Outcome::Failed { message: message.to_owned() };
    match exit_code {
        Some(code) if code != 0 => return failed(&format!("exit code {code}")),
        _ => {}
    }
    if output.starts_with("aborted by user") || output.ends_with("\naborted by user") {
        Outcome::Interrupted
    } else if output.starts_with("unsupported call: ") || says_it_failed(output) {
        failed(output)
    } else if let Some((_, said)) =
        output.strip_prefix("Script failed\n").and_then(|rest| rest.split_once("Output:\n"))
    {
        failed(said.trim())
    } else {
        Outcome::Ok
    }
}

/// `exec_command failed: …`, `apply_patch verification failed: …`: Codex refused the call or could not
/// start it. What a program printed stands below a head and never at the beginning.
fn says_it_failed(output: &str) -> bool {
    output.split_once(": ").is_some_and(|(what, _)| what.ends_with(" failed") && what.split(' ').count() <= 3)
}

/// The exit code in the head that Codex puts over a command's output (`Process exited with code 3`
/// since 0.98, `Exit code: 3` before and for patches).
fn exit_code_in(output: &str) -> Option<i64> {
    let head = output.lines().take_while(|line| *line != "Output:").take(6);
    head.filter_map(|line| {
        line.strip_prefix("Process exited with code ").or(line.strip_prefix("Exit code: "))
    })
    .find_map(|code| code.parse().ok())
    .filter(|_| ["Chunk ID: ", "Wall time: ", "Exit code: "].iter().any(|start| output.starts_with(start)))
}

pub(super) fn time(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_the_model_tells_how_a_call_ended() {
        let failed = |message: &str| Outcome::Failed { message: message.into() };
        let table = [
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 3\nOutput:\nerr\n",
                Some(3),
                failed("exit code 3"),
            ),
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 0\nOutput:\n",
                Some(0),
                Outcome::Ok,
            ),
            ("Exit code: 1\nWall time: 0 seconds\nOutput:\nno such file", Some(1), failed("exit code 1")),
            ("a program says\nExit code: 7\n", None, Outcome::Ok),
            ("Wall time: 1 s\nOutput:\nExit code: 7\n", None, Outcome::Ok),
            ("aborted by user after 2.0s", None, Outcome::Interrupted),
            ("Wall time: 0.1 seconds\naborted by user", None, Outcome::Interrupted),
            ("unsupported call: update_plan", None, failed("unsupported call: update_plan")),
            (
                "Script failed\nWall time 0.0 seconds\nOutput:\n\nScript error:\nError: boom",
                None,
                failed("Script error:\nError: boom"),
            ),
            ("exec_command failed: CreateProcess", None, failed("exec_command failed: CreateProcess")),
            (
                "apply_patch verification failed: no such file",
                None,
                failed("apply_patch verification failed: no such file"),
            ),
            ("the test failed", None, Outcome::Ok),
            ("Script completed\nWall time 0.0 seconds\nOutput:\n", None, Outcome::Ok),
        ];
        for (output, exit_code, outcome) in table {
            assert_eq!(exit_code_in(output), exit_code, "{output}");
            assert_eq!(outcome_of_output(output, exit_code), outcome, "{output}");
        }
    }

    #[test]
    fn arguments_are_parsed_and_free_text_is_input() {
        let table = [
            (r#"{"cmd": "ls"}"#, json!({"cmd": "ls"})),
            ("*** Begin Patch", json!({"input": "*** Begin Patch"})),
            ("7", json!({"input": "7"})),
            ("", json!({"input": ""})),
        ];
        for (text, value) in table {
            assert_eq!(arguments_of(text), value);
        }
    }
}
