//! From lines to a session, one line at a time: the same code at exit, for an import, on a live file.
//!
//! A model response ends at its usage record, at Codex's `token_count`, or when the model is shown
//! something new, whichever comes first. What the model is shown is gathered until the next response
//! begins.

use super::model::{Compaction, Inference, Message, Session, Step, TokenUsage, Turn, TurnStatus};
use super::tools::ToolIndex;
use crate::rollout::event::{Event, Item, ItemCompleted, TaskComplete, UserContent};
use crate::rollout::line::{RolloutItem, RolloutLine, TokenUsageRecord};
use crate::rollout::response_item::{ResponseItem, text_of};
use jiff::Timestamp;
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub struct SessionReducer {
    session: Session,
    has_meta: bool,
    model: Option<String>,
    effort: Option<String>,
    /// By Codex's turn id: late items name a turn that is over.
    turns_by_id: HashMap<String, usize>,
    tools: ToolIndex,
    open_inference: Option<StepAt>,
    /// Shown to the model with its next request.
    new_messages: Vec<Message>,
    last_input_at: Option<Timestamp>,
    inferences: u32,
    compactions: u32,
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
            RolloutItem::Compacted => self.compacted(at),
            RolloutItem::Unknown { kind } => *self.session.unknown_lines.entry(kind).or_default() += 1,
        }
    }

    /// The session so far; an open turn is running.
    pub fn snapshot(&self) -> Session {
        self.session.clone()
    }

    /// The session of a file that nobody writes any more: an open turn is lost.
    pub fn finish(mut self) -> Session {
        if let Some(turn) = self.session.turns.last_mut() {
            lose_if_open(turn);
        }
        self.session
    }

    fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started) => self.begin_turn(started.turn_id, at),
            Event::TaskComplete(complete) => self.complete_turn(complete, at),
            Event::TurnAborted(aborted) => {
                let reason = aborted.reason.unwrap_or_else(|| "interrupted".into());
                self.end_turn(aborted.turn_id.as_deref(), TurnStatus::Interrupted { reason }, at);
            }
            Event::ItemCompleted(completed) => self.item_completed(*completed, at),
            // Codex writes one when it is done with a response, also with one that broke off.
            Event::TokenCount(_) => self.open_inference = None,
            Event::Bookkeeping => {}
        }
    }

    fn begin_turn(&mut self, turn_id: Option<String>, at: Option<Timestamp>) {
        if let Some(turn) = self.session.turns.last_mut() {
            lose_if_open(turn);
        }
        self.open_inference = None;
        self.last_input_at = at;
        if let Some(id) = &turn_id {
            self.turns_by_id.insert(id.clone(), self.session.turns.len());
        }
        self.session.turns.push(Turn { turn_id, started_at: at, ..Turn::default() });
    }

    fn complete_turn(&mut self, complete: TaskComplete, at: Option<Timestamp>) {
        let status = match complete.error {
            None => TurnStatus::Completed,
            Some(error) => TurnStatus::Failed {
                message: error.message,
                kind: error
                    .codex_error_info
                    .map(|info| info.as_str().map_or_else(|| info.to_string(), str::to_owned)),
            },
        };
        if let Some(turn) = self.end_turn(complete.turn_id.as_deref(), status, at) {
            turn.final_answer = complete.last_agent_message;
            turn.time_to_first_token_ms = complete.time_to_first_token_ms;
        }
    }

    /// The turn of that id, else the last one. An end without a beginning is no turn.
    fn end_turn(
        &mut self,
        turn_id: Option<&str>,
        status: TurnStatus,
        at: Option<Timestamp>,
    ) -> Option<&mut Turn> {
        self.open_inference = None;
        let index = match turn_id {
            Some(id) => *self.turns_by_id.get(id)?,
            None => self.session.turns.len().checked_sub(1)?,
        };
        let turn = &mut self.session.turns[index];
        turn.status = status;
        turn.ended_at = at;
        Some(turn)
    }

    /// The turn that a line without a turn id belongs to. A file may begin in the middle of one.
    fn current_turn(&mut self, at: Option<Timestamp>) -> usize {
        if self.session.turns.is_empty() {
            self.begin_turn(None, at);
        }
        self.session.turns.len() - 1
    }

    fn push(&mut self, turn: usize, step: Step) -> StepAt {
        let steps = &mut self.session.turns[turn].steps;
        steps.push(step);
        StepAt { turn, step: steps.len() - 1 }
    }

    fn response_item(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        match item {
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
        let Some((request, call)) = super::tools::requested(item, self.tools.count(), at) else {
            return;
        };
        self.respond(at, |inference| inference.requests.push(request));
        if self.tools.contains(&call.call_id) {
            self.tools.describe(&mut self.session, call);
            return;
        }
        let turn = self.current_turn(at);
        let call_id = call.call_id.clone();
        let place = self.push(turn, Step::ToolCall(call));
        self.tools.register(call_id, place);
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
        let turn = self.current_turn(at);
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
            if self.session.codex_total.is_none() {
                self.session.inherited = total.minus(usage).unwrap_or_default();
            }
            self.session.codex_total = Some(total);
        }
    }

    fn compacted(&mut self, at: Option<Timestamp>) {
        self.open_inference = None;
        self.compactions += 1;
        let turn = self.current_turn(at);
        let compaction = Compaction { number: self.compactions, started_at: at, ended_at: at };
        self.push(turn, Step::Compaction(compaction));
    }

    fn item_completed(&mut self, completed: ItemCompleted, at: Option<Timestamp>) {
        // A review's items are mirrored into the file of the thread that asked for it.
        if completed.thread_id.as_ref().is_some_and(|id| self.has_meta && *id != self.session.meta.id) {
            return;
        }
        let named = completed.turn_id.as_ref().and_then(|id| self.turns_by_id.get(id)).copied();
        let turn = named.unwrap_or_else(|| self.current_turn(at));
        match &completed.item {
            Item::UserMessage(message) => {
                let prompt = &mut self.session.turns[turn].prompt;
                let text = prompt_of(&message.content);
                // What a person adds while the turn runs belongs to its prompt.
                *prompt =
                    Some(prompt.take().map_or_else(|| text.clone(), |said| format!("{said}\n\n{text}")));
            }
            Item::ContextCompaction => self.time_compaction(turn, &completed),
            Item::Echo | Item::Unknown { .. } => {}
            _ => self.tools.completed(&mut self.session, turn, completed),
        }
    }

    /// Codex tells the times of a compaction just after it.
    fn time_compaction(&mut self, turn: usize, completed: &ItemCompleted) {
        let last = self.session.turns[turn].steps.iter_mut().rev().find_map(|step| match step {
            Step::Compaction(compaction) => Some(compaction),
            _ => None,
        });
        if let Some(compaction) = last {
            compaction.started_at = super::tools::time(completed.started_at_ms).or(compaction.started_at);
            compaction.ended_at = super::tools::time(completed.completed_at_ms).or(compaction.ended_at);
        }
    }
}

fn lose_if_open(turn: &mut Turn) {
    if turn.status == TurnStatus::Running {
        turn.status = TurnStatus::Lost;
    }
}

fn prompt_of(content: &[UserContent]) -> String {
    let parts = content.iter().map(|part| match (&part.text, &part.path) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => format!("[{} {path}]", part.r#type),
        (None, None) => format!("[{}]", part.r#type),
    });
    parts.collect::<Vec<_>>().join("\n")
}
