//! Attributes of spans: of sessions, sub-agents, reviews and turns, and OpenTelemetry's for generative AI in addition to
//! MLflow's own.
//!
//! OpenTelemetry's names: registry of the GenAI semantic conventions as of 2026 (all with status "development").
//! MLflow 3.17 reads them too. Prompts and answers get no such attribute: the span's inputs and outputs hold them once.

use super::thread_facts::launch_of;
use crate::claim::thread_record::{LaunchEntry, ThreadRecord};
use codex_session::rollout::usage::TokenUsage;
use codex_session::session::model::{Inference, Session, ToolCall, Turn, TurnStatus};
use codex_session::session::tokens::Discrepancy;
use common::json::text::Text;
use common::json::value::{Map, Value};
use launch::exit::ChildExit;
use mlflow_store::mlflow_keys::ACTIVE_MS;
use std::collections::BTreeMap;

/// Agent name of a session that no other session started, in OpenTelemetry's attributes.
const CODEX: &str = "codex";

/// A tool that the model's server runs; all other tools run on this machine.
const SEARCH: &str = "web_search";

/// The attributes of a response that the spans of agents have in sum. Input includes cached tokens and tokens written to
/// the cache; output includes reasoning.
pub(super) const COUNTS: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"];

/// Root span attributes of a whole session's trace. `sessions`: the session itself, then those that it started.
pub(super) fn session_attributes<'a>(
    mut sessions: impl Iterator<Item = &'a Session> + Clone,
    record: &ThreadRecord,
) -> Map {
    let all = sessions.clone();
    let Some(session) = sessions.next() else { return Map::new() };
    let mut attributes = thread_attributes(session);
    attributes.put("codex.turns", Some(session.turns.len()));
    attributes.put("codex.llm_calls", Some(session.inferences().count()));
    attributes.put("codex.sub_agents", Some(sessions.count()).filter(|count| *count > 0));
    attributes.put(ACTIVE_MS, active_ms(session));
    attributes.put("codex.tokens_reconciled", reconciled(all.clone()));
    let discrepancy = all.clone().find_map(Session::discrepancy);
    attributes.put("codex.tokens_discrepancy", discrepancy.map(Discrepancy::as_str));
    // Such a session file holds local times that are marked as UTC.
    attributes.put("codex.local_time", Some(true).filter(|_| session.is_bare));
    put_drift(&mut attributes, all);
    attributes.put("codex.attribution", record.attribution().map(|evidence| evidence.as_str()));
    put_launch(&mut attributes, record.launches.last());
    if let [only] = &session.turns[..] {
        attributes.extend(attributes_of(only));
    }
    attributes
}

/// Root span attributes of one turn's trace. None of them changes when later turns follow.
pub(super) fn turn_attributes(session: &Session, index: usize, record: &ThreadRecord) -> Map {
    let mut attributes = attributes_of(&session.turns[index]);
    attributes.extend(thread_attributes(session));
    attributes.put("codex.turn", Some(index + 1));
    attributes.put(ACTIVE_MS, turn_ms(&session.turns[index], session));
    let launch = launch_of(&session.turns[index], record);
    let evidence = launch.map(|launch| launch.attribution).or(record.found);
    attributes.put("codex.attribution", evidence.map(|evidence| evidence.as_str()));
    put_launch(&mut attributes, launch);
    if index == 0 {
        put_drift(&mut attributes, std::iter::once(session));
    }
    attributes
}

/// Attributes of the span of a sub-agent or a review.
pub(super) fn child_attributes(session: &Session, name: &str) -> Map {
    let meta = &session.meta;
    let mut attributes = Map::new();
    attributes.put("codex.thread_id", Some(meta.id.as_str()));
    put_parent(&mut attributes, session);
    attributes.put("codex.turns", Some(session.turns.len()));
    attributes.put("codex.llm_calls", Some(session.inferences().count()));
    put_agent(&mut attributes, session, name, conversation_of(session));
    if let [only] = &session.turns[..] {
        attributes.extend(attributes_of(only));
    }
    attributes
}

