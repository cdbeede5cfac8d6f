//! An item that Codex completed, parsed by its type: in one pass where the type comes first, as Codex writes it.

use super::fields::fitting;
use common::json::text::Text;
use common::json::value::Value;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// Exact times, in milliseconds since the epoch (0.150 and later). One pass parses what Codex writes: every field has
/// its expected type, and the item begins with its own type.
#[derive(Debug, PartialEq, Deserialize)]
pub struct ItemCompleted {
    pub thread_id: Option<String>,
    pub turn_id: Option<String>,
    pub started_at_ms: Option<i64>,
    pub completed_at_ms: Option<i64>,
    #[serde(deserialize_with = "type_first")]
    pub item: Item,
}

#[derive(Debug, PartialEq)]
pub enum Item {
    UserMessage(UserMessage),
    CommandExecution(CommandExecution),
    FileChange(FileChange),
    McpToolCall(McpToolCall),
    WebSearch(CallItem),
    ImageView(CallItem),
    ImageGeneration(CallItem),
    CollabAgentToolCall(CallItem),
    SubAgentActivity(SubAgentActivity),
    ContextCompaction,
    EnteredReviewMode(EnteredReviewMode),
    ExitedReviewMode,
    /// `AgentMessage`, `Reasoning`, `Plan` and `HookPrompt`: other lines repeat them.
    Echo,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct UserMessage {
    /// The client's own id of the prompt (0.150 and later).
    pub client_id: Option<String>,
    #[serde(default)]
    pub content: Vec<UserContent>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct UserContent {
    pub r#type: String,
    pub text: Option<String>,
    pub path: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct CommandExecution {
    pub id: Text,
    #[serde(default)]
    pub command: Vec<Text>,
    /// A `file://` URI.
    pub cwd: Option<Text>,
    /// `unified_exec_startup` for a tool's command, `user_shell` for `!cmd`.
    pub source: Option<Text>,
    pub status: Option<Text>,
    pub aggregated_output: Option<Text>,
    pub exit_code: Option<i64>,
    pub duration: Option<Duration>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct FileChange {
    pub id: Text,
    /// By path: `{"type": "add" | "update" | "delete", "content" or "unified_diff"}`.
    pub changes: Option<Value>,
    pub status: Option<Text>,
    pub stdout: Option<Text>,
    pub stderr: Option<Text>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct McpToolCall {
    pub id: Text,
    pub server: Option<Text>,
    pub tool: Text,
    pub arguments: Option<Value>,
    pub status: Option<Text>,
    pub result: Option<Value>,
    pub error: Option<Value>,
    pub duration: Option<Duration>,
}

/// A call with exact times; its response items have the rest.
#[derive(Debug, PartialEq, Deserialize)]
pub struct CallItem {
    pub id: Text,
    pub status: Option<Text>,
    /// Of a `CollabAgentToolCall` only.
    pub tool: Option<Text>,
    /// Of a search only.
    pub query: Option<Text>,
    /// Of a `CollabAgentToolCall` only: the threads that it started or wrote to.
    #[serde(default)]
    pub receiver_thread_ids: Vec<Text>,
}

/// Between a thread and the sub-agents that it started (multi-agent v2).
#[derive(Debug, PartialEq, Deserialize)]
pub struct SubAgentActivity {
    /// Of the call that started it, where `kind` is `started`.
    pub id: Text,
    pub kind: Option<String>,
    pub agent_thread_id: Option<String>,
}

/// A review runs in its own thread; the thread that asked for it records only this of its start.
#[derive(Debug, PartialEq, Deserialize)]
pub struct EnteredReviewMode {
    /// What is reviewed, for example `current changes`.
    pub user_facing_hint: Option<String>,
}

impl Item {
    /// A field of an odd type counts as absent. Err carries an unknown kind, or the kind of an unknown shape.
    fn from_value(item: serde_json::Value) -> Result<Item, String> {
        let kind = item["type"].as_str().unwrap_or("?").to_owned();
        fitting(item, |fields| Item::from_kind(&kind, fields)).ok_or(kind)
    }

    /// An error for an unknown kind, or an unknown shape of a known one.
    fn from_kind<'de, D: Deserializer<'de>>(kind: &str, fields: D) -> Result<Item, D::Error> {
        match kind {
            "UserMessage" => Deserialize::deserialize(fields).map(Item::UserMessage),
            "CommandExecution" => Deserialize::deserialize(fields).map(Item::CommandExecution),
            "FileChange" => Deserialize::deserialize(fields).map(Item::FileChange),
            "McpToolCall" => Deserialize::deserialize(fields).map(Item::McpToolCall),
            "WebSearch" => Deserialize::deserialize(fields).map(Item::WebSearch),
            "ImageView" => Deserialize::deserialize(fields).map(Item::ImageView),
            "ImageGeneration" => Deserialize::deserialize(fields).map(Item::ImageGeneration),
            "CollabAgentToolCall" => Deserialize::deserialize(fields).map(Item::CollabAgentToolCall),
            "SubAgentActivity" => Deserialize::deserialize(fields).map(Item::SubAgentActivity),
            "ContextCompaction" => Deserialize::deserialize(fields).map(|IgnoredAny| Item::ContextCompaction),
            "EnteredReviewMode" => Deserialize::deserialize(fields).map(Item::EnteredReviewMode),
            "ExitedReviewMode" => Deserialize::deserialize(fields).map(|IgnoredAny| Item::ExitedReviewMode),
            "AgentMessage" | "Reasoning" | "Plan" | "HookPrompt" => {
                Deserialize::deserialize(fields).map(|IgnoredAny| Item::Echo)
            }
            _ => Err(D::Error::custom("another item")),
        }
    }
}

impl ItemCompleted {
    /// A field of an odd type counts as absent. Err carries the kind of the line, with that of its item if it has one.
    pub(super) fn parse(payload: &str) -> Result<ItemCompleted, String> {
        if let Ok(plain) = serde_json::from_str(payload) {
            return Ok(plain);
        }
        let kind = "item_completed";
        let mut fields: serde_json::Value = serde_json::from_str(payload).map_err(|_| kind)?;
        let item = fields.get_mut("item").ok_or(kind)?.take();
        let id = |name: &str| fields[name].as_str().map(str::to_owned);
        Ok(ItemCompleted {
            thread_id: id("thread_id"),
            turn_id: id("turn_id"),
            started_at_ms: fields["started_at_ms"].as_i64(),
            completed_at_ms: fields["completed_at_ms"].as_i64(),
            item: Item::from_value(item).map_err(|inner| format!("{kind}/{inner}"))?,
        })
    }
}

/// An item whose first field is its type, as Codex writes it.
fn type_first<'de, D: Deserializer<'de>>(item: D) -> Result<Item, D::Error> {
    item.deserialize_map(TypeFirstVisitor)
}

struct TypeFirstVisitor;

impl<'de> Visitor<'de> for TypeFirstVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an item whose first field is its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Item, A::Error> {
        match fields.next_entry()? {
            Some(("type", kind)) => Item::from_kind(kind, MapAccessDeserializer::new(fields)),
            _ => Err(A::Error::custom("another item")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tolerant(item: &str) -> Result<Item, String> {
        Item::from_value(serde_json::from_str(item).unwrap())
    }

    #[test]
    fn an_item_is_read_alike_in_one_pass_and_in_two() {
        let known = [
            r#"{"type":"CommandExecution","id":"c","command":["ls"],"exit_code":3,"more":[{}]}"#,
            r#"{"type":"ContextCompaction","id":"c","more":{"a":1}}"#,
            r#"{"type":"Plan","text":"x"}"#,
        ];
        for item in known {
            let read = type_first(&mut serde_json::Deserializer::from_str(item)).unwrap();
            assert_eq!(Ok(read), tolerant(item), "{item}");
        }
        let others = [
            r#"{"id":"c","type":"ContextCompaction"}"#,
            r#"{"type":"CommandExecution","id":"c","exit_code":"three"}"#,
            r#"{"type":"Surprise"}"#,
            r#"{"type":7}"#,
            "{}",
            "[]",
        ];
        for item in others {
            assert!(type_first(&mut serde_json::Deserializer::from_str(item)).is_err(), "{item}");
        }
        assert_eq!(tolerant(others[0]), Ok(Item::ContextCompaction));
    }

    #[test]
    fn the_first_field_of_every_corpus_item_is_its_type() {
        let mut items = 0;
        for file in fs::read_dir("../../tests/corpus/0.169.0").unwrap() {
            for line in fs::read_to_string(file.unwrap().path()).unwrap_or_default().lines() {
                let Some((_, rest)) = line.split_once(r#","item":{"#) else { continue };
                assert!(rest.starts_with(r#""type":""#), "{line}");
                items += 1;
            }
        }
        assert!(items > 500, "only {items}");
    }
}
