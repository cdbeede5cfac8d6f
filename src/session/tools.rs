//! Tool calls: what the model asked for, paired with what Codex recorded and what the model was shown.

use super::model::{Outcome, Session, Step, ToolCall, ToolFacts, ToolRequest};
use super::outcome;
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
pub(super) struct ToolIndex(HashMap<String, CallAt>);

#[derive(Clone, Copy, Debug)]
struct CallAt {
    step: StepAt,
    /// Its place among what a script called.
    nested: Option<usize>,
}

impl ToolIndex {
    pub(super) fn contains(&self, call_id: &str) -> bool {
        self.0.contains_key(call_id)
    }

    /// How many calls there are: the name of a call that Codex gave none.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn register(&mut self, call_id: String, place: StepAt) {
        self.0.insert(call_id, CallAt { step: place, nested: None });
    }

    /// The output that the model was shown. What Codex recorded itself is exact and stays.
    pub(super) fn answer(&self, session: &mut Session, call_id: &str, output: &str, at: Option<Timestamp>) {
        let Some(call) = self.call(session, call_id) else {
            return;
        };
        call.output = Some(output.to_owned());
        call.ended_at = call.ended_at.or(at);
        call.facts.exit_code = call.facts.exit_code.or_else(|| outcome::exit_code_in(output));
        if call.outcome == Outcome::Running {
            call.outcome = outcome::of_output(output, call.facts.exit_code);
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
        record.facts.duration =
            record.started_at.zip(record.ended_at).map(|(from, to)| to.duration_since(from));
        if let Some(call) = self.call(session, &record.call_id) {
            add_record(call, record);
            return;
        }
        if record.call_id.starts_with(NESTED_CALL_PREFIX)
            && let Some((step, script)) = script_of(&mut session.turns[turn].steps, &record)
        {
            let place = CallAt { step: StepAt { turn, step }, nested: Some(script.nested.len()) };
            self.0.insert(record.call_id.clone(), place);
            script.nested.push(record);
            return;
        }
        let steps = &mut session.turns[turn].steps;
        self.register(record.call_id.clone(), StepAt { turn, step: steps.len() });
        steps.push(Step::ToolCall(Box::new(record)));
    }

    /// The request of a call whose record came first.
    pub(super) fn describe(&self, session: &mut Session, request: ToolCall) {
        if let Some(call) = self.call(session, &request.call_id) {
            call.arguments = request.arguments;
        }
    }

    fn call<'a>(&self, session: &'a mut Session, call_id: &str) -> Option<&'a mut ToolCall> {
        let CallAt { step: StepAt { turn, step }, nested } = *self.0.get(call_id)?;
        let Step::ToolCall(call) = session.turns.get_mut(turn)?.steps.get_mut(step)? else {
            return None;
        };
        match nested {
            None => Some(call),
            Some(index) => call.nested.get_mut(index),
        }
    }
}

/// The script that made the call: the last one that was there when it began. What an earlier script left
/// running is recorded while a later one runs.
fn script_of<'a>(steps: &'a mut [Step], record: &ToolCall) -> Option<(usize, &'a mut ToolCall)> {
    let is_script = |step: &Step| matches!(step, Step::ToolCall(call) if call.name == SCRIPT_TOOL);
    let was_there = |step: &Step| matches!(step, Step::ToolCall(call) if call.started_at <= record.started_at || record.started_at.is_none());
    let made_it = steps.iter().rposition(|step| is_script(step) && was_there(step));
    let index = made_it.or_else(|| steps.iter().rposition(is_script))?;
    match &mut steps[index] {
        Step::ToolCall(script) => Some((index, script)),
        _ => None,
    }
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
        Item::UserMessage(_)
        | Item::ContextCompaction
        | Item::EnteredReviewMode(_)
        | Item::ExitedReviewMode
        | Item::Echo
        | Item::Unknown { .. } => None,
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
    call.outcome = outcome::of_status(change.status.as_deref(), said);
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
    call.outcome = outcome::of_status(status, said);
    call.facts.mcp_result = mcp.result.or(mcp.error);
    call
}

fn call_record(item: CallItem, name: &str) -> ToolCall {
    let mut call = running(item.id, item.tool.unwrap_or_else(|| name.to_owned()), Value::Null);
    call.outcome = outcome::of_status(item.status.as_deref(), None);
    call
}

pub(super) fn time(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
