//! What the events of a turn tell a session: its beginning, its end, what Codex recorded in between.

use super::model::{TokenUsage, TurnStatus};
use super::reducer::SessionReducer;
use super::tokens::First;
use super::turns::{self, End};
use crate::rollout::event::{Event, Item, ItemCompleted, TaskComplete, TokenCount};
use crate::rollout::line::TokenUsageRecord;
use jiff::Timestamp;

impl SessionReducer {
    pub(super) fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started) if self.turns.is_a_reviews(&self.session, &started) => {}
            Event::TaskStarted(started) => {
                self.begin_turn(started.turn_id, at);
                if let Some(turn) = self.session.turns.last_mut() {
                    turn.asked_by = started.turn_attribution.and_then(|by| by.parent_turn_id);
                    turn.mode = started.collaboration_mode_kind.filter(|mode| mode != "default");
                }
            }
            Event::TaskComplete(complete) => self.complete_turn(complete, at),
            Event::TurnAborted(aborted) => {
                self.inferences.end(&mut self.session);
                let reason = aborted.reason.unwrap_or_else(|| "interrupted".into());
                let status = TurnStatus::Interrupted { reason };
                let end = End { status, at, took_ms: aborted.duration_ms };
                self.turns.end(&mut self.session, aborted.turn_id.as_deref(), end);
            }
            Event::ItemCompleted(completed) => self.item_completed(*completed, at),
            Event::TokenCount(count) => self.token_count(&count, at),
            Event::AgentMessage(message) => {
                let turn = self.turns.current(&mut self.session, at);
                // Codex's text of a review is nobody's response.
                let is_reviews = self.session.turns[turn].final_answer.as_ref() == Some(&message.message);
                if !is_reviews {
                    self.inferences.echo(&mut self.session, turn, message.message, at);
                }
            }
            Event::ThreadRolledBack(back) => turns::roll_back(&mut self.session, back.num_turns),
            Event::ThreadSettingsApplied(applied) => self.settings_applied(applied),
            Event::Error(error) => self.error = Some(error),
            Event::Bookkeeping => {}
        }
    }

    pub(super) fn begin_turn(&mut self, turn_id: Option<String>, at: Option<Timestamp>) {
        self.inferences.begin_turn(&mut self.session, at);
        (self.review_ended, self.error) = (false, None);
        self.turns.begin(&mut self.session, turn_id, at);
    }

    /// A prompt is all that tells of a turn (up to 0.103).
    pub(super) fn begin_implied_turn(&mut self, at: Option<Timestamp>) -> usize {
        self.inferences.begin_turn(&mut self.session, at);
        (self.review_ended, self.error) = (false, None);
        self.turns.begin_implied(&mut self.session, at)
    }

    pub(super) fn complete_turn(&mut self, complete: TaskComplete, at: Option<Timestamp>) {
        self.inferences.end(&mut self.session);
        let status = turns::status_of(&complete, self.error.take());
        let end = End { status, at, took_ms: complete.duration_ms };
        if let Some(turn) = self.turns.end(&mut self.session, complete.turn_id.as_deref(), end) {
            turn.final_answer = complete.last_agent_message.or(turn.final_answer.take());
            turn.time_to_first_token_ms = complete.time_to_first_token_ms;
            turns::answer_from_responses(turn);
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

    pub(super) fn usage_record(&mut self, record: &TokenUsageRecord, at: Option<Timestamp>) {
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
    pub(super) fn first(&self) -> First {
        match self.inferences.count() <= 1 || self.session.meta.forked_from_id.is_some() {
            true => First::MayInherit,
            false => First::IsOwn,
        }
    }

    pub(super) fn told_total(&mut self) {
        self.session.codex_total = self.tokens.total();
        self.session.inherited = self.tokens.inherited();
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
}
