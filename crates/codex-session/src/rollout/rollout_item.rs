//! What a line of a rollout holds, by the type in its envelope.

use super::content::ContentText;
use super::event::Event;
use super::fields::{ModeSettings, read, type_of};
use super::session_meta::SessionMeta;
use super::usage::Usage;
use common::json::text::Text;
use common::json::value::Value;
use serde::Deserialize;

#[derive(Debug, PartialEq)]
pub enum RolloutItem {
    SessionMeta(Box<SessionMeta>),
    TurnContext(TurnContext),
    ResponseItem(ResponseItem),
    Event(Event),
    TokenUsageRecord(TokenUsageRecord),
    Compacted(Compacted),
    /// A bare file's mark around each request to the model.
    StateRecord,
    /// Codex's own bookkeeping; nothing that happened in the session.
    Bookkeeping,
    /// A kind, or a shape of a known kind, that no known version writes.
    Unknown {
        kind: String,
    },
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct TurnContext {
    /// 0.104 and later. Without one, Codex wrote the context once per request, not once per turn.
    pub turn_id: Option<String>,
    pub cwd: Option<String>,
    pub model: Option<Text>,
    pub effort: Option<Text>,
    pub service_tier: Option<Text>,
    pub collaboration_mode: Option<ModeSettings>,
}

/// One per completed model response (0.155 and later).
#[derive(Debug, PartialEq, Deserialize)]
pub struct TokenUsageRecord {
    pub response_id: Option<Text>,
    pub usage: Usage,
    pub thread_token_usage: Option<Usage>,
}

/// The history so far became a summary.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Compacted {
    /// The summary that the model gets; empty where the provider keeps it encrypted.
    pub message: Option<String>,
}

impl RolloutItem {
    /// Whether the whole payload was parsed, which proves that it is JSON.
    pub(super) fn is_parsed(&self) -> bool {
        !matches!(self, RolloutItem::Unknown { .. } | RolloutItem::Bookkeeping)
    }

    pub(super) fn parse(kind: &str, payload: &str) -> RolloutItem {
        let item = match kind {
            "session_meta" => read(payload).map(|meta| RolloutItem::SessionMeta(Box::new(meta))),
            "turn_context" => read(payload).map(RolloutItem::TurnContext),
            "token_usage_record" => read(payload).map(RolloutItem::TokenUsageRecord),
            "compacted" => read(payload).map(RolloutItem::Compacted),
            "world_state" | "inter_agent_communication_metadata" | "retained_context" => {
                Some(RolloutItem::Bookkeeping)
            }
            "response_item" => return RolloutItem::from_response(payload),
            "event_msg" => match Event::parse(payload) {
                Ok(event) => Some(event.map_or(RolloutItem::Bookkeeping, RolloutItem::Event)),
                Err(inner) => return RolloutItem::Unknown { kind: format!("event_msg/{inner}") },
            },
            _ => None,
        };
        item.unwrap_or_else(|| RolloutItem::Unknown { kind: kind.to_owned() })
    }

    pub(super) fn from_response(payload: &str) -> RolloutItem {
        match ResponseItem::parse(payload) {
            Ok(item) => item.map_or(RolloutItem::Bookkeeping, RolloutItem::ResponseItem),
            Err(inner) => RolloutItem::Unknown { kind: format!("response_item/{inner}") },
        }
    }
}

/// An item of the Responses API as Codex records it: what went to the model, and what came back.
#[derive(Debug, PartialEq)]
pub enum ResponseItem {
    Message(MessageItem),
    Reasoning(Reasoning),
    FunctionCall(FunctionCall),
    CustomToolCall(CustomToolCall),
    WebSearchCall(UnnamedCall),
    ToolSearchCall(UnnamedCall),
    LocalShellCall(UnnamedCall),
    ImageGenerationCall(UnnamedCall),
    /// Between agents; its content may be encrypted.
    AgentMessage(AgentMessage),
    /// `function_call_output`, `custom_tool_call_output`.
    ToolOutput(ToolOutput),
    ToolSearchOutput(ToolSearchOutput),
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct MessageItem {
    pub role: Text,
    #[serde(default)]
    pub content: ContentText,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct Reasoning {
    #[serde(default)]
    pub summary: Vec<ReasoningText>,
    pub content: Option<Vec<ReasoningText>>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct ReasoningText {
    pub text: Text,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct FunctionCall {
    pub call_id: Text,
    pub name: Text,
    /// `mcp__<server>` for the tools of an MCP server.
    pub namespace: Option<Text>,
    /// JSON, as text.
    pub arguments: Text,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct CustomToolCall {
    pub call_id: Text,
    pub name: Text,
    /// Free text: a patch, a script.
    pub input: Text,
}

/// A call that may have no id: the provider runs it, or Codex itself. The image of an `image_generation_call` is not
/// read: its bytes would fill the trace.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UnnamedCall {
    /// Of a search or an image, which have no output line.
    pub id: Option<Text>,
    pub call_id: Option<Text>,
    pub action: Option<Value>,
    pub arguments: Option<Value>,
    pub revised_prompt: Option<Text>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct AgentMessage {
    #[serde(default)]
    pub content: ContentText,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct ToolOutput {
    pub call_id: Text,
    #[serde(default)]
    pub output: ContentText,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct ToolSearchOutput {
    pub call_id: Option<Text>,
    pub tools: Option<Value>,
}

impl ResponseItem {
    /// Ok(None) for the list of tools, an encrypted compaction, the state of the repository. Err carries an unknown kind,
    /// or the kind of an unknown shape.
    fn parse(payload: &str) -> Result<Option<ResponseItem>, String> {
        let kind = type_of(payload).ok_or("?")?;
        let item = match &*kind {
            "message" => read(payload).map(ResponseItem::Message),
            "reasoning" => read(payload).map(ResponseItem::Reasoning),
            "function_call" => read(payload).map(ResponseItem::FunctionCall),
            "custom_tool_call" => read(payload).map(ResponseItem::CustomToolCall),
            "web_search_call" => read(payload).map(ResponseItem::WebSearchCall),
            "tool_search_call" => read(payload).map(ResponseItem::ToolSearchCall),
            "local_shell_call" => read(payload).map(ResponseItem::LocalShellCall),
            "image_generation_call" => read(payload).map(ResponseItem::ImageGenerationCall),
            "agent_message" => read(payload).map(ResponseItem::AgentMessage),
            "function_call_output" | "custom_tool_call_output" => read(payload).map(ResponseItem::ToolOutput),
            "tool_search_output" => read(payload).map(ResponseItem::ToolSearchOutput),
            "additional_tools" | "compaction" | "compaction_summary" | "context_compaction"
            | "ghost_snapshot" => return Ok(None),
            _ => None,
        };
        item.map(Some).ok_or_else(|| kind.into_owned())
    }
}
