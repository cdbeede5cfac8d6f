//! A tool call from one line: as the model requested it, as Codex recorded it, or as Codex reported it to the
//! model.

use super::model::{Outcome, ToolCall, ToolFacts, ToolRequest};
use super::{outcome, shell};
use crate::rollout::completed_item::{CallItem, CommandExecution, FileChange, Item, McpToolCall};
use crate::rollout::content::text_of;
use crate::rollout::rollout_item::ResponseItem;
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::Timestamp;

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
    let mcp = mcp_called(&name, namespace.as_deref());
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

fn running(call_id: Text, name: Text, arguments: Value) -> ToolCall {
    ToolCall { call_id, name, arguments, ..ToolCall::default() }
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
        duration: command.duration.and_then(|took| took.try_into().ok()),
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
    let name = mcp.server.as_deref().map_or(mcp.tool.clone(), |server| qualified(server, &mcp.tool));
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
    call.facts.duration = mcp.duration.and_then(|took| took.try_into().ok());
    call
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

/// Begins the name of a tool of an MCP server, the same for all versions: `mcp__<server>__<tool>`.
///
/// Models use this name up to 0.168, in code mode also later, and other coding agents use it in their traces. Since
/// 0.169 a model's call has the server in its namespace. Codex's own records always have the two apart.
const PREFIX: &str = "mcp__";

const BETWEEN: &str = "__";

pub(super) fn is_qualified(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// As Codex forms the name: characters that a tool's name must not hold become `_`.
fn qualified(server: &str, tool: &str) -> Text {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let name: String = format!("{PREFIX}{server}{BETWEEN}{tool}").chars().map(plain).collect();
    name.into()
}

/// The qualified name and the server of a call; None for one of another tool.
fn mcp_called(name: &str, namespace: Option<&str>) -> Option<(Text, Text)> {
    if let Some(server) = namespace.and_then(|namespace| namespace.strip_prefix(PREFIX)) {
        let server = server.trim_end_matches('_');
        return Some((qualified(server, name), server.into()));
    }
    let (server, _) = name.strip_prefix(PREFIX)?.split_once(BETWEEN)?;
    Some((name.into(), server.into()))
}

/// A command that the user ran with `!`, from the message that reports it to the model. Since 0.150 Codex also records
/// it. None for any other message.
pub(super) fn user_shell(text: &str, nth: usize, at: Option<Timestamp>) -> Option<ToolCall> {
    let report = text.trim().strip_prefix("<user_shell_command>")?.strip_suffix("</user_shell_command>")?;
    let command = between(report, "<command>", "</command>")?.trim();
    let result = between(report, "<result>", "</result>").unwrap_or_default();
    let (head, printed) = result.split_once("Output:\n").unwrap_or((result, ""));
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let arguments = [(shell::COMMAND, command.into())];
    let mut call = running(format!("user_shell-{nth}").into(), Text::word("user_shell"), arguments.into());
    call.facts.exit_code = field("Exit code: ").and_then(|code| code.parse().ok());
    call.facts.duration = field("Duration: ").and_then(outcome::seconds);
    call.facts.printed = Some(printed.strip_suffix('\n').unwrap_or(printed).into());
    call.ended_at = at;
    call.started_at = call.facts.duration.and_then(|took| at?.checked_sub(took).ok()).or(at);
    call.outcome = call.facts.exit_code.map_or(Outcome::Ok, outcome::of_exit_code);
    Some(call)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.rfind(to)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
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

    #[test]
    fn a_tool_of_a_server_has_one_name_in_all_versions() {
        let table = [
            ("add", Some("mcp__tiny"), Some(("mcp__tiny__add", "tiny"))),
            ("add", Some("mcp__tiny__"), Some(("mcp__tiny__add", "tiny"))),
            ("mcp__tiny__add", None, Some(("mcp__tiny__add", "tiny"))),
            ("mcp__tiny__add__all", None, Some(("mcp__tiny__add__all", "tiny"))),
            ("spawn_agent", Some("collaboration"), None),
            ("add", None, None),
            ("mcp__add", None, None),
        ];
        for (name, namespace, parts) in table {
            let parts = parts.map(|(name, server)| (Text::from(name), Text::from(server)));
            assert_eq!(mcp_called(name, namespace), parts, "{name} {namespace:?}");
        }
        assert_eq!(qualified("tiny", "add"), "mcp__tiny__add");
        assert_eq!(qualified("my server", "a.b-c"), "mcp__my_server__a_b-c");
    }

    #[test]
    fn a_report_of_the_users_command_becomes_a_finished_call() {
        let text = "<user_shell_command>\n<command>\nls x\n</command>\n<result>\nExit code: 2\nDuration: 0.5000 seconds\nOutput:\nno x\n\n</result>\n</user_shell_command>";
        let at = "2026-11-22T10:00:01Z".parse().ok();
        let call = user_shell(text, 4, at).unwrap();
        assert_eq!((&*call.call_id, &*call.name), ("user_shell-4", "user_shell"));
        assert_eq!(call.arguments, json!({"cmd": "ls x"}));
        assert_eq!(call.facts.exit_code, Some(2));
        assert_eq!(call.facts.duration, Some(SignedDuration::from_millis(500)));
        assert_eq!(call.facts.printed.as_deref(), Some("no x\n"));
        assert_eq!(call.outcome, Outcome::Failed { message: "exit code 2".into() });
        assert_eq!(call.started_at, "2026-11-22T10:00:00.5Z".parse().ok());
        for other in ["ls", "<user_shell_command>", "<user_shell_command></user_shell_command>"] {
            assert_eq!(user_shell(other, 0, None), None, "{other}");
        }
    }
}
