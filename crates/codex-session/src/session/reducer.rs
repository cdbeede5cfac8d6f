//! Reduces lines to a session, one line at a time: at exit, for imports and on live files.

use super::call;
use super::compactions::Compactions;
use super::inferences::Inferences;
use super::model::{Failure, Inference, Message, Moment, Session, add};
use super::origin::{Copied, Timeline};
use super::tokens::Tokens;
use super::tools::ToolIndex;
use super::turns::{self, TurnIndex};
use crate::rollout::event::Event;
use crate::rollout::fields::ThreadSettingsApplied;
use crate::rollout::line::RolloutLine;
use crate::rollout::rollout_item::{Compacted, ResponseItem, RolloutItem, TurnContext};
use crate::rollout::session_meta::SessionMeta;
use crate::rollout::usage::TokenUsage;
use common::json::text::Text;
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
    pub(super) is_review_answer_next: bool,
    /// Why the turn that runs will fail.
    pub(super) error: Option<Failure>,
    /// The account's usage limit is reached, by the last line that reports limits.
    pub(super) is_limit_reached: bool,
}

impl SessionReducer {
    /// Takes the next line of the file, without its LF. Accepts any bytes.
    pub fn observe(&mut self, line: &[u8]) {
        match RolloutLine::parse(line) {
            Some(line) => self.line(line),
            None => self.session.bad_lines += 1,
        }
    }

