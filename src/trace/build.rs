//! From a session to its trace: the root, a span per turn when there is more than one, what is known of all.

use super::ids::{SpanId, TraceId};
use super::limits::beginning;
use super::model::{Span, SpanStatus, SpanType, Trace, TraceState};
use super::price::{self, Cost};
use super::spans::{self, ThreadScope};
use crate::claim::record::{LaunchRecord, ThreadRecord};
use crate::launch::exit::ChildExit;
use crate::session::model::{Session, TokenUsage, Turn, TurnStatus};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What belongs to a trace and stands neither in the rollout nor in the thread's record.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    pub rollout: &'a Path,
    /// Who ran Codex.
    pub user: Option<&'a str>,
}

/// The trace of a thread, with all that is in it: before it goes anywhere secrets are taken out and long texts cut
/// (`redact`). The same session, record and surroundings give the same trace.
///
/// None for a session without a turn: nobody asked anything. None also where nothing tells the thread:
/// all such files would have one trace.
pub fn build(session: &Session, record: &ThreadRecord, surroundings: Surroundings) -> Option<Trace> {
    let last_turn = session.turns.last()?;
    let thread = Some(&session.meta.id).filter(|id| !id.is_empty())?;
    let root_id = SpanId::of(thread, "root");
    let began = thread_began(session);
    let scope = ThreadScope { thread, provider: session.meta.model_provider.as_deref(), began };

    let mut spans = Vec::new();
    for (index, turn) in session.turns.iter().enumerate() {
        if session.turns.len() == 1 {
            spans.extend(spans::of_turn(scope, turn, root_id));
        } else {
            spans.extend(turn_spans(scope, index + 1, turn, root_id));
        }
    }
    let started_at = spans.iter().map(|span| span.started_at).chain([began]).min()?;
    let ended_at =
        spans.iter().map(|span| span.ended_at).chain(session.last_line_at).chain([started_at]).max()?;

    let prompt = session.turns.iter().find_map(|turn| turn.prompt.as_deref());
    let response = session.turns.iter().rev().find_map(|turn| turn.final_answer.as_deref());
    let (usage, cost) = (session.usage(), cost_of(session));
    spans.insert(
        0,
        Span {
            id: root_id,
            parent: None,
            name: "codex_cli_session".into(),
            span_type: SpanType::Agent,
            status: status_of(&last_turn.status),
            started_at,
            ended_at,
            inputs: json!({ "prompt": prompt }),
            outputs: outcome(response, &last_turn.status),
            attributes: root_attributes(session, record, usage),
            events: spans::failure_event(&last_turn.status, ended_at),
        },
    );
    Some(Trace {
        id: TraceId::of_thread(thread),
        name: "codex_cli_session".into(),
        state: state_of(&last_turn.status),
        started_at,
        ended_at,
        request_preview: prompt.map(beginning),
        response_preview: response.map(beginning).or_else(|| preview_of(&last_turn.status)),
        metadata: metadata(session, surroundings, prompt, response, usage, cost),
        tags: tags(session),
        spans,
    })
}

