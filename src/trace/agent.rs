//! Spans of type AGENT: of a whole thread (session, sub-agent, review) and of a turn.

use super::chat::ChatHistory;
use super::draft::Draft;
use super::ids::span_of_key;
use super::thread_facts::{BuildScope, ThreadScope, thread_start};
use super::{attributes, outcome, spans};
use codex_session::session::family::{Family, Member, StartedBy, started_by};
use codex_session::session::model::{Session, ToolCall, Turn};
use common::json::text::Text;
use common::json::value::{Map, Value};
use common::shared::Shared;
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType};

/// Prefix of texts that only the model's server can decrypt, mostly messages between agents.
const CIPHERTEXT: &str = "gAAAA";

pub(super) fn id(session: &Session) -> SpanId {
    span_of_key(&session.meta.id, "root")
}

/// The first prompt of a turn that was not rolled back; else the first of all.
pub(crate) fn prompt(session: &Session) -> Option<&str> {
    let kept = session.turns.iter().filter(|turn| !turn.is_taken_back);
    kept.chain(&session.turns).find_map(|turn| turn.prompt.as_deref())
}

/// The last answer of a turn that was not rolled back; else the last of all.
pub(super) fn response(session: &Session) -> Option<&Text> {
    let kept = session.turns.iter().rev().filter(|turn| !turn.is_taken_back);
    kept.chain(session.turns.iter().rev()).find_map(|turn| turn.final_answer.as_ref())
}

/// The span without name, parent and attributes: the caller sets them.
pub(super) fn span(session: &Session) -> Span {
    let started_at = thread_start(session);
    let ended_at = session.last_line_at.unwrap_or(started_at).max(started_at);
    let turns = session.turns.iter().map(|turn| &**turn);
    span_of_turns(turns, id(session), prompt(session), response(session), (started_at, ended_at))
}

fn span_of_turns<'t>(
    turns: impl Iterator<Item = &'t Turn> + Clone,
    id: SpanId,
    prompt: Option<&str>,
    response: Option<&Text>,
    (started_at, ended_at): (Timestamp, Timestamp),
) -> Span {
    let status = turns.clone().last().map(|turn| &turn.status);
    let history = ChatHistory::from_turns(turns, None);
    let mut outputs = status.map_or(Value::Null, |status| outcome::outputs(response, status));
    history.add_answer(&mut outputs);
    Span {
        id,
        parent: None,
        name: String::new(),
        span_type: SpanType::Agent,
        status: status.map_or(SpanStatus::Unset, outcome::status_of),
        started_at,
        ended_at,
        inputs: history.inputs(prompt),
        outputs,
        attributes: Map::new(),
        events: status.map_or_else(Vec::new, |status| outcome::failure_event(status, ended_at)),
    }
}

/// The span of a sub-agent or review, with the tool call that started it, if any.
fn started(session: &Session, call: Option<&ToolCall>) -> Span {
    let name = session.meta.started_as().unwrap_or("agent");
    let task = || call?.arguments.get("message")?.as_str().filter(|text| !text.starts_with(CIPHERTEXT));
    let (task, turns) = (task(), session.turns.iter().map(|turn| &**turn));
    Span {
        name: if name == "review" { name.to_owned() } else { format!("subagent_{name}") },
        // Since multi-agent v2 the sub-agent's session file holds only a shortened task.
        inputs: ChatHistory::from_turns(turns, task).inputs(task.or_else(|| prompt(session))),
        attributes: attributes::child_attributes(session, name),
        ..span(session)
    }
}

/// Whether turns share a trace.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// One trace. Several turns have a span each; a single turn shares the thread's span.
    OneTrace,
    /// A trace per turn of the session: the turn's span is the root.
    TracePerTurn,
}

/// Adds the spans of the session's turns below the span of the thread.
pub(super) fn add_turn_spans(session: &Session, build: BuildScope, spans: &mut Vec<Draft>) {
    let (scope, root) = (ThreadScope::from_session(session, build), id(session));
    match &session.turns[..] {
        [only] => spans.extend(spans::of_turn(&scope, 1, only, root)),
        several => {
            for (number, turn) in (1..).zip(several) {
                let mut spans_of_turn = turn_spans(&scope, number, turn, Some(root));
                spans_of_turn[0].attributes = attributes::inner_turn_attributes(session, turn);
                spans.extend(spans_of_turn);
            }
        }
    }
}

/// The turn's span, then the spans below it.
pub(super) fn turn_spans(
    scope: &ThreadScope,
    number: usize,
    turn: &Shared<Turn>,
    parent: Option<SpanId>,
) -> Vec<Draft> {
    let id = turn_id(scope.thread, number);
    let children = spans::of_turn(scope, number, turn, id);
    let started_at = turn.started_at.unwrap_or(scope.start);
    let last = children.iter().map(|span| span.ended_at).max().unwrap_or(started_at);
    let ended_at = turn.ended_at.unwrap_or(last).max(started_at);
    let is_same = scope.turn_before(number).is_some_and(|before| before.is_clone_of(turn));
    let is_known = is_same && !scope.had_sub_agents;
    let span = match parent.filter(|_| is_known) {
        Some(parent) => Draft::outline((id, parent), SpanType::Agent, (started_at, ended_at), Map::new()),
        None => {
            let (prompt, answer) = (turn.prompt.as_deref(), turn.final_answer.as_ref());
            let span = span_of_turns(std::iter::once(&**turn), id, prompt, answer, (started_at, ended_at));
            Span { parent, name: format!("turn_{number}"), ..span }.into()
        }
    };
    std::iter::once(span).chain(children).collect()
}

pub(super) fn turn_id(thread: &str, number: usize) -> SpanId {
    span_of_key(thread, &format!("turn:{number}"))
}

/// Adds the spans of a sub-agent or review below the call or turn that started it.
pub(super) fn add_child_spans(
    child: &Member,
    family: &Family,
    layout: Layout,
    build: BuildScope,
    spans: &mut Vec<Draft>,
) {
    let parent_index = child.parent.unwrap_or_default();
    let parent = &family.members[parent_index].session;
    let is_turn_a_root = layout == Layout::TracePerTurn && parent_index == 0;
    let of_turn = |turn| match parent.turns.len() > 1 || is_turn_a_root {
        true => turn_id(&parent.meta.id, turn + 1),
        false => id(parent),
    };
    let (parent_span, call) = match started_by(&child.session, parent) {
        StartedBy::Call { call, .. } => (spans::tool_id(&parent.meta.id, &call.call_id), Some(call)),
        StartedBy::Turn(turn) => (of_turn(turn), None),
        StartedBy::Thread if is_turn_a_root => (of_turn(0), None),
        StartedBy::Thread => (id(parent), None),
    };
    spans.push(Span { parent: Some(parent_span), ..started(&child.session, call) }.into());
    add_turn_spans(&child.session, build, spans);
}
