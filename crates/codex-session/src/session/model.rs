//! A session: one thread, its turns, and what happened in each, in the order in which it began.

use crate::rollout::session_meta::SessionMeta;
use crate::rollout::usage::TokenUsage;
use common::json::text::Text;
use common::json::value::Value;
use common::shared::Shared;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The first `session_meta` of the file; default where there is none.
    pub meta: SessionMeta,
    pub first_line_at: Option<Timestamp>,
    pub last_line_at: Option<Timestamp>,
    /// The working folders that Codex records: a resumed session may continue in another one.
    pub folders: BTreeSet<String>,
    /// Shared with snapshots: what a later line does not change is the same value in both.
    pub turns: Vec<Shared<Turn>>,
    /// Codex's own count for the whole thread, as of its last record.
    pub codex_total: Option<TokenUsage>,
    /// What that count held before this file's first record: a fork starts at its parent's total.
    pub inherited: TokenUsage,
    /// Codex's last count for the whole thread is no count of tokens.
    pub is_total_unread: bool,
    /// The times of a bare file (Codex up to 0.2x) are local but marked as UTC; their zone is unknown.
    pub is_bare: bool,
    /// The number of lines of each unknown kind.
    pub unknown_lines: BTreeMap<String, u64>,
    pub bad_lines: u64,
}

/// Reserves room for one item at first: most lists hold one, and `Vec` would reserve four.
pub(super) fn add<T>(list: &mut Vec<T>, item: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(item);
}

impl Session {
    /// Whether the last turn has no end yet.
    pub fn is_running(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.status == TurnStatus::Running)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Codex's id; never part of the ids of traces and spans.
    pub turn_id: Option<String>,
    /// The turn of another thread that asked for this one (0.169).
    pub asked_by: Option<String>,
    /// `plan`, where Codex plans and does nothing yet; None otherwise.
    pub mode: Option<String>,
    /// Of its first line (0.150 and later).
    pub ordinal: Option<u64>,
    /// The user took it back: the model no longer sees it, but its tokens were spent.
    pub is_taken_back: bool,
    pub prompt: Option<String>,
    /// The model was asked, or got a tool's output, and has not responded since.
    pub is_unanswered: bool,
    pub status: TurnStatus,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub final_answer: Option<Text>,
    /// Its reviewer has begun, in a line of its own.
    pub has_reviewer: bool,
    pub time_to_first_token_ms: Option<u64>,
    pub steps: Vec<Shared<Step>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TurnStatus {
    #[default]
    Running,
    Completed,
    Failed {
        message: String,
        kind: Option<String>,
    },
    Interrupted {
        reason: String,
    },
    /// Its writer is gone and no end was ever written.
    Lost,
}

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most steps are responses; a box for each would cost more")]
pub enum Step {
    Inference(Inference),
    ToolCall(Box<ToolCall>),
    Compaction(Compaction),
}

/// A step's position. It stays valid: turns and steps are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepAt {
    pub(super) turn: usize,
    pub(super) step: usize,
}

/// The turn and the time of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) turn: usize,
    pub(super) at: Option<Timestamp>,
}

/// One model response. Its times are inferred from the lines around it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inference {
    /// Counts through the thread, from 1.
    pub number: u32,
    pub model: Option<Text>,
    pub effort: Option<Text>,
    /// Who serves the model.
    pub provider: Option<Text>,
    /// As asked for: `default`, `priority`, `flex`. None where no line names one.
    pub service_tier: Option<Text>,
    pub response_id: Option<Text>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The messages that this request was the first to hold.
    pub new_messages: Vec<Message>,
    pub texts: Vec<Text>,
    /// Summaries; the reasoning itself is encrypted.
    pub reasoning: Vec<Text>,
    pub requests: Vec<ToolRequest>,
    pub usage: Option<TokenUsage>,
    /// The usage that Codex recorded is no count of tokens.
    pub is_usage_unread: bool,
    /// Its stream broke off, and Codex asked the model again.
    pub has_broken_off: bool,
    /// The request got no response, or an incomplete one.
    pub failure: Option<Box<Failure>>,
    /// From 1, among the attempts in the session file; None for a single attempt.
    pub attempt: Option<u32>,
}