/// Attributes of a single turn.
fn attributes_of(turn: &Turn) -> Map {
    let mut attributes = Map::new();
    attributes.put("codex.turn_id", turn.turn_id.as_deref());
    attributes.put("codex.time_to_first_token_ms", turn.time_to_first_token_ms);
    attributes.put("codex.mode", turn.mode.as_deref());
    attributes.put("codex.taken_back", Some(true).filter(|_| turn.is_taken_back));
    if let TurnStatus::Interrupted { reason } = &turn.status {
        attributes.put("codex.abort_reason", Some(reason.as_str()));
    }
    attributes
}

fn thread_attributes(session: &Session) -> Map {
    let meta = &session.meta;
    let mut attributes = Map::new();
    attributes.put("codex.thread_id", Some(meta.id.as_str()));
    attributes.put("codex.cli_version", meta.cli_version.as_deref());
    attributes.put("codex.originator", meta.originator.as_deref());
    attributes.put("codex.cwd", meta.cwd.as_deref());
    attributes.put("codex.forked_from_id", meta.forked_from_id.as_deref());
    // A sub-agent whose parent's session file is missing has a trace of its own.
    put_parent(&mut attributes, session);
    put_agent(&mut attributes, session, CODEX, &meta.id);
    if let Some(git) = &meta.git {
        let url = git.repository_url.as_deref().map(without_credentials);
        attributes.put("vcs.ref.head.revision", git.commit_hash.as_deref());
        attributes.put("vcs.ref.head.name", git.branch.as_deref());
        attributes.put("vcs.repository.url.full", url);
    }
    attributes
}

/// The thread that started this sub-agent or review.
fn put_parent(attributes: &mut Map, session: &Session) {
    attributes.put("codex.parent_thread_id", session.meta.parent());
    attributes.put("codex.agent_path", session.meta.agent_path.as_deref());
    attributes.put("codex.agent_nickname", session.meta.agent_nickname.as_deref());
}

fn put_launch(attributes: &mut Map, launch: Option<&LaunchEntry>) {
    let Some(launch) = launch else { return };
    attributes.put("codex.launch_id", Some(launch.launch_id.as_str()));
    match launch.exit {
        Some(ChildExit::Code(code)) => attributes.put("process.exit.code", Some(code)),
        Some(ChildExit::Signal(number)) => attributes.put("process.exit.signal", Some(number)),
        None => {}
    }
}

/// Attributes of a turn's span below the span of its thread.
pub(super) fn inner_turn_attributes(session: &Session, turn: &Turn) -> Map {
    let mut attributes = attributes_of(turn);
    let name = session.meta.started_as().unwrap_or(CODEX);
    put_agent(&mut attributes, session, name, conversation_of(session));
    attributes
}

/// OpenTelemetry's attributes of an agent: the session itself, or a sub-agent.
fn put_agent(attributes: &mut Map, session: &Session, name: &str, conversation: &str) {
    let meta = &session.meta;
    attributes.put("gen_ai.operation.name", Some(Text::word("invoke_agent")));
    attributes.put("gen_ai.agent.name", Some(name));
    attributes.put("gen_ai.agent.id", Some(meta.id.as_str()));
    attributes.put("gen_ai.agent.version", meta.cli_version.as_deref());
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.provider.name", meta.model_provider.as_deref());
}

/// A thread that another thread started takes the other's conversation id.
fn conversation_of(session: &Session) -> &str {
    let meta = &session.meta;
    let root = meta.session_id.as_deref().or(meta.parent()).filter(|_| meta.started_as().is_some());
    root.unwrap_or(&meta.id)
}

/// Lines that the reader did not understand, counted by kind.
fn put_drift<'a>(attributes: &mut Map, sessions: impl Iterator<Item = &'a Session>) {
    let (mut unknown, mut bad) = (BTreeMap::<&str, u64>::new(), 0);
    for session in sessions {
        for (kind, count) in &session.unknown_lines {
            *unknown.entry(kind).or_default() += count;
        }
        bad += session.bad_lines;
    }
    let kinds: Map = unknown.into_iter().map(|(kind, count)| (kind.into(), count.into())).collect();
    attributes.put("codex.unknown_lines", Some(kinds).filter(|kinds| !kinds.is_empty()));
    attributes.put("codex.bad_lines", Some(bad).filter(|count| *count > 0));
}

