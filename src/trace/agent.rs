//! The span of a whole thread: the session itself, a sub-agent, or a review.

use super::about;
use super::build::thread_began;
use super::conversation::Conversation;
use super::ids::SpanId;
use super::model::{Span, SpanStatus, SpanType};
use super::outcome;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::session::model::{Session, ToolCall};

/// Prefix of texts that only the model's server can decrypt, mostly messages between agents.
const CIPHERTEXT: &str = "gAAAA";

/// Id of the thread's span.
pub(super) fn id(session: &Session) -> SpanId {
    SpanId::of(&session.meta.id, "root")
}

/// The first prompt of a turn that was not rolled back; else the first of all.
pub(super) fn prompt(session: &Session) -> Option<&str> {
    let standing = session.turns.iter().filter(|turn| !turn.is_taken_back);
    let mut prompts = standing.chain(&session.turns).filter_map(|turn| turn.prompt.as_deref());
    prompts.next()
}

/// The last answer of a turn that was not rolled back; else the last of all.
pub(super) fn response(session: &Session) -> Option<&Text> {
    let standing = session.turns.iter().rev().filter(|turn| !turn.is_taken_back);
    let mut answers =
        standing.chain(session.turns.iter().rev()).filter_map(|turn| turn.final_answer.as_ref());
    answers.next()
}

/// The span without name, parent and attributes: the caller sets them.
pub(super) fn span(session: &Session) -> Span {
    let started_at = thread_began(session);
    let last = session.turns.last();
    let ended_at = session.last_line_at.unwrap_or(started_at).max(started_at);
    let conversation = Conversation::of(&session.turns, None);
    let mut outputs = last.map_or(Value::Null, |turn| outcome::outputs(response(session), &turn.status));
    conversation.add_answer(&mut outputs);
    Span {
        id: id(session),
        parent: None,
        name: String::new(),
        span_type: SpanType::Agent,
        status: last.map_or(SpanStatus::Unset, |turn| outcome::status_of(&turn.status)),
        started_at,
        ended_at,
        inputs: conversation.inputs(prompt(session)),
        outputs,
        attributes: Map::new(),
        events: last.map_or_else(Vec::new, |turn| outcome::failure_event(&turn.status, ended_at)),
    }
}

/// The span of a sub-agent or review, with the tool call that started it, if any.
pub(super) fn started(session: &Session, call: Option<&ToolCall>) -> Span {
    let name = session.meta.started_as().unwrap_or("agent");
    let task = || call?.arguments.get("message")?.as_str().filter(|text| !text.starts_with(CIPHERTEXT));
    let task = task();
    Span {
        name: if name == "review" { name.to_owned() } else { format!("subagent_{name}") },
        // Since multi-agent v2 the sub-agent's session file holds only a shortened task.
        inputs: Conversation::of(&session.turns, task).inputs(task.or_else(|| prompt(session))),
        attributes: about::child_attributes(session, name),
        ..span(session)
    }
}
