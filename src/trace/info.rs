//! A trace besides its spans: metadata, tags, previews, state. MLflow calls this trace info.

use super::agent_attributes::without_credentials;
use super::excerpt::beginning;
use super::thread_scope::earliest_start;
use super::totals::{UsageTotal, token_usage};
use super::{agent, gen_ai, outcome, tree};
use codex_session::session::model::{Session, TurnStatus};
use common::json::text::Text;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::trace::{Span, Trace, TraceState};
use std::collections::BTreeMap;
use std::path::Path;

/// Facts for a trace that neither the session file nor the thread record holds.
#[derive(Clone, Copy, Debug)]
pub struct TraceSource<'a> {
    /// The session file; of several, the one that Codex appends to.
    pub rollout: &'a Path,
    /// The user who ran Codex.
    pub user: Option<&'a str>,
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
        let usage = UsageTotal::from_inferences(sessions.clone().flat_map(Session::inferences));
        let is_running = sessions.clone().any(Session::is_running);
        let session = sessions.next()?;
        let (prompt, response) = (agent::prompt(session), agent::response(session).map(Text::as_str));
        let status = &session.turns.last()?.status;
        Some(TraceInfo { session, source, prompt, response, status, is_running, usage })
    }

    /// `spans`: the root first. `last`: the time that the root span covers at least.
    pub(super) fn into_trace(self, id: TraceId, spans: Vec<Span>, last: Option<Timestamp>) -> Trace {
        let mut spans = tree::settled(spans, earliest_start(self.session), last);
        gen_ai::add_up(&mut spans);
        let state = if self.is_running { TraceState::InProgress } else { outcome::state_of(self.status) };
        let without_answer = || beginning(&outcome::preview_of(self.status));
        let root = &spans[0];
        Trace {
            id,
            name: root.name.clone(),
            state,
            started_at: root.started_at,
            ended_at: root.ended_at,
            request_preview: self.prompt.map(beginning),
            response_preview: Some(self.response.map_or_else(without_answer, beginning)),
            metadata: self.metadata(),
            tags: tags(self.session),
            spans,
        }
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

fn tags(session: &Session) -> BTreeMap<String, String> {
    let version = session.meta.cli_version.clone().map(|version| ("codex.cli_version".to_owned(), version));
    version.into_iter().collect()
}
