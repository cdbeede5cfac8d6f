//! The span of a thread as a whole: of the session itself, of a sub-agent, of a review.

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

/// How the model's side writes what only it can read: messages between agents, mostly.
const CIPHERTEXT: &str = "gAAAA";

pub(super) fn id(session: &Session) -> SpanId {
    SpanId::of(&session.meta.id, "root")
}

/// What was asked first, of what was not taken back.
pub(super) fn prompt(session: &Session) -> Option<&str> {
    let standing = session.turns.iter().filter(|turn| !turn.is_taken_back);
    let mut prompts = standing.chain(&session.turns).filter_map(|turn| turn.prompt.as_deref());
    prompts.next()
}

/// What was answered last.
pub(super) fn response(session: &Session) -> Option<&Text> {
    let standing = session.turns.iter().rev().filter(|turn| !turn.is_taken_back);
    let mut answers =
        standing.chain(session.turns.iter().rev()).filter_map(|turn| turn.final_answer.as_ref());
    answers.next()
}

/// Without attributes, and a root so far.
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

/// A thread that another one started, by this call if by one.
pub(super) fn started(session: &Session, call: Option<&ToolCall>) -> Span {
    let name = session.meta.started_as().unwrap_or("agent");
    let task = || call?.arguments.get("message")?.as_str().filter(|text| !text.starts_with(CIPHERTEXT));
    let task = task();
    Span {
        name: if name == "review" { name.to_owned() } else { format!("subagent_{name}") },
        // Since multi-agent v2 the thread itself holds no more of it than a head.
        inputs: Conversation::of(&session.turns, task).inputs(task.or_else(|| prompt(session))),
        attributes: about::child_attributes(session, name),
        ..span(session)
    }
}
