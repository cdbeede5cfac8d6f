//! From lines to a session, one line at a time: the same code at exit, for an import, on a live file.
//!
//! A model response ends at its usage record, at Codex's `token_count`, or when the model is shown
//! something new, whichever comes first. What the model is shown is gathered until the next response
//! begins.

use super::call;
use super::model::{Compaction, Inference, Message, Session, Step, TokenUsage, TurnStatus};
use super::tools::{self, ToolIndex};
use super::turns::{self, TurnIndex};
use crate::rollout::event::{EnteredReviewMode, Event, Item, ItemCompleted, TaskComplete, TokenCount};
use crate::rollout::line::{Compacted, RolloutItem, RolloutLine, TokenUsageRecord};
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
    compactions: u32,
    /// As of the last count.
    context_tokens: Option<u64>,
    /// The next count tells what it left.
    uncounted_compaction: Option<StepAt>,
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
        let Ok(RolloutLine { timestamp: at, item }) = RolloutLine::parse(line) else {
            self.session.bad_lines += 1;
            return;
        };
        if at.is_some() {
            self.session.first_line_at = self.session.first_line_at.or(at);
            self.session.last_line_at = self.session.last_line_at.max(at);
        }
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
    }

    /// The session so far; an open turn is running.
    pub fn snapshot(&self) -> Session {
        self.session.clone()
    }

    /// The session of a file that nobody writes any more: an open turn is lost.
    pub fn finish(mut self) -> Session {
        turns::lose_the_open_one(&mut self.session);
        self.session
    }

    fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started) if self.turns.is_a_reviews(&self.session, &started) => {}
            Event::TaskStarted(started) => self.begin_turn(started.turn_id, at),
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
        let Some(last) = count.info.as_ref().and_then(|info| info.last_token_usage) else {
            return;
        };
        self.context_tokens = Some(last.total_tokens);
        if let Some(StepAt { turn, step }) = self.uncounted_compaction.take()
            && let Step::Compaction(compaction) = &mut self.session.turns[turn].steps[step]
        {
            compaction.tokens_after = self.context_tokens;
        }
    }

    fn compacted(&mut self, compacted: Compacted, at: Option<Timestamp>) {
        self.open_inference = None;
        self.compactions += 1;
        let turn = self.turns.current(&mut self.session, at);
        let compaction = Compaction {
            number: self.compactions,
            started_at: at,
            ended_at: at,
            tokens_before: self.context_tokens,
            tokens_after: None,
        };
        self.uncounted_compaction = Some(self.push(turn, Step::Compaction(compaction)));
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
        if let (None, Item::EnteredReviewMode(review)) = (named, &completed.item) {
            self.begin_review(review, completed.turn_id, at);
            return;
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
            Item::ContextCompaction => self.time_compaction(turn, &completed),
            Item::ExitedReviewMode => self.review_ended = true,
            Item::EnteredReviewMode(_) | Item::Echo | Item::Unknown { .. } => {}
            _ => self.tools.completed(&mut self.session, turn, completed),
        }
    }

    /// The only line that tells of the beginning of a review's turn.
    fn begin_review(&mut self, review: &EnteredReviewMode, turn_id: Option<String>, at: Option<Timestamp>) {
        self.begin_turn(turn_id, at);
        let turn = self.turns.current(&mut self.session, at);
        let hint = review.user_facing_hint.as_deref().unwrap_or_default();
        self.session.turns[turn].prompt = Some(format!("[review {hint}]"));
    }

    /// Codex tells the times of a compaction just after it.
    fn time_compaction(&mut self, turn: usize, completed: &ItemCompleted) {
        let last = self.session.turns[turn].steps.iter_mut().rev().find_map(|step| match step {
            Step::Compaction(compaction) => Some(compaction),
            _ => None,
        });
        if let Some(compaction) = last {
            compaction.started_at = tools::time(completed.started_at_ms).or(compaction.started_at);
            compaction.ended_at = tools::time(completed.completed_at_ms).or(compaction.ended_at);
            self.last_input_at = self.last_input_at.max(compaction.ended_at);
        }
    }
}
