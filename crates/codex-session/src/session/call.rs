//! A tool call from one line: as the model requested it, or as Codex recorded it.

use super::model::{Outcome, ToolCall, ToolFacts, ToolRequest};
use super::{mcp, outcome, shell};
use crate::rollout::content::text_of;
use crate::rollout::item::{CallItem, CommandExecution, Elapsed, FileChange, Item, McpToolCall};
use crate::rollout::rollout_item::ResponseItem;
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::{SignedDuration, Timestamp};

/// Tools that the provider runs: they have no output line.
const WEB_SEARCH: &str = "web_search";
const IMAGE_GENERATION: &str = "image_generation";

/// The request as the model wrote it, and the call that later lines complete; None for an item that is no call.
pub(super) fn requested(
    item: ResponseItem,
    nth: usize,
    at: Option<Timestamp>,
) -> Option<(ToolRequest, ToolCall)> {
    // The provider runs these, so they may have no id.
    let unnamed = |id: Option<Text>, kind: &'static str, arguments: Option<Value>| {
        let id = id.unwrap_or_else(|| format!("{kind}-{nth}").into());
        let arguments = arguments.map(|value| value.to_string().into()).unwrap_or_default();
        (id, Text::word(kind), None, arguments)
    };
    let (call_id, name, namespace, text) = match item {
        ResponseItem::FunctionCall(call) => (call.call_id, call.name, call.namespace, call.arguments),
        ResponseItem::CustomToolCall(call) => (call.call_id, call.name, None, call.input),
        ResponseItem::WebSearchCall(call) => unnamed(call.id, WEB_SEARCH, call.action),
        ResponseItem::ToolSearchCall(call) => unnamed(call.call_id, "tool_search", call.arguments),
        ResponseItem::ImageGenerationCall(call) => {
            let prompt = call.revised_prompt.map(|prompt| Value::from([("prompt", prompt.into())]));
            unnamed(call.id, IMAGE_GENERATION, prompt)
        }
        ResponseItem::LocalShellCall(call) => unnamed(call.call_id, "local_shell", call.action),
        _ => return None,
    };
    let mcp = mcp::called(&name, namespace.as_deref());
    let name = mcp.as_ref().map_or(name, |(name, _)| name.clone());
    let (arguments, raw) = shell::arguments(&name, arguments_of(&text));
    let mut call = running(call_id.clone(), name.clone(), arguments);
    call.raw_arguments = raw;
    call.server = mcp.map(|(_, server)| server);
    call.started_at = at;
    if [WEB_SEARCH, IMAGE_GENERATION].contains(&&*call.name) {
        call.ended_at = at;
        call.outcome = Outcome::Ok;
    }
    Some((ToolRequest { call_id, name, arguments: text }, call))
}

/// Free text (a patch, a script) becomes `input`, its name in the Responses API.
fn arguments_of(text: &Text) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => [("input", text.into())].into(),
    }
}

pub(super) fn running(call_id: Text, name: Text, arguments: Value) -> ToolCall {
    ToolCall {
        call_id,
        name,
        server: None,
        arguments,
        raw_arguments: None,
        started_at: None,
        ended_at: None,
        outcome: Outcome::Running,
        output: None,
        facts: ToolFacts::default(),
        nested: Vec::new(),
    }
}

/// None for an item that is no call.
pub(super) fn record_of(item: Item) -> Option<ToolCall> {
    match item {
        Item::CommandExecution(command) => Some(command_record(command)),
        Item::FileChange(change) => Some(change_record(change)),
        Item::McpToolCall(call) => Some(mcp_record(call)),
        Item::WebSearch(call) => Some(call_record(call, WEB_SEARCH)),
        Item::ImageGeneration(call) => Some(call_record(call, IMAGE_GENERATION)),
        Item::ImageView(call) => Some(call_record(call, "view_image")),
        Item::CollabAgentToolCall(call) => Some(call_record(call, "agents")),
        _ => None,
    }
}