/// Why a request to the model failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// Codex's word, or JSON where Codex records an object.
    pub kind: Option<String>,
}

impl From<Failure> for TurnStatus {
    fn from(Failure { message, kind }: Failure) -> TurnStatus {
        TurnStatus::Failed { message, kind }
    }
}

impl Failure {
    /// The kind of a turn that ended without an answer, where Codex records no error.
    pub const NO_ANSWER: &str = "no_answer";
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Text,
    pub text: Text,
    /// The call that a `tool` message answers.
    pub tool_call_id: Option<Text>,
}

/// A tool call as the model asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRequest {
    pub call_id: Text,
    pub name: Text,
    /// JSON or free text, as the model wrote it.
    pub arguments: Text,
}

/// A tool call as it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    pub call_id: Text,
    pub name: Text,
    /// Of an MCP tool.
    pub server: Option<Text>,
    pub arguments: Value,
    /// The arguments as written, where `arguments` holds them in the common shape.
    pub raw_arguments: Option<Value>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub outcome: Outcome,
    /// The text that the model got; None where `facts.printed` already held the output.
    pub output: Option<Text>,
    pub facts: ToolFacts,
    /// The calls that a script of the model (code mode) made.
    pub nested: Vec<ToolCall>,
}

/// What Codex recorded of a call in addition to the text for the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolFacts {
    pub exit_code: Option<i64>,
    /// As Codex measured it, or reported it to the model; None where only line times are known.
    pub duration: Option<SignedDuration>,
    pub cwd: Option<Text>,
    /// The output of a command, without Codex's header; complete where Codex recorded it.
    pub printed: Option<Text>,
    /// By path, with content or diff.
    pub changes: Option<Value>,
    pub mcp_result: Option<Value>,
    /// The threads of the sub-agents that it started.
    pub agents: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Running,
    Ok,
    Failed {
        message: String,
    },
    /// The user, a rule or Codex's review refused it.
    Denied {
        message: String,
    },
    Interrupted,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compaction {
    /// Counts through the thread, from 1.
    pub number: u32,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The size of the context, in tokens.
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
}

impl Turn {
    /// When the last of its steps ended, or began where no end is known; its own beginning without steps.
    pub fn last_seen_at(&self) -> Option<Timestamp> {
        let of_step = |step: &Shared<Step>| match &**step {
            Step::Inference(it) => it.ended_at.or(it.started_at),
            Step::ToolCall(it) => it.ended_at.or(it.started_at),
            Step::Compaction(it) => it.ended_at.or(it.started_at),
        };
        self.steps.iter().filter_map(of_step).chain(self.started_at).max()
    }

    pub fn inferences(&self) -> impl Iterator<Item = &Inference> {
        self.steps.iter().filter_map(|step| match &**step {
            Step::Inference(inference) => Some(inference),
            _ => None,
        })
    }
}

impl Session {
    pub fn inferences(&self) -> impl Iterator<Item = &Inference> {
        self.turns.iter().flat_map(|turn| turn.inferences())
    }

    /// Appends a step to a turn.
    pub(super) fn push(&mut self, turn: usize, step: Step) -> StepAt {
        let steps = &mut self.turns[turn].steps;
        steps.push(step.into());
        StepAt { turn, step: steps.len() - 1 }
    }

    pub(super) fn step_at(&mut self, place: StepAt) -> Option<&mut Step> {
        Some(&mut **self.turns.get_mut(place.turn)?.steps.get_mut(place.step)?)
    }

    pub(super) fn inference(&self, place: StepAt) -> Option<&Inference> {
        let step = self.turns.get(place.turn)?.steps.get(place.step)?;
        if let Step::Inference(inference) = &**step { Some(inference) } else { None }
    }

    pub(super) fn inference_at(&mut self, place: StepAt) -> Option<&mut Inference> {
        if let Step::Inference(inference) = self.step_at(place)? { Some(inference) } else { None }
    }

    /// None when no response has a usage.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.inferences().filter_map(|inference| inference.usage).reduce(Add::add)
    }
}
