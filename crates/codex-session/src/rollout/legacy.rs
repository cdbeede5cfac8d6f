//! Events of Codex 0.35 to 0.149, converted to the items that replaced them in 0.150.
//!
//! These versions record the ends of patches, MCP calls and searches. They record the ends of commands only where
//! Codex was asked to record more.

use super::completed_item::{
    CallItem, CommandExecution, FileChange, Item, ItemCompleted, McpToolCall, UserContent, UserMessage,
};
use super::fields::read;
use common::json::text::Text;
use common::json::value::Value;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
struct UserMessageEvent {
    message: String,
    /// Links or inline data.
    images: Option<Vec<String>>,
    local_images: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ExecCommandEnd {
    call_id: Text,
    #[serde(default)]
    command: Vec<Text>,
    cwd: Option<Text>,
    source: Option<Text>,
    status: Option<Text>,
    stdout: Option<Text>,
    stderr: Option<Text>,
    aggregated_output: Option<Text>,
    exit_code: Option<i64>,
    duration: Option<Duration>,
}

#[derive(Deserialize)]
struct PatchApplyEnd {
    call_id: Text,
    stdout: Option<Text>,
    stderr: Option<Text>,
    success: Option<bool>,
    /// 0.130 and later.
    changes: Option<Value>,
    status: Option<Text>,
}

#[derive(Deserialize)]
struct McpToolCallEnd {
    call_id: Text,
    invocation: McpInvocation,
    duration: Option<Duration>,
    /// `{"Ok": result}` or `{"Err": message}`.
    result: Option<McpOutcome>,
}

#[derive(Deserialize)]
struct McpInvocation {
    server: Option<Text>,
    tool: Text,
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct McpOutcome {
    #[serde(rename = "Ok")]
    ok: Option<Value>,
    #[serde(rename = "Err")]
    err: Option<Value>,
}

#[derive(Deserialize)]
struct CallEnd {
    call_id: Text,
    query: Option<Text>,
}

/// Which turn the event is of; 0.104 and later.
#[derive(Deserialize)]
struct OfTurn {
    turn_id: Option<String>,
}

/// None for another kind, or an unknown shape.
pub(super) fn parse(kind: &str, payload: &str) -> Option<ItemCompleted> {
    let item = match kind {
        "user_message" => Item::UserMessage(user_message(read(payload)?)),
        "exec_command_end" => Item::CommandExecution(command(read(payload)?)),
        "patch_apply_end" => Item::FileChange(change(read(payload)?)),
        "mcp_tool_call_end" => Item::McpToolCall(mcp_call(read(payload)?)),
        "web_search_end" => Item::WebSearch(call(read(payload)?)),
        "image_generation_end" => Item::ImageGeneration(call(read(payload)?)),
        "view_image_tool_call" => Item::ImageView(call(read(payload)?)),
        "entered_review_mode" => Item::EnteredReviewMode(read(payload)?),
        "exited_review_mode" => Item::ExitedReviewMode,
        _ => return None,
    };
    let of: Option<OfTurn> = read(payload);
    Some(ItemCompleted {
        thread_id: None,
        turn_id: of.and_then(|of| of.turn_id),
        started_at_ms: None,
        completed_at_ms: None,
        item,
    })
}

fn user_message(event: UserMessageEvent) -> UserMessage {
    let text = UserContent { r#type: "text".into(), text: Some(event.message), path: None };
    let image = |kind: &str, path| UserContent { r#type: kind.into(), text: None, path };
    // An inline image has no name.
    let linked = |url: String| image("image", Some(url).filter(|url| !url.starts_with("data:")));
    let images = event.images.unwrap_or_default().into_iter().map(linked);
    let local =
        event.local_images.unwrap_or_default().into_iter().map(|path| image("local_image", Some(path)));
    UserMessage { client_id: None, content: std::iter::once(text).chain(images).chain(local).collect() }
}

fn command(end: ExecCommandEnd) -> CommandExecution {
    let streams = || {
        let both: String = [end.stdout, end.stderr].into_iter().flatten().map(String::from).collect();
        Some(both).filter(|text| !text.is_empty()).map(Text::from)
    };
    CommandExecution {
        id: end.call_id,
        command: end.command,
        cwd: end.cwd,
        source: end.source,
        status: end.status,
        aggregated_output: end.aggregated_output.filter(|text| !text.is_empty()).or_else(streams),
        exit_code: end.exit_code,
        duration: end.duration,
    }
}

fn change(end: PatchApplyEnd) -> FileChange {
    let by_success = || end.success.map(|success| Text::word(if success { "completed" } else { "failed" }));
    FileChange {
        status: end.status.or_else(by_success),
        id: end.call_id,
        changes: end.changes,
        stdout: end.stdout,
        stderr: end.stderr,
    }
}

fn mcp_call(end: McpToolCallEnd) -> McpToolCall {
    let outcome = end.result.unwrap_or(McpOutcome { ok: None, err: None });
    McpToolCall {
        id: end.call_id,
        server: end.invocation.server,
        tool: end.invocation.tool,
        arguments: end.invocation.arguments,
        status: outcome.err.is_some().then(|| Text::word("failed")),
        result: outcome.ok,
        error: outcome.err,
        duration: end.duration,
    }
}

fn call(end: CallEnd) -> CallItem {
    CallItem { id: end.call_id, status: None, tool: None, query: end.query, receiver_thread_ids: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::event::Event;
    use crate::rollout::line::RolloutLine;
    use crate::rollout::rollout_item::RolloutItem;
    use serde_json::json;

    fn item(payload: serde_json::Value) -> Item {
        let line = json!({"type": "event_msg", "payload": payload}).to_string();
        match RolloutLine::parse(line.as_bytes()).unwrap().item {
            RolloutItem::Event(Event::ItemCompleted(completed)) => completed.item,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn old_events_become_the_items_of_today() {
        let elapsed = Some(Duration::from_millis(1500));
        let text = |text: &str| UserContent { r#type: "text".into(), text: Some(text.into()), path: None };
        let image = |kind: &str, path: Option<&str>| UserContent {
            r#type: kind.into(),
            text: None,
            path: path.map(str::to_owned),
        };
        let table = [
            (
                json!({"type": "user_message", "message": "look", "kind": "plain",
                    "images": ["data:image/png;base64,aGk=", "https://x/y.png"], "local_images": ["/a.png"]}),
                Item::UserMessage(UserMessage {
                    client_id: None,
                    content: vec![
                        text("look"),
                        image("image", None),
                        image("image", Some("https://x/y.png")),
                        image("local_image", Some("/a.png")),
                    ],
                }),
            ),
            (
                json!({"type": "exec_command_end", "call_id": "c", "turn_id": "t", "command": ["ls"], "cwd": "/w",
                    "stdout": "a\n", "stderr": "b\n", "aggregated_output": "", "exit_code": 3,
                    "duration": {"secs": 1, "nanos": 500_000_000}, "status": "failed"}),
                Item::CommandExecution(CommandExecution {
                    id: "c".into(),
                    command: vec!["ls".into()],
                    cwd: Some("/w".into()),
                    source: None,
                    status: Some("failed".into()),
                    aggregated_output: Some("a\nb\n".into()),
                    exit_code: Some(3),
                    duration: elapsed,
                }),
            ),
            (
                json!({"type": "patch_apply_end", "call_id": "c", "stdout": "", "stderr": "no", "success": false}),
                Item::FileChange(FileChange {
                    id: "c".into(),
                    changes: None,
                    status: Some("failed".into()),
                    stdout: Some(Text::default()),
                    stderr: Some("no".into()),
                }),
            ),
            (
                json!({"type": "mcp_tool_call_end", "call_id": "c", "result": {"Err": "gone"},
                    "invocation": {"server": "s", "tool": "add", "arguments": {"a": 1}},
                    "duration": {"secs": 1, "nanos": 500_000_000}}),
                Item::McpToolCall(McpToolCall {
                    id: "c".into(),
                    server: Some("s".into()),
                    tool: "add".into(),
                    arguments: Some(json!({"a": 1}).into()),
                    status: Some("failed".into()),
                    result: None,
                    error: Some("gone".into()),
                    duration: elapsed,
                }),
            ),
            (
                json!({"type": "web_search_end", "call_id": "ws_1", "query": "rust"}),
                Item::WebSearch(CallItem {
                    id: "ws_1".into(),
                    status: None,
                    tool: None,
                    query: Some("rust".into()),
                    receiver_thread_ids: Vec::new(),
                }),
            ),
        ];
        for (payload, read) in table {
            assert_eq!(item(payload.clone()), read, "{payload}");
        }
    }
}
