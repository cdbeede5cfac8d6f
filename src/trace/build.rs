//! Builds the trace of a session and its sub-agents, or a trace per turn.

use super::about::{self, Sum};
use super::agent;
use super::conversation::Conversation;
use super::gen_ai;
use super::ids::{SpanId, TraceId};
use super::limits::beginning;
use super::model::{Span, SpanType, Trace, TraceState};
use super::outcome;
use super::spans::{self, ThreadScope};
use super::tree;
use super::verdict;
use crate::claim::thread_record::ThreadRecord;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::session::family::{Family, StartedBy, started_by};
use crate::session::model::{Clock, Session, Turn, TurnStatus};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Facts for a trace that neither the session file nor the thread record holds.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The session file; of several, the one that Codex appends to.
    pub rollout: &'a Path,
    /// The user who ran Codex.
    pub user: Option<&'a str>,
}

/// The trace of a session without its sub-agents.
pub fn build(session: &Session, record: &ThreadRecord, surroundings: Surroundings) -> Option<Trace> {
    let session = &*verdict::judged(session, record);
    whole(&[Relative { session, parent: None }], record, surroundings)
}

/// The trace of a session and its sub-agents, with secrets and long texts: `redact` removes them later.
/// The same input always gives the same trace.
///
/// None for a session without a turn. None also without a thread id: all such files would share one trace id.
pub fn build_family(family: &Family, record: &ThreadRecord, surroundings: Surroundings) -> Option<Trace> {
    let root = root_of(family, record);
    whole(&relatives(family, root.as_deref()), record, surroundings)
}

/// A trace per turn, with the sub-agents that the turn started. Empty where `build_family` returns None.
pub fn build_turns(family: &Family, record: &ThreadRecord, surroundings: Surroundings) -> Vec<Trace> {
    let root = root_of(family, record);
    let relatives = relatives(family, root.as_deref());
    let Some((root, turns)) = relatives.first().map(|root| (root.session, root.session.turns.len())) else {
        return Vec::new();
    };
    if root.meta.id.is_empty() {
        return Vec::new();
    }
    let turns_of = turns_of(&relatives);
    (0..turns).filter_map(|turn| one_turn(turn, &relatives, &turns_of, record, surroundings)).collect()
}

#[derive(Clone, Copy)]
pub(super) struct Relative<'a> {
    pub(super) session: &'a Session,
    pub(super) parent: Option<usize>,
}

/// The session itself, with the turns failed that a failed launch left without an answer.
pub(super) fn root_of<'a>(family: &'a Family, record: &ThreadRecord) -> Option<Cow<'a, Session>> {
    family.members.first().map(|member| verdict::judged(&member.session, record))
}

pub(super) fn relatives<'a>(family: &'a Family, root: Option<&'a Session>) -> Vec<Relative<'a>> {
    let members = family.members.iter().enumerate();
    let session = |at, own| root.filter(|_| at == 0).unwrap_or(own);
    members.map(|(at, it)| Relative { session: session(at, &it.session), parent: it.parent }).collect()
}

/// Whether turns share a trace.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// One trace. Several turns have a span each; a single turn shares the thread's span.
    Whole,
    /// A trace per turn of the session: the turn's span is the root.
    Turns,
}

fn whole(relatives: &[Relative], record: &ThreadRecord, surroundings: Surroundings) -> Option<Trace> {
    let session = relatives.first()?.session;
    let last_turn = session.turns.last()?;
    let thread = Some(&*session.meta.id).filter(|id| !id.is_empty())?;
    let sum = Sum::of(relatives.iter().flat_map(|relative| relative.session.inferences()));
    let mut spans = vec![Span {
        name: "codex_cli_session".into(),
        parent: None,
        attributes: about::session_attributes(relatives.iter().map(|it| it.session), record),
        ..agent::span(session)
    }];
    spans.reserve(session.turns.iter().map(|turn| 1 + turn.steps.len()).sum());
    add_spans_of_turns(session, &mut spans);
    for relative in &relatives[1..] {
        add_child_spans(relative, relatives, Shape::Whole, &mut spans);
    }
    let mut spans = tree::settled(spans, floor(session), session.last_line_at);
    gen_ai::add_up(&mut spans);
    let runs = relatives.iter().any(|relative| relative.session.is_running());
    let state = if runs { TraceState::InProgress } else { outcome::state_of(&last_turn.status) };
    let prompt = agent::prompt(session);
    let response = agent::response(session).map(Text::as_str);
    let metadata = about::metadata(session, surroundings, prompt, response, &sum);
    let about = About { prompt, response, status: &last_turn.status, metadata, tags: about::tags(session) };
    Some(trace(TraceId::of_thread(thread), state, spans, about))
}

