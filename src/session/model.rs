//! A session: one thread, its turns, and what happened in each, in the order in which it began.

use crate::rollout::line::SessionMeta;
use crate::rollout::text::Text;
use crate::rollout::value::Value;
pub use crate::session::usage::TokenUsage;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The first `session_meta` of the file; default where there is none.
    pub meta: SessionMeta,
    pub first_line_at: Option<Timestamp>,
    pub last_line_at: Option<Timestamp>,
    /// Where it worked, as far as Codex tells: a resumed session may go on elsewhere.
    pub folders: BTreeSet<String>,
    pub turns: Vec<Turn>,
    /// Codex's own count for the whole thread, as of its last record.
    pub codex_total: Option<TokenUsage>,
    /// What that count held before this file's first record: a fork starts at its parent's total.
    pub inherited: TokenUsage,
    /// Codex's last count for the whole thread is no count of tokens.
    pub is_total_unread: bool,
    /// The times of a bare file are local ones that claim to be UTC; nothing in it tells which zone.
    pub clock: Clock,
    /// How often each kind of line was seen that we do not know.
    pub unknown_lines: BTreeMap<String, u64>,
    pub bad_lines: u64,
}

/// Most of a session's lists hold one thing, and a list that grows by itself has room for four.
pub(super) fn add<T>(list: &mut Vec<T>, item: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(item);
}

impl Session {
    /// Whether a turn waits for its end.
    pub fn is_running(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.status == TurnStatus::Running)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    #[default]
    Utc,
    /// Codex up to 0.2x.
    UnknownZone,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Codex's id; never part of our ids.
    pub turn_id: Option<String>,
    /// The turn of another thread that asked for this one (0.169).
    pub asked_by: Option<String>,
    /// `plan`, where Codex plans and does nothing yet; None otherwise.
    pub mode: Option<String>,
    /// Of its first line (0.150 and later).
    pub ordinal: Option<u64>,
    /// The user took it back: the model has forgotten it, and its tokens were spent all the same.
    pub is_taken_back: bool,
    pub prompt: Option<String>,
    /// The model was asked, or shown what a tool gave, and has said nothing since.
    pub is_unanswered: bool,
    pub status: TurnStatus,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub final_answer: Option<Text>,
    /// Its reviewer has begun, in a line of its own.
    pub has_reviewer: bool,
    pub time_to_first_token_ms: Option<u64>,
    pub steps: Vec<Step>,
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
    /// What the model had not been shown before.
    pub new_messages: Vec<Message>,
    pub texts: Vec<Text>,
    /// Summaries; the thought itself is encrypted.
    pub reasoning: Vec<Text>,
    pub requests: Vec<ToolRequest>,
    pub usage: Option<TokenUsage>,
    /// What Codex wrote as its usage is no count of tokens.
    pub is_usage_unread: bool,
    /// Its stream was lost before it was whole, and the model was asked again.
    pub broke_off: bool,
    /// No response came of the request, or none that was whole.
    pub failure: Option<Box<Failure>>,
    /// From 1, of the attempts that are in the session file; None where there is one.
    pub attempt: Option<u32>,
}

/// Why a request to the model failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// As Codex names it, or JSON where it says more.
    pub kind: Option<String>,
}

impl Failure {
    /// The kind of a turn that ended without the answer that it was asked for, where Codex names none.
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
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub call_id: Text,
    pub name: Text,
    /// Of an MCP tool.
    pub server: Option<Text>,
    pub arguments: Value,
    /// As they were written, where `arguments` has them in the shape of another version.
    pub raw_arguments: Option<Value>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub outcome: Outcome,
    /// What the model was shown, where it is more than what was printed.
    pub output: Option<Text>,
    pub facts: ToolFacts,
    /// What a script of the model (code mode) called in its turn.
    pub nested: Vec<ToolCall>,
}

/// What Codex recorded of a call beside the text for the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolFacts {
    pub exit_code: Option<i64>,
    /// As Codex measured it, or told the model; None where only lines tell when the call began and ended.
    pub duration: Option<SignedDuration>,
    pub cwd: Option<Text>,
    /// What a command printed, without what Codex wrote around it; all of it where Codex recorded it.
    pub printed: Option<Text>,
    /// By path, with content or diff.
    pub changes: Option<Value>,
    pub mcp_result: Option<Value>,
    /// The threads of the sub-agents that it started.
    pub agents: Vec<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Ok,
    Failed {
        message: String,
    },
    /// A person, or a rule of theirs, said no.
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

/// Why the tokens of the responses are not the total that Codex counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// Lines of the file are damaged.
    LinesLost,
    /// Codex counted responses whose own count no line tells.
    ResponsesUntold,
    /// A number that Codex wrote is no count of tokens.
    CountUnreadable,
    /// Codex counted less than the responses told it.
    CountFellShort,
}

impl Discrepancy {
    pub fn as_str(self) -> &'static str {
        match self {
            Discrepancy::LinesLost => "lines_lost",
            Discrepancy::ResponsesUntold => "responses_untold",
            Discrepancy::CountUnreadable => "count_unreadable",
            Discrepancy::CountFellShort => "count_fell_short",
        }
    }
}

impl Turn {
    /// When the last of its steps ended, or began where no end is known; its own beginning without steps.
    pub fn last_seen_at(&self) -> Option<Timestamp> {
        let of_step = |step: &Step| match step {
            Step::Inference(it) => it.ended_at.or(it.started_at),
            Step::ToolCall(it) => it.ended_at.or(it.started_at),
            Step::Compaction(it) => it.ended_at.or(it.started_at),
        };
        self.steps.iter().filter_map(of_step).chain(self.started_at).max()
    }

    pub fn inferences(&self) -> impl Iterator<Item = &Inference> {
        self.steps.iter().filter_map(|step| match step {
            Step::Inference(inference) => Some(inference),
            _ => None,
        })
    }
}

impl Session {
    pub fn inferences(&self) -> impl Iterator<Item = &Inference> {
        self.turns.iter().flat_map(Turn::inferences)
    }

    /// None when no response told its usage.
    pub fn usage(&self) -> Option<TokenUsage> {
        let mut told = self.inferences().filter_map(|inference| inference.usage);
        let mut sum = told.next()?;
        told.for_each(|usage| sum += usage);
        Some(sum)
    }

    /// Why our sum is not Codex's own; None where it is, and where Codex told no total.
    pub fn discrepancy(&self) -> Option<Discrepancy> {
        if self.tokens_reconcile() != Some(false) {
            return None;
        }
        let own = self.codex_total.and_then(|total| total.minus(self.inherited)).unwrap_or_default();
        Some(match () {
            () if self.bad_lines > 0 => Discrepancy::LinesLost,
            () if self.is_a_count_unread() => Discrepancy::CountUnreadable,
            () if own.total() > self.usage().unwrap_or_default().total() => Discrepancy::ResponsesUntold,
            () => Discrepancy::CountFellShort,
        })
    }

    /// What is unknown cannot be known to be right.
    fn is_a_count_unread(&self) -> bool {
        self.is_total_unread || self.inferences().any(|it| it.is_usage_unread && it.usage.is_none())
    }

    /// Whether our sum is Codex's own; None where Codex told no total.
    pub fn tokens_reconcile(&self) -> Option<bool> {
        if self.is_a_count_unread() {
            return Some(false);
        }
        let own = self.codex_total?.minus(self.inherited);
        Some(own == Some(self.usage().unwrap_or_default()))
    }
}
