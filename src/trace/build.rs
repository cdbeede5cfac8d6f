//! Builds the trace of a session and its sub-agents, or a trace per turn: spans, and what MLflow calls trace info
//! (metadata, tags, previews, state).

use super::agent::{self, Layout};
use super::attributes::{self, without_credentials};
use super::draft::{Draft, PartialTrace};
use super::ids::{trace_of_thread, trace_of_turn};
use super::outcome::beginning;
use super::price::{UsageTotal, token_usage};
use super::price_book::PriceBook;
use super::thread_facts::{BuildScope, ThreadScope, earliest_start, with_failed_turns};
use super::{outcome, tree};
use crate::claim::thread_record::ThreadRecord;
use codex_session::session::family::{Family, Member, StartedBy, started_by};
use codex_session::session::model::{Session, TurnStatus};
use common::json::text::Text;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::trace::{Span, Trace, TraceState};
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::path::Path;

/// What a trace takes from neither the session file nor the thread record.
#[derive(Clone, Copy, Debug)]
pub struct TraceSource<'a> {
    /// The session file; of several, the one that Codex appends to.
    pub rollout: &'a Path,
    /// The user who ran Codex.
    pub user: Option<&'a str>,
    pub prices: &'a PriceBook,
}

/// The trace of a session and its sub-agents, with secrets and long texts: `redact` removes them later.
/// The same input always gives the same trace.
///
/// None for a session without a turn. None also without a thread id: all such files would share one trace id.
pub fn build_family(family: &Family, record: &ThreadRecord, source: TraceSource) -> Option<Trace> {
    rebuild_family(family, None, record, source).map(|built| built.trace)
}

/// As `build_family`. `before`: the family of the build before, with the same record. Of spans that cannot have changed
/// since, only outlines are built.
pub fn rebuild_family(
    family: &Family,
    before: Option<&Family>,
    record: &ThreadRecord,
    source: TraceSource,
) -> Option<PartialTrace> {
    let family = &*with_failed_turns(family, record);
    let before = before.map(|before| with_failed_turns(before, record));
    let build = BuildScope { before: before.as_deref(), prices: source.prices };
    let session = &family.members.first()?.session;
    let thread = Some(&*session.meta.id).filter(|id| !id.is_empty())?;
    let sessions = family.members.iter().map(|member| &member.session);
    let info = TraceInfo::from_sessions(sessions.clone(), source)?;
    let mut spans = vec![
        Span {
            name: "codex_cli_session".into(),
            parent: None,
            attributes: attributes::session_attributes(sessions, record),
            ..agent::span(session)
        }
        .into(),
    ];
    spans.reserve(session.turns.iter().map(|turn| 1 + turn.steps.len()).sum());
    agent::add_turn_spans(session, build, &mut spans);
    for member in &family.members[1..] {
        agent::add_child_spans(member, family, Layout::OneTrace, build, &mut spans);
    }
    Some(info.into_trace(trace_of_thread(thread), spans, session.last_line_at))
}

/// A trace per turn, with the sub-agents that the turn started. Empty where `build_family` returns None.
/// `before`: as for `rebuild_family`.
pub fn rebuild_turns(
    family: &Family,
    before: Option<&Family>,
    record: &ThreadRecord,
    source: TraceSource,
) -> Vec<PartialTrace> {
    let family = &*with_failed_turns(family, record);
    let before = before.map(|before| with_failed_turns(before, record));
    let build = BuildScope { before: before.as_deref(), prices: source.prices };
    let root = family.members.first().filter(|root| !root.session.meta.id.is_empty());
    let Some(Member { session, .. }) = root else { return Vec::new() };
    let turn_indices = turn_indices(family);
    let started = |turn| started_in(family, &turn_indices, turn..=turn);
    let trace = |turn| turn_trace(session, turn, (family, build), &started(turn), record, source);
    (0..session.turns.len()).map(trace).collect()
}

fn turn_trace(
    session: &Session,
    index: usize,
    (family, build): (&Family, BuildScope),
    started: &[&Member],
    record: &ThreadRecord,
    source: TraceSource,
) -> PartialTrace {
    let turn = &session.turns[index];
    let below = started.iter().flat_map(|member| member.session.inferences());
    let usage = UsageTotal::from_inferences(turn.inferences().chain(below), source.prices);
    let mut spans = agent::turn_spans(&ThreadScope::from_session(session, build), index + 1, turn, None);
    // The same name for every turn: MLflow's page and filters group traces by name.
    "codex_cli_turn".clone_into(&mut spans[0].name);
    spans[0].attributes = attributes::turn_attributes(session, index, record);
    for member in started {
        agent::add_child_spans(member, family, Layout::TracePerTurn, build, &mut spans);
    }
    let info = TraceInfo {
        session,
        source,
        prompt: turn.prompt.as_deref(),
        response: turn.final_answer.as_deref(),
        status: &turn.status,
        is_running: started.iter().any(|member| member.session.is_running()),
        usage,
    };
    info.into_trace(trace_of_turn(&session.meta.id, index + 1), spans, None)
}