/// When the thread was made; the earliest line where the file does not say.
fn thread_began(session: &Session) -> Timestamp {
    let told = session.meta.timestamp.as_ref().and_then(|text| text.parse().ok());
    told.or(session.first_line_at).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn turn_spans(scope: ThreadScope, number: usize, turn: &Turn, root: SpanId) -> Vec<Span> {
    let id = SpanId::of(scope.thread, &format!("turn:{number}"));
    let children = spans::of_turn(scope, turn, id);
    let told = turn.started_at.unwrap_or(scope.began);
    let started_at = children.iter().map(|span| span.started_at).min().map_or(told, |first| first.min(told));
    let last = children.iter().map(|span| span.ended_at).max().unwrap_or(started_at);
    let ended_at = turn.ended_at.unwrap_or(last).max(started_at);
    let span = Span {
        id,
        parent: Some(root),
        name: format!("turn_{number}"),
        span_type: SpanType::Agent,
        status: status_of(&turn.status),
        started_at,
        ended_at,
        inputs: json!({ "prompt": turn.prompt }),
        outputs: outcome(turn.final_answer.as_deref(), &turn.status),
        attributes: turn_attributes(turn),
        events: spans::failure_event(&turn.status, ended_at),
    };
    std::iter::once(span).chain(children).collect()
}

fn turn_attributes(turn: &Turn) -> Map<String, Value> {
    let mut attributes = Map::new();
    put(&mut attributes, "codex.turn_id", turn.turn_id.as_deref());
    put(&mut attributes, "codex.time_to_first_token_ms", turn.time_to_first_token_ms);
    if let TurnStatus::Interrupted { reason } = &turn.status {
        put(&mut attributes, "codex.abort_reason", Some(reason.as_str()));
    }
    attributes
}

fn outcome(response: Option<&str>, status: &TurnStatus) -> Value {
    let mut outputs = Map::new();
    // Absent rather than null: MLflow's page would show "null" as the answer.
    put(&mut outputs, "response", response);
    put(&mut outputs, "status", Some(word_of(status)));
    if let TurnStatus::Failed { message, .. } = status {
        put(&mut outputs, "error", Some(message.as_str()));
    }
    Value::Object(outputs)
}

fn word_of(status: &TurnStatus) -> &'static str {
    match status {
        TurnStatus::Running => "running",
        TurnStatus::Completed => "completed",
        TurnStatus::Failed { .. } => "failed",
        TurnStatus::Interrupted { .. } => "interrupted",
        TurnStatus::Lost => "lost",
    }
}

/// To interrupt is a person's right, not an error.
fn status_of(status: &TurnStatus) -> SpanStatus {
    match status {
        TurnStatus::Running => SpanStatus::Unset,
        TurnStatus::Completed | TurnStatus::Interrupted { .. } => SpanStatus::Ok,
        TurnStatus::Failed { message, .. } => SpanStatus::Error { message: message.clone() },
        TurnStatus::Lost => SpanStatus::Error { message: spans::LOST.into() },
    }
}

/// A session stands as its last turn does: one that failed and was taken up again is well.
fn state_of(status: &TurnStatus) -> TraceState {
    match status_of(status) {
        SpanStatus::Unset => TraceState::InProgress,
        SpanStatus::Ok => TraceState::Ok,
        SpanStatus::Error { .. } => TraceState::Error,
    }
}

/// What stands in MLflow's list where there is no answer.
fn preview_of(status: &TurnStatus) -> Option<String> {
    match status {
        TurnStatus::Failed { message, .. } => Some(beginning(&format!("failed: {message}"))),
        TurnStatus::Interrupted { .. } | TurnStatus::Lost => Some(word_of(status).into()),
        TurnStatus::Running | TurnStatus::Completed => None,
    }
}

fn root_attributes(
    session: &Session,
    record: &ThreadRecord,
    usage: Option<TokenUsage>,
) -> Map<String, Value> {
    let meta = &session.meta;
    let mut attributes = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            attributes.insert(key.into(), value);
        }
    };
    let text = |value: &Option<String>| value.as_ref().map(|text| json!(text));
    add("codex.thread_id", Some(json!(meta.id)));
    add("codex.cli_version", text(&meta.cli_version));
    add("codex.originator", text(&meta.originator));
    add("codex.cwd", text(&meta.cwd));
    add("codex.forked_from_id", text(&meta.forked_from_id));
    add("codex.turns", Some(json!(session.turns.len())));
    add("codex.llm_calls", Some(json!(session.inferences().count())));
    add("codex.active_ms", Some(json!(active_ms(session))));
    add("codex.tokens_reconciled", session.tokens_reconcile().map(|fits| json!(fits)));
    if !session.unknown_lines.is_empty() {
        add("codex.unknown_lines", Some(json!(session.unknown_lines)));
    }
    if session.bad_lines > 0 {
        add("codex.bad_lines", Some(json!(session.bad_lines)));
    }
    add("codex.attribution", record.attribution().map(|evidence| json!(evidence.as_str())));
    if let Some(LaunchRecord { launch_id, exit, .. }) = record.launches.last() {
        add("codex.launch_id", Some(json!(launch_id)));
        match exit {
            Some(ChildExit::Code(code)) => add("process.exit.code", Some(json!(code))),
            Some(ChildExit::Signal(number)) => add("process.exit.signal", Some(json!(number))),
            None => {}
        }
    }
    add("gen_ai.operation.name", Some(json!("invoke_agent")));
    add("gen_ai.agent.name", Some(json!("codex")));
    add("gen_ai.conversation.id", Some(json!(meta.id)));
    add("gen_ai.provider.name", text(&meta.model_provider));
    add("gen_ai.usage.input_tokens", usage.map(|usage| json!(usage.input)));
    add("gen_ai.usage.output_tokens", usage.map(|usage| json!(usage.output)));
    if let Some(git) = &meta.git {
        add("vcs.ref.head.revision", text(&git.commit_hash));
        add("vcs.ref.head.name", text(&git.branch));
        add(
            "vcs.repository.url.full",
            git.repository_url.as_deref().map(|url| json!(without_credentials(url))),
        );
    }
    if let [only] = &session.turns[..] {
        attributes.extend(turn_attributes(only));
    }
    attributes
}

