//! Reduces lines to a session, one line at a time: at exit, for imports and on live files.

use super::compactions::Compactions;
use super::copied::Copied;
use super::inferences::Inferences;
use super::model::{Clock, Session, TokenUsage};
use super::timeline::Timeline;
use super::tokens::Tokens;
use super::tools::ToolIndex;
use super::turns::{self, TurnIndex};
use super::user_shell;
use crate::rollout::event::{ErrorEvent, Event};
use crate::rollout::line::{Container, RolloutItem, RolloutLine, SessionMeta, TurnContext};
use crate::rollout::response_item::ResponseItem;
use crate::rollout::settings::ThreadSettingsApplied;
use crate::rollout::text::Text;
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
pub struct SessionReducer {
    pub(super) session: Session,
    pub(super) has_meta: bool,
    copied: Copied,
    timeline: Timeline,
    pub(super) turns: TurnIndex,
    pub(super) tools: ToolIndex,
    pub(super) inferences: Inferences,
    pub(super) tokens: Tokens,
    pub(super) compactions: Compactions,
    /// Codex's text of a review comes next; it looks like a response.
    pub(super) review_ended: bool,
    /// Why the turn that runs will fail.
    pub(super) error: Option<ErrorEvent>,
    /// The account's usage limit is reached, by the last line that reports limits.
    pub(super) is_limit_reached: bool,
}

/// A step's position. It stays valid: turns and steps are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepAt {
    pub(super) turn: usize,
    pub(super) step: usize,
}

impl SessionReducer {
    /// Takes the next line of the file, without its LF. Accepts any bytes.
    pub fn observe(&mut self, line: &[u8]) {
        match RolloutLine::parse(line) {
            Ok(line) => self.line(line),
            Err(_) => self.session.bad_lines += 1,
        }
    }

    fn line(&mut self, mut line: RolloutLine) {
        if self.copied.takes(&line, self.has_meta.then_some(&self.session.meta)) {
            return self.copied_item(line.item);
        }
        if let (RolloutItem::SessionMeta(meta), Container::Envelope) = (&line.item, line.container)
            && !self.has_meta
        {
            self.timeline.begin(meta.timestamp.as_ref().and_then(|text| text.parse().ok()));
        }
        self.timeline.set(&mut line);
        let (at, container) = (line.timestamp, line.container);
        if at.is_some() {
            self.session.first_line_at = self.session.first_line_at.or(at);
            self.session.last_line_at = self.session.last_line_at.max(at);
        }
        let turns = self.session.turns.len();
        match line.item {
            RolloutItem::SessionMeta(meta) if !self.has_meta => {
                self.session.clock = match container {
                    Container::Envelope => Clock::Utc,
                    Container::Bare => Clock::UnknownZone,
                };
                self.session.folders.extend(meta.cwd.clone());
                // A fork or rewind continues a history whose model already has its instructions.
                let is_fork = meta.forked_from_id.as_ref().is_some_and(|from| *from != meta.id);
                let is_new = !is_fork && meta.history_base.is_none();
                let instructions = meta.base_instructions.as_ref().map(|it| it.text.clone());
                self.inferences.instruct(instructions.filter(|text| is_new && !text.is_empty()));
                self.inferences.in_force.provider = meta.model_provider.as_deref().map(Text::from);
                self.session.meta = *meta;
                self.has_meta = true;
            }
            // Repeated within a file (0.140): not the thread's identity.
            RolloutItem::SessionMeta(_) | RolloutItem::Bookkeeping => {}
            RolloutItem::TurnContext(context) => self.turn_context(context, at),
            RolloutItem::StateRecord => self.inferences.mark(&mut self.session, at),
            RolloutItem::ResponseItem(item) => {
                if container == Container::Bare {
                    self.bare_prompt(&item);
                }
                if line.ordinal.is_none() {
                    self.user_shell(&item, at);
                }
                self.response_item(item, at);
            }
            RolloutItem::Event(event) => self.event(event, at),
            RolloutItem::TokenUsageRecord(record) => self.usage_record(&record, at),
            RolloutItem::Compacted(compacted) => self.compacted(compacted, at),
            RolloutItem::Unknown { kind } => self.unknown(kind),
        }
        self.session.turns[turns..].iter_mut().for_each(|begun| begun.ordinal = line.ordinal);
    }

    /// The session so far; an open turn is running.
    pub fn snapshot(&self) -> Session {
        let mut session = self.session.clone();
        self.turns.settle(&mut session);
        session
    }

    /// The first `session_meta` so far.
    pub fn meta(&self) -> &SessionMeta {
        &self.session.meta
    }