/// For each member, the index of the session's turn that it descends from.
pub(super) fn turn_indices(family: &Family) -> Vec<usize> {
    let mut turns = vec![0; family.members.len()];
    for (index, member) in family.members.iter().enumerate() {
        turns[index] = match member.parent {
            None => 0,
            Some(0) => match started_by(&member.session, &family.members[0].session) {
                StartedBy::Call { turn, .. } | StartedBy::Turn(turn) => turn,
                StartedBy::Thread => 0,
            },
            Some(parent) => turns[parent],
        };
    }
    turns
}

/// The members that descend from these turns, without the session itself.
pub(super) fn started_in<'a>(
    family: &'a Family,
    turn_indices: &[usize],
    turns: impl RangeBounds<usize>,
) -> Vec<&'a Member> {
    let started = family.members.iter().zip(turn_indices).skip(1);
    started.filter(|(_, turn)| turns.contains(turn)).map(|(member, _)| member).collect()
}

/// The facts of a trace besides its spans.
pub(super) struct TraceInfo<'a> {
    pub(super) session: &'a Session,
    pub(super) source: TraceSource<'a>,
    pub(super) prompt: Option<&'a str>,
    pub(super) response: Option<&'a str>,
    /// Of the last turn in the trace.
    pub(super) status: &'a TurnStatus,
    /// Whether any session of the trace is running.
    pub(super) is_running: bool,
    pub(super) usage: UsageTotal,
}

impl<'a> TraceInfo<'a> {
    /// The facts of a session, which is the first one, and of those that it started. None where it has no turn.
    pub(super) fn from_sessions(
        mut sessions: impl Iterator<Item = &'a Session> + Clone,
        source: TraceSource<'a>,
    ) -> Option<TraceInfo<'a>> {
        let usage =
            UsageTotal::from_inferences(sessions.clone().flat_map(Session::inferences), source.prices);
        let is_running = sessions.clone().any(Session::is_running);
        let session = sessions.next()?;
        let (prompt, response) = (agent::prompt(session), agent::response(session).map(Text::as_str));
        let status = &session.turns.last()?.status;
        Some(TraceInfo { session, source, prompt, response, status, is_running, usage })
    }

    /// `spans`: the root first. `last`: the time that the root span covers at least.
    pub(super) fn into_trace(self, id: TraceId, spans: Vec<Draft>, last: Option<Timestamp>) -> PartialTrace {
        let spans = tree::settled(spans, earliest_start(self.session), last);
        let state = if self.is_running { TraceState::InProgress } else { outcome::state_of(self.status) };
        let without_answer = || beginning(&outcome::preview_of(self.status));
        let version = self.session.meta.cli_version.clone();
        let root = &spans[0];
        let trace = Trace {
            id,
            name: root.name.clone(),
            state,
            started_at: root.started_at,
            ended_at: root.ended_at,
            request_preview: self.prompt.map(beginning),
            response_preview: Some(self.response.map_or_else(without_answer, beginning)),
            context: Default::default(),
            metadata: self.metadata(),
            tags: version.map(|version| ("codex.cli_version".to_owned(), version)).into_iter().collect(),
            spans: Vec::new(),
        };
        PartialTrace::new(trace, spans)
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let TraceInfo { session, source, usage, .. } = self;
        let meta = &session.meta;
        let git = meta.git.clone().unwrap_or_default();
        let file = source.rollout.to_string_lossy();
        let rows = [
            ("session", Some(meta.id.clone())),
            ("source", Some("codex_cli".into())),
            ("session_file", Some(file.into_owned())),
            ("mlflow.trace_schema.version", Some("3".into())),
            ("mlflow.trace.session", Some(meta.id.clone())),
            ("mlflow.trace.user", source.user.map(str::to_owned)),
            ("mlflow.user", source.user.map(str::to_owned)),
            ("mlflow.trace.working_directory", meta.cwd.clone()),
            ("mlflow.source.name", Some("codex".into())),
            ("mlflow.source.type", Some("LOCAL".into())),
            ("mlflow.source.git.commit", git.commit_hash),
            ("mlflow.source.git.branch", git.branch),
            ("mlflow.source.git.repoURL", git.repository_url.as_deref().map(without_credentials)),
            ("mlflow.traceInputs", self.prompt.map(beginning)),
            ("mlflow.traceOutputs", self.response.map(beginning)),
            ("mlflow.trace.tokenUsage", usage.tokens.map(|tokens| token_usage(tokens).to_string())),
            ("mlflow.trace.cost", usage.cost.map(|cost| cost.to_json().to_string())),
            ("codex.cost_basis", usage.cost_basis()),
        ];
        rows.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}