    fn line(&mut self, mut line: RolloutLine) {
        if self.copied.takes(&line, self.has_meta.then_some(&self.session.meta)) {
            return self.copied_item(line.item);
        }
        if let RolloutItem::SessionMeta(meta) = &line.item
            && !line.is_bare
            && !self.has_meta
        {
            self.timeline.begin(meta.timestamp.as_ref().and_then(|text| text.parse().ok()));
        }
        self.timeline.set(&mut line);
        let at = line.timestamp;
        if at.is_some() {
            self.session.first_line_at = self.session.first_line_at.or(at);
            self.session.last_line_at = self.session.last_line_at.max(at);
        }
        let turns = self.session.turns.len();
        match line.item {
            RolloutItem::SessionMeta(meta) if !self.has_meta => {
                self.session.is_bare = line.is_bare;
                self.session.folders.extend(meta.cwd.clone());
                // A fork or rewind continues a history whose model already has its instructions.
                let is_fork = meta.forked_from_id.as_ref().is_some_and(|from| *from != meta.id);
                let is_new = !is_fork && meta.history_base.is_none();
                let instructions = meta.base_instructions.as_ref().map(|it| it.text.clone());
                self.inferences.instructions = instructions.filter(|text| is_new && !text.is_empty());
                self.inferences.next.provider = meta.model_provider.as_deref().map(Text::from);
                self.session.meta = *meta;
                self.has_meta = true;
            }
            // Repeated within a file (0.140): not the thread's identity.
            RolloutItem::SessionMeta(_) | RolloutItem::Bookkeeping => {}
            RolloutItem::TurnContext(context) => self.turn_context(context, at),
            RolloutItem::StateRecord => self.inferences.mark(&mut self.session, at),
            RolloutItem::ResponseItem(item) => {
                if line.is_bare {
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
            RolloutItem::TurnContext(context) => self.inferences.turn_context(context),
            RolloutItem::Event(Event::ThreadSettingsApplied(applied)) => {
                let settings = applied.thread_settings.into_iter();
                settings.for_each(|all| self.inferences.thread_settings(all));
            }
            RolloutItem::Event(Event::TokenCount(count)) => {
                let total = count.info.and_then(|info| info.total_token_usage);
                self.inherit(total.and_then(TokenUsage::from_usage));
            }
            RolloutItem::TokenUsageRecord(record) => {
                self.inherit(record.thread_token_usage.and_then(TokenUsage::from_usage));
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
        self.inferences.turn_context(context);
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
        self.inferences.thread_settings(settings);
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
            && let Some(call) = call::user_shell(&message.content.0, self.tools.count(), at)
        {
            let turn = self.current_turn(at);
            self.tools.push(&mut self.session, turn, call, None);
        }
    }

    fn response_item(&mut self, item: ResponseItem, at: Option<Timestamp>) {
        match item {
            ResponseItem::Message(message) if message.role == "assistant" && self.is_review_answer_next => {
                self.answer_review(message.content.0, at);
            }
            ResponseItem::Message(message) if message.role == "assistant" => {
                self.respond(at, |inference| add(&mut inference.texts, message.content.0));
            }
            ResponseItem::Message(message) => self.show(message.role, message.content.0, None, at),
            ResponseItem::AgentMessage(message) => self.agent_message(message.content.0, at),
            ResponseItem::Reasoning(reasoning) => {
                let texts = reasoning.summary.into_iter().chain(reasoning.content.into_iter().flatten());
                self.respond(at, |inference| texts.for_each(|part| add(&mut inference.reasoning, part.text)));
            }
            ResponseItem::ToolOutput(output) => self.tool_output(Some(output.call_id), output.output.0, at),
            ResponseItem::ToolSearchOutput(output) => {
                let text = output.tools.map(|tools| Text::from(tools.to_string())).unwrap_or_default();
                self.tool_output(output.call_id, text, at);
            }
            call => self.request(call, at),
        }
    }

    /// The model requested a tool. Codex records a search of the provider before its request.
    fn request(&mut self, mut item: ResponseItem, at: Option<Timestamp>) {
        if let ResponseItem::WebSearchCall(search) = &mut item {
            search.id = search.id.take().or_else(|| self.tools.take_search());
        }
        let Some((request, call)) = call::requested(item, self.tools.count(), at) else { return };
        let turn = self.respond(at, |inference| add(&mut inference.requests, request));
        if self.tools.is_recorded_first(&call.call_id) {
            self.tools.describe(&mut self.session, call);
            return;
        }
        let asked_by = self.inferences.open_or_last();
        self.tools.push(&mut self.session, turn, call, asked_by);
    }

    /// Output of the model, in the current turn. Returns the turn.
    pub(super) fn respond(
        &mut self,
        at: Option<Timestamp>,
        add_output: impl FnOnce(&mut Inference),
    ) -> usize {
        let turn = self.current_turn(at);
        self.inferences.respond(&mut self.session, Moment { turn, at }, add_output);
        turn
    }

    fn tool_output(&mut self, call_id: Option<Text>, text: Text, at: Option<Timestamp>) {
        if let Some(call_id) = &call_id {
            self.tools.answer(&mut self.session, call_id, &text, at);
        }
        self.show(Text::word("tool"), text, call_id, at);
        self.wait();
    }

    /// The turn waits for the model.
    fn wait(&mut self) {
        if let Some(turn) = self.session.turns.last_mut() {
            turn.is_unanswered = true;
        }
    }

    /// The model gets a message: its next output is a new response.
    fn show(&mut self, role: Text, text: Text, tool_call_id: Option<Text>, at: Option<Timestamp>) {
        self.inferences.show(&mut self.session, Message { role, text, tool_call_id }, at);
    }

    /// A message of another agent; the first one is the task of a sub-agent.
    fn agent_message(&mut self, text: Text, at: Option<Timestamp>) {
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
    fn answer_review(&mut self, text: Text, at: Option<Timestamp>) {
        self.is_review_answer_next = false;
        let turn = self.current_turn(at);
        self.session.turns[turn].final_answer = Some(text.clone());
        self.session.turns[turn].ended_at = at;
        self.show(Text::word("assistant"), text, None, at);
    }

    fn compacted(&mut self, compacted: Compacted, at: Option<Timestamp>) {
        let summary = compacted.message.as_deref().unwrap_or_default();
        self.inferences.show_summary(&mut self.session, summary);
        self.compactions.push(&mut self.session, at);
        if let Some(summary) = compacted.message.filter(|summary| !summary.is_empty()) {
            self.show(Text::word("user"), summary.into(), None, at);
        }
    }
}

#[cfg(test)]
mod tests;
