//! From lines to a session, one line at a time: the same code at exit, for an import, on a live file.

use super::call;
use super::compactions::Compactions;
use super::copied::Copied;
use super::inferences::Inferences;
use super::model::{Clock, Message, Session, TokenUsage, TurnStatus};
use super::tokens::{First, Tokens};
use super::tools::ToolIndex;
use super::turns::{self, TurnIndex};
use super::user_shell;
use crate::rollout::event::{ErrorEvent, Event, Item, ItemCompleted, TaskComplete, TokenCount};
use crate::rollout::line::{
    Compacted, Container, RolloutItem, RolloutLine, SessionMeta, TokenUsageRecord, TurnContext,
};
use crate::rollout::response_item::{ResponseItem, text_of};
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
pub struct SessionReducer {
    session: Session,
    has_meta: bool,
    copied: Copied,
    turns: TurnIndex,
    tools: ToolIndex,
    inferences: Inferences,
    tokens: Tokens,
    compactions: Compactions,
    /// Codex's text of a review comes next; it looks like a response.
    review_ended: bool,
    /// Why the turn that runs will fail.
    error: Option<ErrorEvent>,
}

/// A step's place: turns and steps are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepAt {
    pub(super) turn: usize,
    pub(super) step: usize,
}

impl SessionReducer {
    /// Takes the next line of the file, without its LF. Any bytes will do.
    pub fn observe(&mut self, line: &[u8]) {
        match RolloutLine::parse(line) {
            Ok(line) => self.line(line),
            Err(_) => self.session.bad_lines += 1,
        }
    }

