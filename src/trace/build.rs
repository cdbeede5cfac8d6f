//! Builds the trace of a session and its sub-agents, or a trace per turn.

use super::agent::{self, Layout};
use super::ids::{trace_of_thread, trace_of_turn};
use super::info::{TraceInfo, TraceSource};
use super::relatives::{Relative, relatives_of, root_session, turn_indices};
use super::thread_scope::ThreadScope;
use super::totals::UsageTotal;
use super::{agent_attributes, launches};
use crate::claim::thread_record::ThreadRecord;
use codex_session::session::family::Family;
use codex_session::session::model::Session;
use mlflow_store::trace::{Span, Trace};

/// The trace of a session without its sub-agents.
pub fn build(session: &Session, record: &ThreadRecord, source: TraceSource) -> Option<Trace> {
    let session = &*launches::with_failed_turns(session, record);
    session_trace(&[Relative { session, parent: None }], record, source)
}

/// The trace of a session and its sub-agents, with secrets and long texts: `redact` removes them later.
/// The same input always gives the same trace.
///
/// None for a session without a turn. None also without a thread id: all such files would share one trace id.
pub fn build_family(family: &Family, record: &ThreadRecord, source: TraceSource) -> Option<Trace> {
    let root = root_session(family, record);
    session_trace(&relatives_of(family, root.as_deref()), record, source)
}

/// A trace per turn, with the sub-agents that the turn started. Empty where `build_family` returns None.
pub fn build_turns(family: &Family, record: &ThreadRecord, source: TraceSource) -> Vec<Trace> {
    let root = root_session(family, record);
    let relatives = relatives_of(family, root.as_deref());
    let Some((root, turns)) = relatives.first().map(|root| (root.session, root.session.turns.len())) else {
        return Vec::new();
    };
    if root.meta.id.is_empty() {
        return Vec::new();
    }
    let turn_indices = turn_indices(&relatives);
    (0..turns).filter_map(|turn| turn_trace(turn, &relatives, &turn_indices, record, source)).collect()
}

fn session_trace(relatives: &[Relative], record: &ThreadRecord, source: TraceSource) -> Option<Trace> {
    let session = relatives.first()?.session;
    let thread = Some(&*session.meta.id).filter(|id| !id.is_empty())?;
    let sessions = relatives.iter().map(|relative| relative.session);
    let info = TraceInfo::from_sessions(sessions.clone(), source)?;
    let mut spans = vec![Span {
        name: "codex_cli_session".into(),
        parent: None,
        attributes: agent_attributes::session_attributes(sessions, record),
        ..agent::span(session)
    }];
    spans.reserve(session.turns.iter().map(|turn| 1 + turn.steps.len()).sum());
    agent::add_turn_spans(session, &mut spans);
    for relative in &relatives[1..] {
        agent::add_child_spans(relative, relatives, Layout::OneTrace, &mut spans);
    }
    Some(info.into_trace(trace_of_thread(thread), spans, session.last_line_at))
}

fn turn_trace(
    index: usize,
    relatives: &[Relative],
    turn_indices: &[usize],
    record: &ThreadRecord,
    source: TraceSource,
) -> Option<Trace> {
    let session = relatives.first()?.session;
    let turn = session.turns.get(index)?;
    let within = || {
        relatives[1..].iter().zip(&turn_indices[1..]).filter(|(_, turn)| **turn == index).map(|(it, _)| it)
    };
    let below = within().flat_map(|relative| relative.session.inferences());
    let usage = UsageTotal::from_inferences(turn.inferences().chain(below));
    let mut spans = agent::turn_spans(&ThreadScope::from_session(session), index + 1, turn, None);
    // The same name for every turn: MLflow's page and filters group traces by name.
    "codex_cli_turn".clone_into(&mut spans[0].name);
    spans[0].attributes = agent_attributes::turn_attributes(session, index, record);
    for relative in within() {
        agent::add_child_spans(relative, relatives, Layout::TracePerTurn, &mut spans);
    }
    let info = TraceInfo {
        session,
        source,
        prompt: turn.prompt.as_deref(),
        response: turn.final_answer.as_deref(),
        status: &turn.status,
        is_running: within().any(|relative| relative.session.is_running()),
        usage,
    };
    Some(info.into_trace(trace_of_turn(&session.meta.id, index + 1), spans, None))
}