/// None where Codex recorded no token total for any of the sessions.
fn reconciled<'a>(sessions: impl Iterator<Item = &'a Session>) -> Option<bool> {
    sessions.filter_map(Session::tokens_reconcile).reduce(|all, one| all && one)
}

/// Sum of the turns' durations; the root span of a session resumed days later is much longer.
/// None where no turn has times.
/// Milliseconds in which its turns worked; None where no turn has a beginning.
pub(crate) fn active_ms(session: &Session) -> Option<i64> {
    let durations = session.turns.iter().filter_map(|turn| turn_ms(turn, session));
    durations.reduce(i64::saturating_add)
}

/// Milliseconds. A running turn counts until the session's last line. A lost turn ends at its own last line:
/// lines of later turns are no evidence for it.
fn turn_ms(turn: &Turn, session: &Session) -> Option<i64> {
    let last_line = session.last_line_at.filter(|_| turn.status == TurnStatus::Running);
    let ended_at = turn.ended_at.or(last_line).or_else(|| turn.last_seen_at())?;
    Some((ended_at.as_millisecond() - turn.started_at?.as_millisecond()).max(0))
}

/// Without user and password, which a Git remote's URL may hold: `https://user:token@host/…`.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let host_start = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host_start..])
}

/// OpenTelemetry's attributes of a model response. `is_whole`: the response is complete.
/// `first_token`: milliseconds since the request started.
pub(super) fn put_inference(
    attributes: &mut Map,
    inference: &Inference,
    conversation: &Text,
    provider: Option<&Text>,
    is_whole: bool,
    first_token: Option<i64>,
) {
    let model = inference.model.as_ref();
    attributes.put("gen_ai.operation.name", Some(Text::word("chat")));
    attributes.put("gen_ai.provider.name", provider);
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.request.model", model);
    attributes.put("gen_ai.response.id", inference.response_id.as_ref());
    if let Some(usage) = inference.usage {
        // Codex records only the requested model.
        attributes.put("gen_ai.response.model", model);
        put_counts(attributes, usage);
        attributes.put("gen_ai.usage.cache_read.input_tokens", Some(usage.cached_input));
        attributes.put("gen_ai.usage.cache_creation.input_tokens", Some(usage.cache_write_input));
        attributes.put("gen_ai.usage.reasoning.output_tokens", Some(usage.reasoning_output));
    }
    if is_whole {
        // The model does not stop for a tool that its server runs.
        let waits = inference.requests.iter().any(|request| request.name != SEARCH);
        let reason = Text::word(if waits { "tool_call" } else { "stop" });
        attributes.put("gen_ai.response.finish_reasons", Some(vec![Value::String(reason)]));
    }
    #[expect(clippy::cast_precision_loss, reason = "no response takes 2^53 milliseconds")]
    let seconds = first_token.map(|milliseconds| milliseconds as f64 / 1000.0);
    attributes.put("gen_ai.response.time_to_first_chunk", seconds);
}

pub(super) fn put_counts(attributes: &mut Map, usage: TokenUsage) {
    for (count, tokens) in COUNTS.into_iter().zip([usage.input, usage.output]) {
        attributes.put(count, Some(tokens));
    }
}

/// OpenTelemetry's attributes of a tool call.
pub(super) fn put_tool(attributes: &mut Map, call: &ToolCall, conversation: &Text) {
    attributes.put("gen_ai.operation.name", Some(Text::word("execute_tool")));
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.tool.name", Some(&call.name));
    attributes.put("gen_ai.tool.call.id", Some(&call.call_id));
    let kind = Text::word(if call.name == SEARCH { "extension" } else { "function" });
    attributes.put("gen_ai.tool.type", Some(kind));
    if call.server.is_some() {
        attributes.put("mcp.method.name", Some(Text::word("tools/call")));
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
