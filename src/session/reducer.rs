//! From lines to a session, one line at a time: the same code at exit, for an import, on a live file.
//!
//! A model response ends at its usage record, at Codex's `token_count`, or when the model is shown
//! something new, whichever comes first. What the model is shown is gathered until the next response
//! begins.

use super::call;
use super::compactions::Compactions;
use super::model::{Inference, Message, Session, Step, TokenUsage, TurnStatus};
use super::tools::ToolIndex;
use super::turns::{self, TurnIndex};
use crate::rollout::event::{Event, Item, ItemCompleted, TaskComplete, TokenCount};
use crate::rollout::line::{Compacted, RolloutItem, RolloutLine, SessionMeta, TokenUsageRecord};
use crate::rollout::response_item::{ResponseItem, text_of};
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
pub struct SessionReducer {
    session: Session,
    has_meta: bool,
    model: Option<String>,
    effort: Option<String>,
    turns: TurnIndex,
    tools: ToolIndex,
    open_inference: Option<StepAt>,
    /// Shown to the model with its next request.
    new_messages: Vec<Message>,
    last_input_at: Option<Timestamp>,
    /// Codex's text of a review comes next; it looks like a response.
    review_ended: bool,
    inferences: u32,
    compactions: Compactions,
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
        let Ok(RolloutLine { timestamp: at, ordinal, item }) = RolloutLine::parse(line) else {
            self.session.bad_lines += 1;
            return;
        };
        if at.is_some() {
            self.session.first_line_at = self.session.first_line_at.or(at);
            self.session.last_line_at = self.session.last_line_at.max(at);
        }
        let turns = self.session.turns.len();
        match item {
            RolloutItem::SessionMeta(meta) if !self.has_meta => {
                self.session.meta = meta;
                self.has_meta = true;
            }
            // Written again within a file (0.140), or a parent's that was copied: not an identity.
            RolloutItem::SessionMeta(_) | RolloutItem::Bookkeeping => {}
            RolloutItem::TurnContext(context) => {
                self.model = context.model.or(self.model.take());
                self.effort = context.effort;
            }
            RolloutItem::ResponseItem(item) => self.response_item(item, at),
            RolloutItem::Event(event) => self.event(event, at),
            RolloutItem::TokenUsageRecord(record) => self.usage_record(&record, at),
            RolloutItem::Compacted(compacted) => self.compacted(compacted, at),
            RolloutItem::Unknown { kind } => *self.session.unknown_lines.entry(kind).or_default() += 1,
        }
        self.session.turns[turns..].iter_mut().for_each(|begun| begun.ordinal = ordinal);
    }

    /// The session so far; an open turn is running.
    pub fn snapshot(&self) -> Session {
        self.session.clone()
    }

    /// Whose session it is.
    pub fn meta(&self) -> &SessionMeta {
        &self.session.meta
    }

    /// Whether something was asked, and no turn runs.
    pub fn is_at_rest(&self) -> bool {
        self.session.turns.last().is_some_and(|turn| turn.status != TurnStatus::Running)
    }

    /// The session of a file that nobody writes any more: an open turn is lost.
    pub fn finish(mut self) -> Session {
        turns::lose_the_open_one(&mut self.session);
        self.session
    }

    fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started) if self.turns.is_a_reviews(&self.session, &started) => {}
            Event::TaskStarted(started) => {
                self.begin_turn(started.turn_id, at);
                if let (Some(by), Some(turn)) = (started.turn_attribution, self.session.turns.last_mut()) {
                    turn.asked_by = by.parent_turn_id;
                }
            }
            Event::TaskComplete(complete) => self.complete_turn(complete, at),
            Event::TurnAborted(aborted) => {
                self.open_inference = None;
                let reason = aborted.reason.unwrap_or_else(|| "interrupted".into());
                let status = TurnStatus::Interrupted { reason };
                self.turns.end(&mut self.session, aborted.turn_id.as_deref(), status, at);
            }
            Event::ItemCompleted(completed) => self.item_completed(*completed, at),
            Event::TokenCount(count) => self.token_count(&count, at),
            Event::Bookkeeping => {}
        }
    }

    fn begin_turn(&mut self, turn_id: Option<String>, at: Option<Timestamp>) {
        self.open_inference = None;
        self.review_ended = false;
        self.last_input_at = at;
        self.turns.begin(&mut self.session, turn_id, at);
    }

    fn complete_turn(&mut self, complete: TaskComplete, at: Option<Timestamp>) {
        self.open_inference = None;
        let status = turns::status_of(&complete);
        if let Some(turn) = self.turns.end(&mut self.session, complete.turn_id.as_deref(), status, at) {
            turn.final_answer = complete.last_agent_message.or(turn.final_answer.take());
            turn.time_to_first_token_ms = complete.time_to_first_token_ms;
        }
    }

    fn push(&mut self, turn: usize, step: Step) -> StepAt {
        let steps = &mut self.session.turns[turn].steps;
        steps.push(step);
        StepAt { turn, step: steps.len() - 1 }
    }

    fn response_item(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        match item {
            ResponseItem::Message(message) if message.role == "assistant" && self.review_ended => {
                self.tell_review(text_of(&message.content), at);
            }
            ResponseItem::Message(message) if message.role == "assistant" => {
                self.respond(at, |inference| inference.texts.push(text_of(&message.content)));
            }
            ResponseItem::Message(message) => self.show(message.role, text_of(&message.content), None, at),
            ResponseItem::Reasoning(reasoning) => {
                let texts = reasoning.summary.into_iter().chain(reasoning.content.into_iter().flatten());
                self.respond(at, |inference| inference.reasoning.extend(texts.map(|part| part.text)));
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
    fn request(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        let Some((request, call)) = call::requested(item, self.tools.count(), at) else {
            return;
        };
        self.respond(at, |inference| inference.requests.push(request));
        if self.tools.contains(&call.call_id) {
            self.tools.describe(&mut self.session, call);
            return;
        }
        let turn = self.turns.current(&mut self.session, at);
        self.tools.push(&mut self.session, turn, call);
    }

    /// The model was shown something: whatever it says next is a new response.
    fn show(&mut self, role: String, text: String, tool_call_id: Option<String>, at: Option<Timestamp>) {
        self.open_inference = None;
        self.last_input_at = at.or(self.last_input_at);
        self.new_messages.push(Message { role, text, tool_call_id });
    }

    /// The model said something: part of the open response, or the beginning of the next.
    fn respond(&mut self, at: Option<Timestamp>, add: impl FnOnce(&mut Inference)) {
        let place = match self.open_inference {
            Some(place) => place,
            None => self.begin_inference(at),
        };
        if let Step::Inference(inference) = &mut self.session.turns[place.turn].steps[place.step] {
            inference.ended_at = at.or(inference.ended_at);
            add(inference);
        }
    }

    fn begin_inference(&mut self, at: Option<Timestamp>) -> StepAt {
        let turn = self.turns.current(&mut self.session, at);
        self.inferences += 1;
        let inference = Inference {
            number: self.inferences,
            model: self.model.clone(),
            effort: self.effort.clone(),
            started_at: self.last_input_at.or(at),
            ended_at: at,
            new_messages: std::mem::take(&mut self.new_messages),
            ..Inference::default()
        };
        let place = self.push(turn, Step::Inference(inference));
        self.open_inference = Some(place);
        place
    }

    /// Also a response without any item has a usage, and is one.
    fn usage_record(&mut self, record: &TokenUsageRecord, at: Option<Timestamp>) {
        let usage = TokenUsage::from(record.usage);
        self.respond(at, |inference| {
            inference.usage = Some(usage);
            inference.response_id.clone_from(&record.response_id);
        });
        self.open_inference = None;
        self.last_input_at = at.or(self.last_input_at);
        if let Some(total) = record.thread_token_usage.map(TokenUsage::from) {
            // A fork's first total holds its parent's tokens; after responses without a record, the
            // difference is what we do not know of our own.
            let begins = self.inferences == 1 || self.session.meta.forked_from_id.is_some();
            if self.session.codex_total.is_none() && begins {
                self.session.inherited = total.minus(usage).unwrap_or_default();
            }
            self.session.codex_total = Some(total);
        }
    }

    /// The answer to a review's turn. The model that wrote it did so in the review's own thread.
    fn tell_review(&mut self, text: String, at: Option<Timestamp>) {
        self.review_ended = false;
        let turn = self.turns.current(&mut self.session, at);
        self.session.turns[turn].final_answer = Some(text.clone());
        self.show("assistant".into(), text, None, at);
    }

    /// Codex writes one when it is done with a response, also with one that broke off.
    fn token_count(&mut self, count: &TokenCount, at: Option<Timestamp>) {
        if self.open_inference.take().is_some() {
            self.last_input_at = at.or(self.last_input_at);
        }
        self.compactions.token_count(&mut self.session, count);
    }

    fn compacted(&mut self, compacted: Compacted, at: Option<Timestamp>) {
        self.open_inference = None;
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
        if let (None, Item::EnteredReviewMode(_)) = (named, &completed.item) {
            // No other line tells of the beginning of a review's turn.
            self.begin_turn(completed.turn_id.clone(), at);
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
                self.last_input_at = self.last_input_at.max(ended_at);
            }
            Item::ExitedReviewMode => self.review_ended = true,
            Item::EnteredReviewMode(review) => {
                let hint = review.user_facing_hint.as_deref().unwrap_or_default();
                self.session.turns[turn].prompt.get_or_insert_with(|| format!("[review {hint}]"));
            }
            Item::Echo | Item::Unknown { .. } => {}
            _ => self.tools.completed(&mut self.session, turn, completed),
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