    /// Whether there are turns and none of them runs.
    pub fn is_at_rest(&self) -> bool {
        self.turns.is_at_rest(&self.session)
    }

    /// The session of a file that has no writer any more: an open turn is lost.
    pub fn finish(mut self) -> Session {
        self.inferences.end(&mut self.session);
        self.turns.settle(&mut self.session);
        turns::lose_the_open_one(&mut self.session);
        self.session
    }

    fn unknown(&mut self, kind: String) {
        *self.session.unknown_lines.entry(kind).or_default() += 1;
    }

    /// Takes only settings, token totals and unknown kinds from another thread's history.
    fn copied_item(&mut self, item: RolloutItem) {
        match item {
            RolloutItem::TurnContext(context) => self.inferences.in_force.turn_context(context),
            RolloutItem::Event(Event::ThreadSettingsApplied(applied)) => {
                applied
                    .thread_settings
                    .into_iter()
                    .for_each(|all| self.inferences.in_force.thread_settings(all));
            }
            RolloutItem::Event(Event::TokenCount(count)) => {
                if let Some(total) = count.info.and_then(|info| info.total_token_usage) {
                    self.inherit(TokenUsage::from_usage(total));
                }
            }
            RolloutItem::TokenUsageRecord(record) => {
                if let Some(total) = record.thread_token_usage {
                    self.inherit(TokenUsage::from_usage(total));
                }
            }
            RolloutItem::Unknown { kind } => self.unknown(kind),
            _ => {}
        }
    }

    fn turn_context(&mut self, context: TurnContext, at: Option<Timestamp>) {
        self.session.folders.extend(context.cwd.clone());
        if context.turn_id.is_none() {
            self.inferences.mark(&mut self.session, at);
        }
        self.inferences.in_force.turn_context(context);
    }

    /// Ignores settings of a review, which Codex mirrors into the file of the thread that asked for it.
    pub(super) fn settings_applied(&mut self, applied: ThreadSettingsApplied) {
        let is_own = |id: &String| !self.has_meta || *id == self.session.meta.id;
        let Some(settings) =
            applied.thread_settings.filter(|_| applied.thread_id.as_ref().is_none_or(is_own))
        else {
            return;
        };
        self.session.folders.extend(settings.cwd.clone());
        self.inferences.in_force.thread_settings(settings);
    }

    /// Begins a turn for a user's message, unless it is context that Codex adds.
    fn bare_prompt(&mut self, item: &ResponseItem) {
        if let ResponseItem::Message(message) = item
            && message.role == "user"
            && let text = &message.content.0
            && !turns::is_context(text)
        {
            let turn = self.begin_implied_turn(None);
            self.session.turns[turn].prompt = Some(text.to_string());
        }
    }