    fn line(&mut self, line: RolloutLine) {
        if self.copied.takes(&line, self.has_meta.then_some(&self.session.meta)) {
            return self.copied_item(line.item);
        }
        let (at, container) = (line.timestamp, line.container);
        if at.is_some() {
            self.session.first_line_at = self.session.first_line_at.or(at);
            self.session.last_line_at = self.session.last_line_at.max(at);
        }
        match line.item {
            RolloutItem::SessionMeta(meta) if !self.has_meta => {
                self.session.clock = match container {
                    Container::Envelope => Clock::Utc,
                    Container::Bare => Clock::UnknownZone,
                };
                self.session.meta = meta;
                self.has_meta = true;
            }
            // Written again within a file (0.140): not an identity.
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
    }

    /// The session so far; an open turn is running.
    pub fn snapshot(&self) -> Session {
        let mut session = self.session.clone();
        self.turns.settle(&mut session);
        session
    }

    /// Whose session it is.
    pub fn meta(&self) -> &SessionMeta {
        &self.session.meta
    }

    /// Whether something was asked, and no turn runs.
    pub fn is_at_rest(&self) -> bool {
        self.turns.is_at_rest(&self.session)
    }

    /// The session of a file that nobody writes any more: an open turn is lost.
    pub fn finish(mut self) -> Session {
        self.inferences.end(&mut self.session);
        self.turns.settle(&mut self.session);
        turns::lose_the_open_one(&mut self.session);
        self.session
    }

    fn unknown(&mut self, kind: String) {
        *self.session.unknown_lines.entry(kind).or_default() += 1;
    }

    /// Of another thread's history only what this one goes on with.
    fn copied_item(&mut self, item: RolloutItem) {
        match item {
            RolloutItem::TurnContext(context) => self.inferences.set(context.model, context.effort),
            RolloutItem::Event(Event::TokenCount(count)) => {
                if let Some(total) = count.info.and_then(|info| info.total_token_usage) {
                    self.tokens.copy(total.into());
                }
            }
            RolloutItem::TokenUsageRecord(record) => {
                if let Some(total) = record.thread_token_usage {
                    self.tokens.copy(total.into());
                }
            }
            RolloutItem::Unknown { kind } => self.unknown(kind),
            _ => {}
        }
    }

    fn turn_context(&mut self, context: TurnContext, at: Option<Timestamp>) {
        self.inferences.set(context.model, context.effort);
        if context.turn_id.is_none() {
            self.inferences.mark(&mut self.session, at);
        }
    }

    fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started) if self.turns.is_a_reviews(&self.session, &started) => {}
            Event::TaskStarted(started) => self.begin_turn(started.turn_id, at),
            Event::TaskComplete(complete) => self.complete_turn(complete, at),
            Event::TurnAborted(aborted) => {
                self.inferences.end(&mut self.session);
                let reason = aborted.reason.unwrap_or_else(|| "interrupted".into());
                let status = TurnStatus::Interrupted { reason };
                self.turns.end(&mut self.session, aborted.turn_id.as_deref(), status, at);
            }
            Event::ItemCompleted(completed) => self.item_completed(*completed, at),
            Event::TokenCount(count) => self.token_count(&count, at),
            Event::AgentMessage(message) => {
                let turn = self.turns.current(&mut self.session, at);
                self.inferences.echo(&mut self.session, turn, message.message, at);
            }
            Event::ThreadRolledBack(back) => turns::roll_back(&mut self.session, back.num_turns),
            Event::Error(error) => self.error = Some(error),
            Event::Bookkeeping => {}
        }
    }

    fn begin_turn(&mut self, turn_id: Option<String>, at: Option<Timestamp>) {
        self.inferences.begin_turn(&mut self.session, at);
        (self.review_ended, self.error) = (false, None);
        self.turns.begin(&mut self.session, turn_id, at);
    }

    /// A prompt is all that tells of a turn (up to 0.103).
    fn begin_implied_turn(&mut self, at: Option<Timestamp>) -> usize {
        self.inferences.begin_turn(&mut self.session, at);
        (self.review_ended, self.error) = (false, None);
        self.turns.begin_implied(&mut self.session, at)
    }

    fn complete_turn(&mut self, complete: TaskComplete, at: Option<Timestamp>) {
        self.inferences.end(&mut self.session);
        let status = turns::status_of(&complete, self.error.take());
        if let Some(turn) = self.turns.end(&mut self.session, complete.turn_id.as_deref(), status, at) {
            turn.final_answer = complete.last_agent_message.or(turn.final_answer.take());
            turn.time_to_first_token_ms = complete.time_to_first_token_ms;
            turns::answer_from_responses(turn);
        }
    }

    /// What a person wrote, among what Codex adds of its own.
    fn bare_prompt(&mut self, item: &ResponseItem) {
        if let ResponseItem::Message(message) = item
            && message.role == "user"
            && let text = text_of(&message.content)
            && !turns::is_context(&text)
        {
            let turn = self.begin_implied_turn(None);
            self.session.turns[turn].prompt = Some(text);
        }
    }

    fn user_shell(&mut self, item: &ResponseItem, at: Option<Timestamp>) {
        if let ResponseItem::Message(message) = item
            && message.role == "user"
            && let Some(call) = user_shell::told_in(&text_of(&message.content), self.tools.count(), at)
        {
            let turn = self.turns.current(&mut self.session, at);
            self.tools.push(&mut self.session, turn, call);
        }
    }

    fn response_item(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        match item {
            ResponseItem::Message(message) if message.role == "assistant" && self.review_ended => {
                self.tell_review(text_of(&message.content), at);
            }
            ResponseItem::Message(message) if message.role == "assistant" => {
                let turn = self.turns.current(&mut self.session, at);
                self.inferences.respond(&mut self.session, turn, at, |inference| {
                    inference.texts.push(text_of(&message.content));
                });
            }
            ResponseItem::Message(message) => self.show(message.role, text_of(&message.content), None, at),
            ResponseItem::AgentMessage(message) => self.agent_message(text_of(&message.content), at),
            ResponseItem::Reasoning(reasoning) => {
                let texts = reasoning.summary.into_iter().chain(reasoning.content.into_iter().flatten());
                let turn = self.turns.current(&mut self.session, at);
                self.inferences.respond(&mut self.session, turn, at, |inference| {
                    inference.reasoning.extend(texts.map(|part| part.text));
                });
            }
            ResponseItem::ToolOutput(output) => {
                let text = text_of(&output.output);
                self.tools.answer(&mut self.session, &output.call_id, &text, at);
                self.show("tool".into(), text, Some(output.call_id), at);
            }
            ResponseItem::ToolSearchOutput(output) => {
                let text = output.tools.map(|tools| tools.to_string()).unwrap_or_default();
                if let Some(call_id) = &output.call_id {
                    self.tools.answer(&mut self.session, call_id, &text, at);
                }
                self.show("tool".into(), text, output.call_id, at);
            }
            ResponseItem::Bookkeeping => {}
            call => self.request(call, at),
        }
    }

    /// The model asked for a tool. A search that the model's side did is recorded before it is asked for.
    fn request(&mut self, mut item: ResponseItem, at: Option<Timestamp>) {
        if let ResponseItem::WebSearchCall(search) = &mut item {
            search.id = search.id.take().or_else(|| self.tools.take_search());
        }
        let Some((request, call)) = call::requested(item, self.tools.count(), at) else {
            return;
        };
        let turn = self.turns.current(&mut self.session, at);
        self.inferences.respond(&mut self.session, turn, at, |inference| inference.requests.push(request));
        if self.tools.contains(&call.call_id) {
            self.tools.describe(&mut self.session, call);
            return;
        }
        self.tools.push(&mut self.session, turn, call);
    }

    /// The model was shown something: whatever it says next is a new response.
    fn show(&mut self, role: String, text: String, tool_call_id: Option<String>, at: Option<Timestamp>) {
        self.inferences.show(&mut self.session, Message { role, text, tool_call_id }, at);
    }

    /// Another agent's word; the first one is the task of a sub-agent.
    fn agent_message(&mut self, text: String, at: Option<Timestamp>) {
        if let Some(turn) = self.session.turns.last_mut()
            && turn.prompt.is_none()
            && turn.steps.is_empty()
        {
            turn.prompt = Some(text.clone());
        }
        self.show("user".into(), text, None, at);
    }

    fn usage_record(&mut self, record: &TokenUsageRecord, at: Option<Timestamp>) {
        let usage = TokenUsage::from(record.usage);
        let turn = self.turns.current(&mut self.session, at);
        self.inferences.respond(&mut self.session, turn, at, |inference| {
            inference.usage = Some(usage);
            inference.response_id.clone_from(&record.response_id);
        });
        self.inferences.over(&mut self.session, at);
        self.tokens.record(usage, record.thread_token_usage.map(TokenUsage::from), self.first());
        self.told_total();
    }

    /// A fork's first total holds its parent's tokens; after responses without a count, the difference is what
    /// we do not know of our own.
    fn first(&self) -> First {
        match self.inferences.count() <= 1 || self.session.meta.forked_from_id.is_some() {
            true => First::MayInherit,
            false => First::IsOwn,
        }
    }

    fn told_total(&mut self) {
        self.session.codex_total = self.tokens.total();
        self.session.inherited = self.tokens.inherited();
    }

    /// The answer to a review's turn. The model that wrote it did so in the review's own thread.
    fn tell_review(&mut self, text: String, at: Option<Timestamp>) {
        self.review_ended = false;
        let turn = self.turns.current(&mut self.session, at);
        self.session.turns[turn].final_answer = Some(text.clone());
        self.show("assistant".into(), text, None, at);
    }

    /// Codex writes one when it is done with a response, also with one that broke off; up to 0.15x also with
    /// each request, and before the response's own lines. Since 0.155 a record has told the same before.
    fn token_count(&mut self, count: &TokenCount, at: Option<Timestamp>) {
        let told = count.info.as_ref().and_then(|info| {
            let last = info.last_token_usage.map(TokenUsage::from);
            let total = TokenUsage::from(info.total_token_usage?);
            let news = self.tokens.count(total, last, self.first());
            self.told_total();
            news
        });
        match told {
            Some(usage) => {
                let turn = self.turns.current(&mut self.session, at);
                self.inferences.count_usage(&mut self.session, turn, usage, at);
            }
            None => self.inferences.over(&mut self.session, at),
        }
        self.compactions.token_count(&mut self.session, count);
    }

    fn compacted(&mut self, compacted: Compacted, at: Option<Timestamp>) {
        self.inferences.show_summary(&mut self.session);
        let turn = self.turns.current(&mut self.session, at);
        self.compactions.push(&mut self.session, turn, at);
        if let Some(summary) = compacted.message.filter(|summary| !summary.is_empty()) {
            self.show("user".into(), summary, None, at);
        }
    }

    fn item_completed(&mut self, completed: ItemCompleted, at: Option<Timestamp>) {
        // A review's items are mirrored into the file of the thread that asked for it.
        if completed.thread_id.as_ref().is_some_and(|id| self.has_meta && *id != self.session.meta.id) {
            return;
        }
        let named = self.turns.named(completed.turn_id.as_deref());
        let open = self.turns.told_and_open(&self.session);
        match (&completed.item, &completed.turn_id) {
            // No other line tells of the beginning of a review's turn.
            (Item::EnteredReviewMode(_), Some(_)) if named.is_none() => {
                self.begin_turn(completed.turn_id.clone(), at);
            }
            (Item::EnteredReviewMode(_) | Item::UserMessage(_), None) if open.is_none() => {
                self.begin_implied_turn(at);
            }
            _ => {}
        }
        let turn = named.unwrap_or_else(|| self.turns.current(&mut self.session, at));
        match &completed.item {
            Item::UserMessage(message) => {
                let text = turns::prompt_of(&message.content);
                match &mut self.session.turns[turn].prompt {
                    // What a person adds while the turn runs belongs to its prompt.
                    Some(said) => said.extend(["\n\n", &text]),
                    prompt => *prompt = Some(text),
                }
            }
            Item::ContextCompaction => {
                let ended_at = self.compactions.completed(&mut self.session, turn, &completed);
                self.inferences.input_at(ended_at);
            }
            Item::ExitedReviewMode => self.review_ended = true,
            Item::EnteredReviewMode(review) => {
                let hint = review.user_facing_hint.as_deref().unwrap_or_default();
                self.session.turns[turn].prompt.get_or_insert_with(|| format!("[review {hint}]"));
            }
            Item::Echo | Item::Unknown { .. } => {}
            _ => self.tools.completed(&mut self.session, turn, completed, at),
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
    fn a_review_that_told_nothing_does_not_take_the_next_turns_response() {
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
}