/// How long turns ran, beside the span of a session that was taken up again days later.
fn active_ms(session: &Session) -> i64 {
    let durations = session.turns.iter().filter_map(|turn| {
        let ended_at = turn.ended_at.or(session.last_line_at)?;
        Some(ended_at.as_millisecond() - turn.started_at?.as_millisecond())
    });
    durations.map(|millis| millis.max(0)).fold(0, i64::saturating_add)
}

fn cost_of(session: &Session) -> Option<Cost> {
    let mut sum: Option<Cost> = None;
    for inference in session.inferences() {
        let (Some(model), Some(usage)) = (&inference.model, inference.usage) else {
            continue;
        };
        // A sum that leaves out an unknown model would look like the whole.
        *sum.get_or_insert_default() += Cost::of(model, usage)?;
    }
    sum
}

fn metadata(
    session: &Session,
    surroundings: Surroundings,
    prompt: Option<&str>,
    response: Option<&str>,
    usage: Option<TokenUsage>,
    cost: Option<Cost>,
) -> BTreeMap<String, String> {
    let meta = &session.meta;
    let git = meta.git.clone().unwrap_or_default();
    let file = surroundings.rollout.to_string_lossy();
    let rows = [
        ("session", Some(meta.id.clone())),
        ("source", Some("codex_cli".into())),
        ("session_file", Some(file.into_owned())),
        ("mlflow.trace_schema.version", Some("3".into())),
        ("mlflow.trace.session", Some(meta.id.clone())),
        ("mlflow.trace.user", surroundings.user.map(str::to_owned)),
        ("mlflow.user", surroundings.user.map(str::to_owned)),
        ("mlflow.trace.working_directory", meta.cwd.clone()),
        ("mlflow.source.name", Some("codex".into())),
        ("mlflow.source.type", Some("LOCAL".into())),
        ("mlflow.source.git.commit", git.commit_hash),
        ("mlflow.source.git.branch", git.branch),
        ("mlflow.source.git.repoURL", git.repository_url.as_deref().map(without_credentials)),
        ("mlflow.traceInputs", prompt.map(beginning)),
        ("mlflow.traceOutputs", response.map(beginning)),
        ("mlflow.trace.tokenUsage", usage.map(|usage| spans::token_usage(usage).to_string())),
        ("mlflow.trace.cost", cost.map(|cost| cost.to_json().to_string())),
        ("codex.cost_basis", cost.map(|_| format!("list price of {}", price::as_of()))),
    ];
    rows.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn tags(session: &Session) -> BTreeMap<String, String> {
    let version = session.meta.cli_version.clone().map(|version| ("codex.cli_version".to_owned(), version));
    version.into_iter().collect()
}

/// A remote's URL may carry a password: `https://user:token@host/…`.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let host_start = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host_start..])
        }
        None => url.to_owned(),
    }
}

pub(super) fn put(attributes: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        attributes.insert(key.into(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remotes_password_stays_at_home() {
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