fn one_turn(
    index: usize,
    relatives: &[Relative],
    turns_of: &[usize],
    record: &ThreadRecord,
    surroundings: Surroundings,
) -> Option<Trace> {
    let session = relatives.first()?.session;
    let turn = session.turns.get(index)?;
    let within =
        || relatives[1..].iter().zip(&turns_of[1..]).filter(|(_, of)| **of == index).map(|(it, _)| it);
    let below = within().flat_map(|relative| relative.session.inferences());
    let sum = Sum::of(turn.inferences().chain(below));
    let mut spans = turn_spans(&scope_of(session), index + 1, turn, None);
    // The same name for every turn: MLflow's page and filters group traces by name.
    "codex_cli_turn".clone_into(&mut spans[0].name);
    spans[0].attributes = about::turn_attributes(session, index, record);
    for relative in within() {
        add_child_spans(relative, relatives, Shape::Turns, &mut spans);
    }
    let mut spans = tree::settled(spans, floor(session), None);
    gen_ai::add_up(&mut spans);
    let runs = within().any(|relative| relative.session.is_running());
    let state = if runs { TraceState::InProgress } else { outcome::state_of(&turn.status) };
    let (prompt, response) = (turn.prompt.as_deref(), turn.final_answer.as_deref());
    let metadata = about::metadata(session, surroundings, prompt, response, &sum);
    let id = TraceId::of_turn(&session.meta.id, index + 1);
    let about = About { prompt, response, status: &turn.status, metadata, tags: about::tags(session) };
    Some(trace(id, state, spans, about))
}

/// The parts of a trace besides id, state and spans.
pub(super) struct About<'a> {
    pub(super) prompt: Option<&'a str>,
    pub(super) response: Option<&'a str>,
    pub(super) status: &'a TurnStatus,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
}

pub(super) fn trace(id: TraceId, state: TraceState, spans: Vec<Span>, about: About) -> Trace {
    let without_answer = || beginning(&outcome::preview_of(about.status));
    let root = &spans[0];
    Trace {
        id,
        name: root.name.clone(),
        state,
        started_at: root.started_at,
        ended_at: root.ended_at,
        request_preview: about.prompt.map(beginning),
        response_preview: Some(about.response.map_or_else(without_answer, beginning)),
        metadata: about.metadata,
        tags: about.tags,
        spans,
    }
}

