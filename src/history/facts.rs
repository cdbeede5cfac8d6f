//! What the index keeps of a thread: from a session, without a look at the disk.

use crate::trace::agent::prompt;
use crate::trace::attributes::active_ms;
use crate::trace::outcome::word_of;
use crate::trace::thread_facts::thread_start;
use codex_session::rollout::path::time_of;
use codex_session::rollout::usage::TokenUsage;
use codex_session::session::model::{Inference, Session};
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use std::path::PathBuf;

/// Characters of a prompt in the index.
const PROMPT: usize = 300;

/// A count of tokens in the index: sums of larger ones, which no model has, would overflow.
const MOST_TOKENS: u64 = 1 << 40;

/// Characters that are redacted, so that no cut secret is kept.
const MARGIN: usize = 16 << 10;

/// One thread: its own figures, without those of its sub-agents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ThreadFacts {
    pub(super) thread: ThreadId,
    pub(super) parent: Option<String>,
    pub(super) path: PathBuf,
    pub(super) began: Timestamp,
    /// Of the last line.
    pub(super) ended: Timestamp,
    pub(super) folder: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) prompt: Option<String>,
    /// The name of a sub-agent, or `review`.
    pub(super) agent: Option<String>,
    pub(super) version: Option<String>,
    pub(super) status: &'static str,
    pub(super) turns: usize,
    pub(super) active_ms: i64,
    pub(super) responses: Vec<ResponseFacts>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResponseFacts {
    pub(super) at: Timestamp,
    pub(super) service: Service,
    pub(super) usage: TokenUsage,
}

/// Who served a response, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) tier: Option<String>,
}

impl ThreadFacts {
    /// `redact`: as for `Redactor::text`.
    pub(super) fn from_session(
        thread: ThreadId,
        session: &Session,
        path: PathBuf,
        redact: impl Fn(&str) -> Option<String>,
    ) -> ThreadFacts {
        let meta = &session.meta;
        // A sub-agent of Codex 0.144 and later names the root in any case.
        let by_session =
            || meta.session_id.as_deref().filter(|root| *root != meta.id && meta.started_as().is_some());
        let beginning = |text: &str| {
            let text: String = text.chars().take(MARGIN).collect();
            redact(&text).unwrap_or(text).chars().take(PROMPT).collect()
        };
        let whole = |text: &str| redact(text).unwrap_or_else(|| text.to_owned());
        // The lines of Codex up to 0.2x have no times.
        let recorded = || Some(thread_start(session)).filter(|at| *at != Timestamp::UNIX_EPOCH);
        let began = session.first_line_at.or_else(recorded).or_else(|| time_of(&thread)).unwrap_or_default();
        ThreadFacts {
            thread,
            parent: meta.parent().or_else(by_session).map(str::to_owned),
            path,
            began,
            ended: session.last_line_at.unwrap_or(began),
            folder: meta.cwd.as_ref().or_else(|| session.folders.first()).map(|folder| whole(folder)),
            branch: meta.git.as_ref().and_then(|git| git.branch.as_deref()).map(whole),
            prompt: prompt(session).map(beginning),
            agent: meta.started_as().map(str::to_owned),
            version: meta.cli_version.clone(),
            status: session.turns.last().map_or("empty", |turn| word_of(&turn.status)),
            turns: session.turns.len(),
            active_ms: active_ms(session).unwrap_or(0),
            responses: session
                .inferences()
                .filter_map(|it| ResponseFacts::from_inference(it, began))
                .collect(),
        }
    }

    /// Each once, in the order of their first use.
    pub(super) fn models(&self) -> String {
        let mut models: Vec<&str> = Vec::new();
        for model in self.responses.iter().filter_map(|response| response.service.model.as_deref()) {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        models.join("\n")
    }
}

impl ResponseFacts {
    /// None for a response without a count of tokens.
    fn from_inference(inference: &Inference, began: Timestamp) -> Option<ResponseFacts> {
        let text = |text: &Option<common::json::text::Text>| text.as_ref().map(|text| text.to_string());
        Some(ResponseFacts {
            at: inference.ended_at.or(inference.started_at).unwrap_or(began),
            service: Service {
                provider: text(&inference.provider),
                model: text(&inference.model),
                tier: text(&inference.service_tier),
            },
            usage: bounded(inference.usage?),
        })
    }
}

fn bounded(usage: TokenUsage) -> TokenUsage {
    TokenUsage {
        input: usage.input.min(MOST_TOKENS),
        cached_input: usage.cached_input.min(MOST_TOKENS),
        cache_write_input: usage.cache_write_input.min(MOST_TOKENS),
        output: usage.output.min(MOST_TOKENS),
        reasoning_output: usage.reasoning_output.min(MOST_TOKENS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codex_session::session::{self, Writer};
    use std::path::Path;

    fn facts(file: &str) -> ThreadFacts {
        let path = Path::new("tests/corpus").join(file);
        let session = session::read(&path, Writer::Gone).unwrap();
        let thread = ThreadId::from_meta(&session.meta.id).unwrap();
        ThreadFacts::from_session(thread, &session, path, |text| Some(text.replace('e', "*")))
    }

    #[test]
    fn a_thread_has_its_own_figures_and_a_redacted_prompt() {
        let root = facts("0.169.0/nested-agents-1.jsonl");
        assert_eq!((root.parent, root.agent, root.status), (None, None, "completed"));
        assert!(root.prompt.is_some_and(|prompt| prompt.contains('*') && !prompt.contains('e')));
        assert!(root.active_ms > 0 && root.responses.len() > 1 && root.ended > root.began);
        let below = facts("0.169.0/nested-agents-2.jsonl");
        assert_eq!(below.parent.as_deref(), Some(root.thread.as_str()));
        assert!(below.agent.is_some() && !below.models().contains('\n'));
    }
}