    fn user_shell(&mut self, item: &ResponseItem, at: Option<Timestamp>) {
        if let ResponseItem::Message(message) = item
            && message.role == "user"
            && let Some(call) = user_shell::call_in(&message.content.0, self.tools.count(), at)
        {
            let turn = self.current_turn(at);
            self.tools.push(&mut self.session, turn, call, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn session_of(payloads: &[(&str, Value)]) -> Session {
        let mut reducer = SessionReducer::default();
        for (kind, payload) in payloads {
            reducer.observe(json!({"type": kind, "payload": payload}).to_string().as_bytes());
        }
        reducer.finish()
    }

    fn begin(turn_id: &str) -> (&'static str, Value) {
        ("event_msg", json!({"type": "task_started", "turn_id": turn_id}))
    }

    fn say(text: &str) -> (&'static str, Value) {
        ("response_item", json!({"type": "message", "role": "assistant", "content": text}))
    }

    #[test]
    fn the_plan_is_a_part_of_a_plan_turns_answer() {
        let begin = |mode: &str| {
            let payload = json!({"type": "task_started", "turn_id": "a", "collaboration_mode_kind": mode});
            ("event_msg", payload)
        };
        // Codex writes the plan as an item of its own, and the rest as the last message.
        let end = |last: Value| {
            ("event_msg", json!({"type": "task_complete", "turn_id": "a", "last_agent_message": last}))
        };
        let planned = "Here:\n<proposed_plan>\n# Plan\n</proposed_plan>";
        let only_plan = "<proposed_plan>\n# Plan\n</proposed_plan>";
        let table = [
            ("plan", planned, json!("Here:\n"), planned),
            ("plan", only_plan, Value::Null, only_plan),
            ("plan", "What for?", json!("What for?"), "What for?"),
            ("default", planned, json!("as it ended"), "as it ended"),
        ];
        for (mode, text, last, answer) in table {
            let session = session_of(&[begin(mode), say(text), end(last)]);
            let turn = &session.turns[0];
            assert_eq!(turn.final_answer.as_deref(), Some(answer), "{mode} {text}");
            assert_eq!(turn.status, crate::session::model::TurnStatus::Completed);
        }
    }

    #[test]
    fn a_review_without_a_result_does_not_take_the_next_turns_response() {
        let item = json!({"type": "ExitedReviewMode", "review_output": null});
        let exited = ("event_msg", json!({"type": "item_completed", "turn_id": "review", "item": item}));
        let session = session_of(&[begin("review"), exited.clone(), begin("next"), say("hello")]);
        assert_eq!(
            session.inferences().map(|inference| &inference.texts[..]).collect::<Vec<_>>(),
            [["hello"]]
        );

        let session = session_of(&[begin("review"), exited, say("all good"), begin("next"), say("hello")]);
        assert_eq!(session.turns[0].final_answer.as_deref(), Some("all good"));
        assert_eq!(session.inferences().count(), 1);
    }

    #[test]
    fn the_first_request_of_a_new_thread_holds_its_instructions_once() {
        let meta = |more: Value| {
            let mut meta = json!({"id": "t", "base_instructions": {"text": "be Codex"}});
            meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("session_meta", meta)
        };
        let shown = |role: &str, text: &str| {
            ("response_item", json!({"type": "message", "role": role, "content": text}))
        };
        let requests = |lines: &[(&str, Value)]| {
            let session = session_of(lines);
            let messages = session.inferences().map(|it| it.new_messages.clone());
            messages.map(|all| all.iter().map(|it| it.text.to_string()).collect()).collect::<Vec<Vec<_>>>()
        };
        let turns = [begin("a"), shown("user", "go"), say("one"), shown("user", "on"), say("two")];
        let with = |first: &[(&'static str, Value)]| [first, &turns].concat();
        let repeated = [meta(json!({})), shown("developer", "be Codex")];
        let base = json!({"history_base": {"thread_id": "p", "end_ordinal_exclusive": 7}});
        for (first, expected) in [
            (&[meta(json!({}))][..], &["be Codex", "go"][..]),
            (&repeated, &["be Codex", "go"]),
            (&[meta(json!({"forked_from_id": "p"}))], &["go"]),
            (&[meta(base)], &["go"]),
            (&[meta(json!({"base_instructions": null}))], &["go"]),
            (&[meta(json!({"base_instructions": "be odd"}))], &["go"]),
        ] {
            assert_eq!(requests(&with(first)), [expected, &["on"]], "{first:?}");
        }
    }

    #[test]
    fn only_a_thread_that_begins_with_anothers_tokens_inherits_them() {
        let usage = |input: u64, total: u64| {
            let record =
                json!({"usage": {"input_tokens": input}, "thread_token_usage": {"input_tokens": total}});
            ("token_usage_record", record)
        };
        let reconciles = |lines: &[(&str, Value)]| session_of(lines).tokens_reconcile();
        assert_eq!(reconciles(&[begin("a"), usage(10, 10), usage(5, 15)]), Some(true));
        assert_eq!(reconciles(&[begin("a"), usage(10, 110), usage(5, 115)]), Some(true), "a fork");
        // The record of the first response was lost.
        let shown = ("response_item", json!({"type": "message", "role": "user", "content": "go on"}));
        assert_eq!(reconciles(&[begin("a"), say("one"), shown, usage(5, 15)]), Some(false));
    }

    #[test]
    fn an_id_that_a_provider_gives_twice_is_two_calls() {
        let call = |cmd: &str| {
            let arguments = json!({"command": [cmd]}).to_string();
            (
                "response_item",
                json!({"type": "function_call", "name": "shell", "call_id": "call_0", "arguments": arguments}),
            )
        };
        let answer = |code: u64| {
            let output = json!({"output": "printed", "metadata": {"exit_code": code}}).to_string();
            ("response_item", json!({"type": "function_call_output", "call_id": "call_0", "output": output}))
        };
        let session = session_of(&[begin("a"), call("true"), answer(0), call("false"), answer(1)]);
        let calls = session.turns[0].steps.iter().filter_map(|step| match step {
            super::super::model::Step::ToolCall(call) => {
                Some((call.arguments["cmd"].to_string(), call.facts.exit_code))
            }
            _ => None,
        });
        assert_eq!(calls.collect::<Vec<_>>(), [("\"true\"".into(), Some(0)), ("\"false\"".into(), Some(1))]);
    }
}