/// When Codex created the thread; the time of the first line where the file has no creation time.
pub(super) fn thread_began(session: &Session) -> Timestamp {
    let told = session.meta.timestamp.as_ref().and_then(|text| text.parse().ok());
    told.or(session.first_line_at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// No span begins earlier. The header of a bare session file has local time, so it sets no floor.
pub(super) fn floor(session: &Session) -> Timestamp {
    match session.clock {
        Clock::Utc => thread_began(session),
        Clock::UnknownZone => Timestamp::MIN,
    }
}

pub(super) fn scope_of(session: &Session) -> ThreadScope<'_> {
    let meta = &session.meta;
    let root = meta.session_id.as_deref().filter(|_| meta.started_as().is_some());
    ThreadScope {
        thread: &meta.id,
        conversation: root.unwrap_or(&meta.id).into(),
        provider: meta.model_provider.as_deref().map(Text::from),
        began: thread_began(session),
    }
}

/// Adds the spans of the session's turns below the span of the thread.
fn add_spans_of_turns(session: &Session, spans: &mut Vec<Span>) {
    let (scope, root) = (scope_of(session), agent::id(session));
    match &session.turns[..] {
        [only] => spans.extend(spans::of_turn(&scope, only, root)),
        several => {
            for (number, turn) in (1..).zip(several) {
                let mut spans_of_turn = turn_spans(&scope, number, turn, Some(root));
                spans_of_turn[0].attributes = about::inner_turn_attributes(session, turn);
                spans.extend(spans_of_turn);
            }
        }
    }
}

/// The turn's span, then the spans below it.
pub(super) fn turn_spans(
    scope: &ThreadScope,
    number: usize,
    turn: &Turn,
    parent: Option<SpanId>,
) -> Vec<Span> {
    let id = turn_id(scope.thread, number);
    let children = spans::of_turn(scope, turn, id);
    let started_at = turn.started_at.unwrap_or(scope.began);
    let last = children.iter().map(|span| span.ended_at).max().unwrap_or(started_at);
    let conversation = Conversation::of(std::slice::from_ref(turn), None);
    let mut outputs = outcome::outputs(turn.final_answer.as_ref(), &turn.status);
    conversation.add_answer(&mut outputs);
    let span = Span {
        id,
        parent,
        name: format!("turn_{number}"),
        span_type: SpanType::Agent,
        status: outcome::status_of(&turn.status),
        started_at,
        ended_at: turn.ended_at.unwrap_or(last).max(started_at),
        inputs: conversation.inputs(turn.prompt.as_deref()),
        outputs,
        attributes: Map::new(),
        events: outcome::failure_event(&turn.status, turn.ended_at.unwrap_or(last).max(started_at)),
    };
    std::iter::once(span).chain(children).collect()
}

pub(super) fn turn_id(thread: &str, number: usize) -> SpanId {
    SpanId::of(thread, &format!("turn:{number}"))
}

/// Adds the spans of a sub-agent or review below the call or turn that started it.
pub(super) fn add_child_spans(child: &Relative, relatives: &[Relative], shape: Shape, spans: &mut Vec<Span>) {
    let parent_place = child.parent.unwrap_or_default();
    let parent = relatives[parent_place].session;
    let by = started_by(child.session, parent);
    let is_turn_a_span = parent.turns.len() > 1 || (shape == Shape::Turns && parent_place == 0);
    let of_turn = |turn| if is_turn_a_span { turn_id(&parent.meta.id, turn + 1) } else { agent::id(parent) };
    let place = match by {
        StartedBy::Call { call, .. } => spans::tool_id(&parent.meta.id, &call.call_id),
        StartedBy::Turn(turn) => of_turn(turn),
        StartedBy::Thread if shape == Shape::Turns && parent_place == 0 => of_turn(0),
        StartedBy::Thread => agent::id(parent),
    };
    let call = match by {
        StartedBy::Call { call, .. } => Some(call),
        StartedBy::Turn(_) | StartedBy::Thread => None,
    };
    spans.push(Span { parent: Some(place), ..agent::started(child.session, call) });
    add_spans_of_turns(child.session, spans);
}

/// For each relative, the index of the session's turn that it descends from.
pub(super) fn turns_of(relatives: &[Relative]) -> Vec<usize> {
    let mut turns = vec![0; relatives.len()];
    for (index, relative) in relatives.iter().enumerate() {
        turns[index] = match relative.parent {
            None => 0,
            Some(0) => match started_by(relative.session, relatives[0].session) {
                StartedBy::Call { turn, .. } | StartedBy::Turn(turn) => turn,
                StartedBy::Thread => 0,
            },
            Some(parent) => turns[parent],
        };
    }
    turns
}

/// Appends a field unless the value is None. The caller ensures that the key is new.
pub(super) fn put(attributes: &mut Map, key: &'static str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        attributes.push(key, value.into());
    }
}
