//! `event_msg` lines: what Codex records of a turn while it runs.

use super::item::TypeFirst;
use super::legacy;
use super::line::{if_it_fits, read, type_tag};
use super::settings::ThreadSettingsApplied;
use super::text::Text;
use super::usage::Usage;
use super::value::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, PartialEq)]
pub enum Event {
    TaskStarted(TaskStarted),
    TaskComplete(TaskComplete),
    TurnAborted(TurnAborted),
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
    Bookkeeping,
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

#[derive(Debug, PartialEq, Deserialize)]
pub struct TaskComplete {
    pub turn_id: Option<String>,
    pub last_agent_message: Option<Text>,
    /// A failed turn is a complete one with an error (0.169): `{"message", "codex_error_info"}`, the
    /// latter a word (`usage_limit_exceeded`) or an object that carries an HTTP status.
    pub error: Option<Value>,
    /// Since the turn began, which may be earlier than its `task_started` line (0.150 and later).
    pub duration_ms: Option<u64>,
    pub time_to_first_token_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct TurnAborted {
    pub turn_id: Option<String>,
    pub reason: Option<String>,
    pub duration_ms: Option<u64>,
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

/// Exact times, in milliseconds since the epoch (0.150 and later).
#[derive(Debug, PartialEq)]
pub struct ItemCompleted {
    pub thread_id: Option<String>,
    pub turn_id: Option<String>,
    pub started_at_ms: Option<i64>,
    pub completed_at_ms: Option<i64>,
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
    Unknown {
        kind: String,
    },
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
    pub duration: Option<Elapsed>,
}

/// A duration as Codex measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Elapsed {
    pub secs: u32,
    pub nanos: u32,
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
    pub duration: Option<Elapsed>,
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

/// As Codex writes it: every field has its expected type, and one pass parses it.
#[derive(Deserialize)]
struct PlainItemCompleted {
    thread_id: Option<String>,
    turn_id: Option<String>,
    started_at_ms: Option<i64>,
    completed_at_ms: Option<i64>,
    item: TypeFirst,
}

/// Tolerant form: a field of an odd type counts as absent.
#[derive(Deserialize)]
struct RawItemCompleted<'a> {
    #[serde(default, deserialize_with = "if_it_fits")]
    thread_id: Option<String>,
    #[serde(default, deserialize_with = "if_it_fits")]
    turn_id: Option<String>,
    #[serde(default, deserialize_with = "if_it_fits")]
    started_at_ms: Option<i64>,
    #[serde(default, deserialize_with = "if_it_fits")]
    completed_at_ms: Option<i64>,
    #[serde(borrow)]
    item: &'a RawValue,
}

impl Event {
    /// Err carries an unknown kind, or the kind of an unknown shape.
    pub(super) fn parse(payload: &str) -> Result<Event, String> {
        let tag = type_tag(payload).ok_or("?")?;
        let event = match &*tag.r#type {
            "task_started" | "turn_started" => read(payload).map(Event::TaskStarted),
            "task_complete" | "turn_complete" => read(payload).map(Event::TaskComplete),
            "turn_aborted" => read(payload).map(Event::TurnAborted),
            "token_count" => read(payload).map(Event::TokenCount),
            "item_completed" => {
                let completed = ItemCompleted::parse(payload).ok_or_else(|| tag.r#type.to_string())?;
                if let Item::Unknown { kind } = &completed.item {
                    return Err(format!("item_completed/{kind}"));
                }
                Some(Event::ItemCompleted(Box::new(completed)))
            }
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
            | "thread_name_updated" => Some(Event::Bookkeeping),
            kind => legacy::parse(kind, payload),
        };
        event.ok_or_else(|| tag.r#type.into_owned())
    }
}

impl ItemCompleted {
    fn parse(payload: &str) -> Option<ItemCompleted> {
        if let Ok(plain) = serde_json::from_str(payload) {
            let PlainItemCompleted { thread_id, turn_id, started_at_ms, completed_at_ms, item } = plain;
            let TypeFirst(item) = item;
            return Some(ItemCompleted { thread_id, turn_id, started_at_ms, completed_at_ms, item });
        }
        let raw = serde_json::from_str(payload).ok()?;
        let RawItemCompleted { thread_id, turn_id, started_at_ms, completed_at_ms, item } = raw;
        let item = Item::parse(item.get());
        Some(ItemCompleted { thread_id, turn_id, started_at_ms, completed_at_ms, item })
    }
}
