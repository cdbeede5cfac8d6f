//! `event_msg` lines: what Codex records of a turn while it runs.

use super::completed_item::ItemCompleted;
use super::fields::{ThreadSettingsApplied, read, type_of};
use super::legacy;
use super::usage::Usage;
use common::json::text::Text;
use common::json::value::Value;
use serde::Deserialize;

#[derive(Debug, PartialEq)]
pub enum Event {
    TaskStarted(TaskStarted),
    TaskComplete(TurnEndEvent),
    TurnAborted(TurnEndEvent),
    ItemCompleted(Box<ItemCompleted>),
    TokenCount(TokenCount),
    /// A response item repeats it; before 0.80 that line may come much later, or never.
    AgentMessage(AgentMessageEvent),
    ThreadRolledBack(ThreadRolledBack),
    ThreadSettingsApplied(ThreadSettingsApplied),
    /// Why the turn will fail; written only where Codex was asked to record more.
    Error(ErrorEvent),
    /// A request to the model failed, and Codex asks again.
    StreamError(ErrorEvent),
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct AgentMessageEvent {
    pub message: Text,
}

/// The user took back the last turns; their lines stay in the file.
#[derive(Debug, PartialEq, Deserialize)]
pub struct ThreadRolledBack {
    pub num_turns: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ErrorEvent {
    pub message: String,
    pub codex_error_info: Option<Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct TaskStarted {
    pub turn_id: Option<String>,
    /// 0.169 and later.
    pub turn_attribution: Option<TurnAttribution>,
    /// `default` or `plan`.
    pub collaboration_mode_kind: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct TurnAttribution {
    /// The turn that asked for this one: of the thread that spawned a sub-agent or a review.
    pub parent_turn_id: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct TurnEndEvent {
    pub turn_id: Option<String>,
    /// Of an aborted turn.
    pub reason: Option<String>,
    pub last_agent_message: Option<Text>,
    /// A failed turn is a complete one with an error (0.169): `{"message", "codex_error_info"}`, the
    /// latter a word (`usage_limit_exceeded`) or an object that carries an HTTP status.
    pub error: Option<Value>,
    /// Since the turn began, which may be earlier than its `task_started` line (0.150 and later).
    pub duration_ms: Option<u64>,
    pub time_to_first_token_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct TokenCount {
    pub info: Option<TokenCountInfo>,
    pub rate_limits: Option<RateLimits>,
}

/// How much of an account's allowance is used, by two windows of time.
#[derive(Debug, PartialEq, Deserialize)]
pub struct RateLimits {
    pub primary: Option<RateLimit>,
    pub secondary: Option<RateLimit>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct RateLimit {
    pub used_percent: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct TokenCountInfo {
    pub total_token_usage: Option<Usage>,
    /// Its total is the size of the context; after a compaction Codex's estimate.
    pub last_token_usage: Option<Usage>,
}

impl Event {
    /// Ok(None) for Codex's own bookkeeping. Err carries an unknown kind, or the kind of an unknown shape.
    pub(super) fn parse(payload: &str) -> Result<Option<Event>, String> {
        let kind = type_of(payload).ok_or("?")?;
        let event = match &*kind {
            "task_started" | "turn_started" => read(payload).map(Event::TaskStarted),
            "task_complete" | "turn_complete" => read(payload).map(Event::TaskComplete),
            "turn_aborted" => read(payload).map(Event::TurnAborted),
            "token_count" => read(payload).map(Event::TokenCount),
            "item_completed" => Some(Event::ItemCompleted(Box::new(ItemCompleted::parse(payload)?))),
            "agent_message" => read(payload).map(Event::AgentMessage),
            "thread_rolled_back" => read(payload).map(Event::ThreadRolledBack),
            "error" => read(payload).map(Event::Error),
            "stream_error" => read(payload).map(Event::StreamError),
            "thread_settings_applied" => read(payload).map(Event::ThreadSettingsApplied),
            "agent_reasoning"
            | "agent_reasoning_raw_content"
            | "context_compacted"
            | "sub_agent_activity"
            | "thread_goal_updated"
            | "thread_name_updated" => return Ok(None),
            kind => legacy::parse(kind, payload).map(|completed| Event::ItemCompleted(Box::new(completed))),
        };
        event.map(Some).ok_or_else(|| kind.into_owned())
    }
}
