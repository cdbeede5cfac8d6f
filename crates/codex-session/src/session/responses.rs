//! Adds response items to a session: what went to the model, and what came back.

use super::call;
use super::model::{Message, add};
use super::reducer::SessionReducer;
use crate::rollout::rollout_item::Compacted;
use crate::rollout::rollout_item::ResponseItem;
use common::json::text::Text;
use jiff::Timestamp;

impl SessionReducer {
    pub(super) fn response_item(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        match item {
            ResponseItem::Message(message) if message.role == "assistant" && self.is_review_answer_next => {
                self.answer_review(message.content.0, at);
            }
            ResponseItem::Message(message) if message.role == "assistant" => {
                let turn = self.current_turn(at);
                self.inferences.respond(&mut self.session, turn, at, |inference| {
                    add(&mut inference.texts, message.content.0);
                });
            }
            ResponseItem::Message(message) => self.show(message.role, message.content.0, None, at),
            ResponseItem::AgentMessage(message) => self.agent_message(message.content.0, at),
            ResponseItem::Reasoning(reasoning) => {
                let texts = reasoning.summary.into_iter().chain(reasoning.content.into_iter().flatten());
                let turn = self.current_turn(at);
                self.inferences.respond(&mut self.session, turn, at, |inference| {
                    texts.for_each(|part| add(&mut inference.reasoning, part.text));
                });
            }
            ResponseItem::ToolOutput(output) => {
                let text = output.output.0;
                self.tools.answer(&mut self.session, &output.call_id, &text, at);
                self.show(Text::word("tool"), text, Some(output.call_id), at);
                self.wait();
            }
            ResponseItem::ToolSearchOutput(output) => {
                let text = output.tools.map(|tools| Text::from(tools.to_string())).unwrap_or_default();
                if let Some(call_id) = &output.call_id {
                    self.tools.answer(&mut self.session, call_id, &text, at);
                }
                self.show(Text::word("tool"), text, output.call_id, at);
                self.wait();
            }
            ResponseItem::Bookkeeping => {}
            call => self.request(call, at),
        }
    }

    /// The model requested a tool. Codex records a search of the provider before its request.
    pub(super) fn request(&mut self, mut item: ResponseItem, at: Option<Timestamp>) {
        if let ResponseItem::WebSearchCall(search) = &mut item {
            search.id = search.id.take().or_else(|| self.tools.take_search());
        }
        let Some((request, call)) = call::requested(item, self.tools.count(), at) else { return };
        let turn = self.current_turn(at);
        self.inferences.respond(&mut self.session, turn, at, |inference| {
            add(&mut inference.requests, request);
        });
        if self.tools.is_recorded_first(&call.call_id) {
            self.tools.describe(&mut self.session, call);
            return;
        }
        let asked_by = self.inferences.open_or_last();
        self.tools.push(&mut self.session, turn, call, asked_by);
    }

    /// The turn waits for the model.
    fn wait(&mut self) {
        if let Some(turn) = self.session.turns.last_mut() {
            turn.is_unanswered = true;
        }
    }

    /// The model gets a message: its next output is a new response.
    pub(super) fn show(&mut self, role: Text, text: Text, tool_call_id: Option<Text>, at: Option<Timestamp>) {
        self.inferences.show(&mut self.session, Message { role, text, tool_call_id }, at);
    }

    /// A message of another agent; the first one is the task of a sub-agent.
    pub(super) fn agent_message(&mut self, text: Text, at: Option<Timestamp>) {
        if let Some(turn) = self.session.turns.last_mut()
            && turn.prompt.is_none()
            && turn.steps.is_empty()
        {
            turn.prompt = Some(text.to_string());
        }
        self.show(Text::word("user"), text, None, at);
        self.wait();
    }

    /// The answer to a review's turn. The model that wrote it did so in the review's own thread.
    pub(super) fn answer_review(&mut self, text: Text, at: Option<Timestamp>) {
        self.is_review_answer_next = false;
        let turn = self.current_turn(at);
        self.session.turns[turn].final_answer = Some(text.clone());
        self.session.turns[turn].ended_at = at;
        self.show(Text::word("assistant"), text, None, at);
    }

    pub(super) fn compacted(&mut self, compacted: Compacted, at: Option<Timestamp>) {
        let summary = compacted.message.as_deref().unwrap_or_default();
        self.inferences.show_summary(&mut self.session, summary);
        self.compactions.push(&mut self.session, at);
        if let Some(summary) = compacted.message.filter(|summary| !summary.is_empty()) {
            self.show(Text::word("user"), summary.into(), None, at);
        }
    }
}
