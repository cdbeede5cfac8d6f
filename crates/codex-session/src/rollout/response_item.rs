//! Items of the Responses API as Codex records them: what went to the model, and what came back.

use super::content::ContentText;
use super::payload::{read, type_tag};
use common::json::text::Text;
use common::json::value::Value;
use serde::Deserialize;

#[derive(Debug, PartialEq)]
pub enum ResponseItem {
    Message(MessageItem),
    Reasoning(Reasoning),
    FunctionCall(FunctionCall),
    CustomToolCall(CustomToolCall),
    WebSearchCall(WebSearchCall),
    ToolSearchCall(ToolSearchCall),
    LocalShellCall(LocalShellCall),
    ImageGenerationCall(ImageGenerationCall),
    /// Between agents; its content may be encrypted.
    AgentMessage(AgentMessage),
    /// `function_call_output`, `custom_tool_call_output`.
    ToolOutput(ToolOutput),
    ToolSearchOutput(ToolSearchOutput),
    /// The list of tools, an encrypted compaction, the state of the repository.
    Bookkeeping,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct MessageItem {
    pub role: Text,
    #[serde(default)]
    pub content: ContentText,
    /// `commentary` or `final_answer`, where the model gives it.
    pub phase: Option<Text>,
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

/// The provider runs it: it has no output line.
#[derive(Debug, PartialEq, Deserialize)]
pub struct WebSearchCall {
    pub id: Option<Text>,
    pub action: Option<Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct ToolSearchCall {
    pub call_id: Option<Text>,
    pub arguments: Option<Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct LocalShellCall {
    pub call_id: Option<Text>,
    pub action: Option<Value>,
}

/// The provider runs it, as it runs a search. The image itself is not read: its bytes would fill the trace.
#[derive(Debug, PartialEq, Deserialize)]
pub struct ImageGenerationCall {
    pub id: Option<Text>,
    pub status: Option<Text>,
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
    /// Err carries an unknown kind, or the kind of an unknown shape.
    pub(super) fn parse(payload: &str) -> Result<ResponseItem, String> {
        let tag = type_tag(payload).ok_or("?")?;
        let item = match &*tag.r#type {
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
            | "ghost_snapshot" => Some(ResponseItem::Bookkeeping),
            _ => None,
        };
        item.ok_or_else(|| tag.r#type.into_owned())
    }
}
