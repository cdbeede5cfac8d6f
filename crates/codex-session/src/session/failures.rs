//! Failed requests to the model: recorded by Codex, or inferred from what is missing.

use super::model::{Failure, Session, Turn};
use crate::rollout::event::{ErrorEvent, RateLimit, RateLimits, TurnEndEvent};
use crate::thread::ThreadId;
use common::json::value::Value;

/// Codex's own name of the kind (0.145 and later).
const USAGE_LIMIT: &str = "usage_limit_exceeded";

/// Why Codex ended the turn, where its end line has a reason.
pub(super) fn of_turn(complete: &TurnEndEvent) -> Option<Failure> {
    let error = complete.error.as_ref()?;
    let message = text_of(error.get("message").unwrap_or(error));
    Some(Failure { message, kind: kind_of(error.get("codex_error_info")) })
}

impl From<ErrorEvent> for Failure {
    fn from(error: ErrorEvent) -> Failure {
        Failure { kind: kind_of(error.codex_error_info.as_ref()), message: error.message }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Codex's word, or JSON where Codex records an object.
fn kind_of(info: Option<&Value>) -> Option<String> {
    info.filter(|info| !info.is_null()).map(text_of)
}

/// Codex 0.107 to 0.144 writes no error when a usage limit, a 401 or the network ends a turn: the turn completes
/// without a last message. None for a turn that may end so without a failure: its prompt was answered, or there was
/// no request to the model.
pub(super) fn without_answer(session: &Session, turn: &Turn, is_limit_reached: bool) -> Option<Failure> {
    // The answer of a review is no response of the model.
    if turn.final_answer.is_some() {
        return None;
    }
    let message = match turn.inferences().last() {
        _ if turn.is_unanswered && is_limit_reached => {
            return Some(Failure {
                message: "codex ended the turn without an answer: the usage limit was reached".into(),
                kind: Some(USAGE_LIMIT.into()),
            });
        }
        _ if turn.is_unanswered => "codex ended the turn without an answer",
        // A complete response has a usage, and its text would be the last message. Where Codex made up the end of an
        // old turn (`migrate-rollouts`), it knows no message.
        Some(last)
            if last.usage.is_none()
                && last.requests.is_empty()
                && if last.texts.iter().all(|text| is_no_message(text, turn.mode.as_deref())) {
                    // Some providers report no usage.
                    last.attempt.is_some() || session.usage().is_some()
                } else {
                    is_codexs_own(turn.turn_id.as_deref())
                } =>
        {
            "codex ended the turn in the middle of a response"
        }
        _ => return None,
    };
    Some(Failure { message: message.into(), kind: Some(Failure::NO_ANSWER.into()) })
}

/// Codex removes plans and citations from a last message, and drops a blank rest: such a response may be complete.
fn is_no_message(text: &str, mode: Option<&str>) -> bool {
    let text = without(text, "<oai-mem-citation>", "</oai-mem-citation>");
    let rest = match mode {
        Some("plan") => without(&text, "<proposed_plan>", "</proposed_plan>"),
        _ => text,
    };
    rest.trim().is_empty()
}

/// The text without everything between these marks; a part without an end mark reaches to the end of the text.
fn without(text: &str, begin: &str, end: &str) -> String {
    let mut parts = text.split(begin);
    let mut rest = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once(end)).for_each(|(_, after)| rest.push_str(after));
    rest
}

/// False for turns of before 0.104, which `migrate-rollouts` names `rollout-5`.
fn is_codexs_own(turn_id: Option<&str>) -> bool {
    turn_id.is_some_and(|id| ThreadId::parse(id).is_some())
}

/// False for errors after which Codex continues the turn.
pub(super) fn is_of_a_turn(failure: &Failure) -> bool {
    !matches!(failure.kind.as_deref(), Some("thread_rollback_failed" | "active_turn_not_steerable"))
}

/// False for errors of a turn that came before any request to the model.
pub(super) fn is_of_a_request(failure: &Failure) -> bool {
    failure.kind.as_deref() != Some("sandbox_error")
}

/// Which attempt failed: `Reconnecting... 2/5` and `…; retrying 2/5 in 400ms…` follow the second.
pub(super) fn attempt_in(message: &str) -> Option<u32> {
    let (before, after) = message.rsplit_once('/')?;
    after.starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
    let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    before[before.len() - digits..].parse().ok()
}

pub(super) fn is_reached(limits: &RateLimits) -> bool {
    let is_used_up = |limit: &RateLimit| limit.used_percent.is_some_and(|percent| percent >= 100.0);
    [&limits.primary, &limits.secondary].into_iter().flatten().any(is_used_up)
}

#[cfg(test)]
mod tests;