fn command_record(command: CommandExecution) -> ToolCall {
    let by_user = command.source.as_deref() == Some("user_shell");
    let name = if by_user { "user_shell" } else { "exec_command" };
    let words = command.command.into_iter().map(Value::from).collect();
    let (arguments, raw) = shell::arguments(name, [("command", Value::Array(words))].into());
    let mut call = running(command.id, Text::word(name), arguments);
    call.raw_arguments = raw;
    call.outcome = match (command.exit_code, command.status.as_deref()) {
        (_, Some("declined")) => outcome::of_status(Some("declined"), None),
        // Codex ended it; a shell's own codes are 0 to 255.
        (Some(-1), _) => Outcome::Interrupted,
        (Some(code), _) => outcome::of_exit_code(code),
        (None, status) => outcome::of_status(Some(status.unwrap_or("failed")), None),
    };
    call.facts = ToolFacts {
        exit_code: command.exit_code,
        duration: command.duration.map(measured),
        cwd: command.cwd.map(|uri| uri.strip_prefix("file://").map(Text::from).unwrap_or(uri)),
        printed: command.aggregated_output,
        ..ToolFacts::default()
    };
    call
}

fn change_record(change: FileChange) -> ToolCall {
    let by_path = change.changes.as_ref().and_then(Value::as_object);
    let paths = by_path.into_iter().flat_map(Map::keys).map(Value::from).collect();
    let mut call = running(change.id, Text::word("apply_patch"), [("paths", Value::Array(paths))].into());
    let message = change.stderr.filter(|text| !text.is_empty());
    call.outcome = outcome::of_status(change.status.as_deref(), message);
    call.facts = ToolFacts { printed: change.stdout, changes: change.changes, ..ToolFacts::default() };
    call
}

fn mcp_record(mcp: McpToolCall) -> ToolCall {
    let name = mcp.server.as_deref().map_or(mcp.tool.clone(), |server| mcp::qualified(server, &mcp.tool));
    let mut call = running(mcp.id, name, mcp.arguments.unwrap_or_else(|| Value::Object(Map::new())));
    call.server = mcp.server;
    let message = match (&mcp.error, &mcp.result) {
        (Some(error), _) => {
            let message = error.get("message").unwrap_or(error).as_text().cloned();
            Some(message.unwrap_or_else(|| error.to_string().into()))
        }
        (None, Some(result)) => result.get("content").map(text_of),
        (None, None) => None,
    };
    let is_error = mcp.result.as_ref().and_then(|result| result.get("isError")).and_then(Value::as_bool);
    let status = if is_error == Some(true) { Some("failed") } else { mcp.status.as_deref() };
    call.outcome = outcome::of_status(status, message);
    call.facts.mcp_result = mcp.result.or(mcp.error);
    call.facts.duration = mcp.duration.map(measured);
    call
}

fn measured(elapsed: Elapsed) -> SignedDuration {
    SignedDuration::from_secs(elapsed.secs.into()) + SignedDuration::from_nanos(elapsed.nanos.into())
}

fn call_record(item: CallItem, name: &'static str) -> ToolCall {
    let arguments = item.query.map_or(Value::Null, |query| [("query", query.into())].into());
    let mut call = running(item.id, item.tool.unwrap_or(Text::word(name)), arguments);
    call.outcome = outcome::of_status(item.status.as_deref(), None);
    if call.name == "spawn_agent" {
        call.facts.agents = item.receiver_thread_ids;
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_parsed_and_free_text_is_input() {
        let table = [
            (r#"{"cmd": "ls"}"#, json!({"cmd": "ls"})),
            ("*** Begin Patch", json!({"input": "*** Begin Patch"})),
            ("7", json!({"input": "7"})),
            ("", json!({"input": ""})),
        ];
        for (text, value) in table {
            assert_eq!(arguments_of(&Text::word(text)), value);
        }
    }
}
