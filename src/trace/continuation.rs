//! The trace of a session's later turns, for a target that archived the trace of the earlier turns.
//!
//! MLflow takes no more spans for an archived trace.

use super::agent::{self, Layout};
use super::build::{TraceInfo, TraceSource, started_in, turn_indices};
use super::draft::{Draft, PartialTrace};
use super::ids::{span_of_continuation, trace_of_continuation};
use super::price_book::PriceBook;
use super::thread_facts::{BuildScope, ThreadScope, with_failed_turns};
use super::{attributes, spans};
use crate::claim::thread_record::ThreadRecord;
use codex_session::session::family::Family;
use codex_session::session::model::Session;
use jiff::Timestamp;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::trace::Span;

/// Metadata key and root attribute: id of the trace that this one continues.
pub const CONTINUES: &str = "codex.continues";

/// The part of a session that a continued trace holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Counts from 1: continuation 2 continues continuation 1.
    pub number: usize,
    /// Index of its first turn; the session's first turn is 0.
    pub from: usize,
    pub continues: TraceId,
}

/// The trace of the turns from `part.from` on, with their sub-agents. None where the session has no such turn.
/// `before`: as for `rebuild_family`.
pub fn rebuild_continuation(
    family: &Family,
    before: Option<&Family>,
    part: Continuation,
    record: &ThreadRecord,
    source: TraceSource,
) -> Option<PartialTrace> {
    let family = &*with_failed_turns(family, record);
    let before = before.map(|before| with_failed_turns(before, record));
    let build = BuildScope { before: before.as_deref(), prices: source.prices };
    let whole = &family.members.first()?.session;
    let thread = Some(&*whole.meta.id).filter(|id| !id.is_empty())?;
    let session = later(whole, part.from)?;
    let started = started_in(family, &turn_indices(family), part.from..);
    let root = span_of_continuation(thread, part.number);
    let sessions = std::iter::once(&session).chain(started.iter().map(|member| &member.session));
    let info = TraceInfo::from_sessions(sessions.clone(), source)?;
    let mut attributes = attributes::session_attributes(sessions, record);
    attributes.put(CONTINUES, Some(part.continues.to_string()));
    let root_span = Span { id: root, name: "codex_cli_session".into(), attributes, ..agent::span(&session) };
    let mut spans: Vec<Draft> = vec![root_span.into()];
    let scope = ThreadScope::from_session(whole, build);
    for (number, turn) in (part.from + 1..).zip(&session.turns) {
        let mut spans_of_turn = agent::turn_spans(&scope, number, turn, Some(root));
        spans_of_turn[0].attributes = attributes::inner_turn_attributes(whole, turn);
        spans.extend(spans_of_turn);
    }
    for member in &started {
        agent::add_child_spans(member, family, Layout::OneTrace, build, &mut spans);
    }
    // Children of the whole thread's span.
    let of_whole = Some(agent::id(whole));
    spans.iter_mut().filter(|span| span.parent == of_whole).for_each(|span| span.parent = Some(root));
    let id = trace_of_continuation(thread, part.number);
    let mut built = info.into_trace(id, spans, session.last_line_at);
    built.trace.metadata.insert(CONTINUES.to_owned(), part.continues.to_string());
    Some(built)
}

/// The session as if it began with turn `from`.
fn later(whole: &Session, from: usize) -> Option<Session> {
    let first = whole.turns.get(from)?;
    let mut session = Session { turns: whole.turns[from..].to_vec(), ..whole.clone() };
    session.first_line_at = first.started_at.or(session.first_line_at);
    session.meta.timestamp = session.first_line_at.map(|at| at.to_string());
    // Codex's total counts the whole thread.
    session.codex_total = None;
    Some(session)
}

/// Index of the first turn, from `from` on, that a trace lacks wholly or partly. The number of turns if it lacks none.
/// `has`: whether the trace has a span. `until`: the time up to which the trace is complete.
pub fn first_missing_turn(
    family: &Family,
    from: usize,
    has: &dyn Fn(SpanId) -> bool,
    until: Timestamp,
) -> usize {
    let Some(session) = family.members.first().map(|root| &root.session) else { return 0 };
    // Ids depend on no price.
    let build = BuildScope { before: None, prices: PriceBook::built_in() };
    let scope = ThreadScope::from_session(session, build);
    let turns = session.turns.iter().enumerate().skip(from);
    let mut lacking = turns.filter(|(index, turn)| {
        let id = agent::turn_id(scope.thread, index + 1);
        let steps = spans::of_turn(&scope, index + 1, turn, id);
        let is_known = turn.ended_at.or(turn.started_at).is_none_or(|at| at <= until);
        // A session's only turn shares the thread's span.
        let is_there = *index == from || !steps.is_empty() || has(id);
        !(is_known && is_there && steps.iter().all(|span| has(span.id)))
    });
    lacking.next().map_or(session.turns.len(), |(index, _)| index)
}
