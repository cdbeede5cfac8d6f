//! A trace besides its spans: metadata, tags, previews, state. MLflow calls this trace info.

use super::excerpt::beginning;
use super::outcome;
use super::totals::{UsageTotal, token_usage};
use codex_session::session::model::{Session, TurnStatus};
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

impl TraceInfo<'_> {
    /// `spans`: the root first.
    pub(super) fn into_trace(self, id: TraceId, spans: Vec<Span>) -> Trace {
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

/// Without user and password, which a Git remote's URL may hold: `https://user:token@host/…`.
pub(super) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let host_start = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host_start..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_url_loses_its_credentials() {
        let table = [
            ("https://me:secret@host/a.git", "https://host/a.git"),
            ("https://host/a@b.git", "https://host/a@b.git"),
            ("https://me@host", "https://host"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("/srv/a.git", "/srv/a.git"),
        ];
        for (url, clean) in table {
            assert_eq!(without_credentials(url), clean);
        }
    }
}
