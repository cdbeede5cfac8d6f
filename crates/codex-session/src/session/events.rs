//! Adds events to a session: the beginning and end of turns, and what Codex recorded in between.

use super::failures;
use super::model::{Failure, Moment, TurnStatus};
use super::reducer::SessionReducer;
use super::tokens::First;
use super::turns;
use crate::rollout::completed_item::{Item, ItemCompleted};
use crate::rollout::event::{Event, TokenCount, TurnEndEvent};
use crate::rollout::rollout_item::TokenUsageRecord;
use crate::rollout::usage::TokenUsage;
use jiff::Timestamp;

impl SessionReducer {
    pub(super) fn event(&mut self, event: Event, at: Option<Timestamp>) {
        match event {
            Event::TaskStarted(started)
                if self.turns.is_a_reviews(&self.session, &started)
                    || self.turns.is_the_reviewers(&mut self.session, &started) => {}
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
                let reason = aborted.reason.clone().unwrap_or_else(|| "interrupted".into());
                let status = TurnStatus::Interrupted { reason };
                self.turns.end(&mut self.session, &aborted, status, at);
            }
            Event::ItemCompleted(completed) => self.item_completed(*completed, at),
            Event::TokenCount(count) => self.token_count(&count, at),
            Event::AgentMessage(message) => {
                let turn = self.current_turn(at);
                // Codex's text of a review is no response of the model.
                let is_reviews = self.session.turns[turn].final_answer.as_ref() == Some(&message.message);
                if !is_reviews {
                    self.inferences.echo(&mut self.session, Moment { turn, at }, message.message);
                }
            }
            Event::ThreadRolledBack(back) => turns::roll_back(&mut self.session, back.num_turns),
            Event::ThreadSettingsApplied(applied) => self.settings_applied(applied),
            Event::Error(error) => self.failed(error.into(), at),
            Event::StreamError(error) => self.attempt_failed(error.into(), at),
        }
    }

    pub(super) fn begin_turn(&mut self, turn_id: Option<String>, at: Option<Timestamp>) -> usize {
        self.inferences.begin_turn(&mut self.session, at);
        (self.is_review_answer_next, self.error) = (false, None);
        let turn = self.turns.begin(&mut self.session, turn_id, at);
        self.compactions.begin_turn(&mut self.session);
        turn
    }

    /// Begins a turn that only its prompt shows (up to 0.103).
    pub(super) fn begin_implied_turn(&mut self, at: Option<Timestamp>) -> usize {
        let turn = self.begin_turn(None, at);
        self.turns.set_implied(turn);
        turn
    }

    /// The turn that a line without a turn id belongs to.
    pub(super) fn current_turn(&mut self, at: Option<Timestamp>) -> usize {
        let turn = self.turns.current(&mut self.session, at);
        self.compactions.begin_turn(&mut self.session);
        turn
    }

    pub(super) fn complete_turn(&mut self, complete: TurnEndEvent, at: Option<Timestamp>) {
        self.inferences.end(&mut self.session);
        let recorded = failures::of_turn(&complete).or(self.error.take());
        let ended = self.turns.ended(&self.session, complete.turn_id.as_deref());
        let inferred = || {
            let turn = &self.session.turns[ended.filter(|_| complete.last_agent_message.is_none())?];
            failures::without_answer(&self.session, turn, self.is_limit_reached)
        };
        let failure = recorded.or_else(inferred);
        if let (Some(index), Some(failure)) = (ended, &failure)
            && index + 1 == self.session.turns.len()
            && failures::is_of_a_request(failure)
        {
            self.inferences.fail(&mut self.session, Moment { turn: index, at }, failure.clone(), None);
        }
        let status = failure.map_or(TurnStatus::Completed, TurnStatus::from);
        if let Some(turn) = self.turns.end(&mut self.session, &complete, status, at) {
            turn.final_answer = complete.last_agent_message.or(turn.final_answer.take());
            turn.time_to_first_token_ms = complete.time_to_first_token_ms;
            turns::answer_from_responses(turn);
        }
    }

    /// Notes why the turn will fail. A turn without an end line fails now.
    fn failed(&mut self, failure: Failure, at: Option<Timestamp>) {
        if !failures::is_of_a_turn(&failure) {
            return;
        }
        let Some(turn) = self.turns.open_without_end_line(&self.session) else {
            self.error = Some(failure);
            return;
        };
        self.inferences.end(&mut self.session);
        self.inferences.fail(&mut self.session, Moment { turn, at }, failure.clone(), None);
        let turn = &mut self.session.turns[turn];
        (turn.status, turn.ended_at) = (failure.into(), at);
    }

    /// A request failed, and Codex repeats it.
    fn attempt_failed(&mut self, failure: Failure, at: Option<Timestamp>) {
        let Some(turn) = self.session.turns.len().checked_sub(1) else { return };
        let attempt = failures::attempt_in(&failure.message);
        self.inferences.fail(&mut self.session, Moment { turn, at }, failure, attempt);
    }

    fn item_completed(&mut self, completed: ItemCompleted, at: Option<Timestamp>) {
        // Codex mirrors the items of a review into the file of the thread that asked for it.
        if completed.thread_id.as_ref().is_some_and(|id| self.has_meta && *id != self.session.meta.id) {
            return;
        }
        let named = self.turns.named(completed.turn_id.as_deref());
        let open = self.turns.open_with_end_line(&self.session);
        let last = self.session.turns.len().saturating_sub(1);
        match (&completed.item, &completed.turn_id) {
            // No other line marks the beginning of a review's turn.
            (Item::EnteredReviewMode(_), Some(_)) if named.is_none() => {
                self.begin_turn(completed.turn_id.clone(), at);
            }
            (Item::EnteredReviewMode(_) | Item::UserMessage(_), None)
                if open.is_none() && !self.turns.is_reviewing(last) =>
            {
                self.begin_implied_turn(at);
            }
            // Of a turn that is not in the file.
            (Item::ContextCompaction | Item::ExitedReviewMode | Item::Echo, _)
                if self.session.turns.is_empty() =>
            {
                return;
            }
            _ => {}
        }
        let turn = named.unwrap_or_else(|| self.current_turn(at));
        match &completed.item {
            Item::UserMessage(_) if self.turns.is_reviewing(turn) => {}
            Item::UserMessage(message) => {
                let text = turns::prompt_of(&message.content);
                match &mut self.session.turns[turn].prompt {
                    // What the user adds while the turn runs belongs to its prompt.
                    Some(prompt) => prompt.extend(["\n\n", &text]),
                    prompt => *prompt = Some(text),
                }
                self.session.turns[turn].is_unanswered = true;
            }
            Item::ContextCompaction => {
                let ended_at = self.compactions.completed(&mut self.session, turn, &completed);
                self.inferences.input_at(ended_at);
            }
            Item::ExitedReviewMode => {
                self.turns.end_review();
                self.is_review_answer_next = true;
            }
            Item::EnteredReviewMode(review) => {
                self.turns.begin_review(turn);
                let hint = review.user_facing_hint.as_deref().unwrap_or_default();
                self.session.turns[turn].prompt.get_or_insert_with(|| format!("[review {hint}]"));
            }
            Item::Echo => {}
            _ => self.tools.completed(&mut self.session, Moment { turn, at }, completed),
        }
    }

    pub(super) fn usage_record(&mut self, record: &TokenUsageRecord, at: Option<Timestamp>) {
        let total = record.thread_token_usage.map(TokenUsage::from_usage);
        if self.session.turns.is_empty() {
            return self.inherit(total.flatten());
        }
        self.respond(at, |inference| inference.response_id.clone_from(&record.response_id));
        let counted = TokenUsage::from_usage(record.usage);
        let usage = self.tokens.record(counted, total.flatten(), self.first());
        self.respond(at, |inference| {
            inference.usage = usage;
            inference.is_usage_unread = usage.is_none();
        });
        self.inferences.close(&mut self.session, at);
        self.session.is_total_unread = total.map_or(self.session.is_total_unread, |total| total.is_none());
        self.update_total();
    }

    /// A count before any turn is of history that is not in the file.
    pub(super) fn inherit(&mut self, total: Option<TokenUsage>) {
        total.into_iter().for_each(|total| self.tokens.copy(total));
    }

    /// A fork's first total holds its parent's tokens. After responses without a count, the difference is the usage
    /// of those responses.
    pub(super) fn first(&self) -> First {
        let may_inherit = self.inferences.responses <= 1 || self.session.meta.forked_from_id.is_some();
        if may_inherit { First::MayInherit } else { First::IsOwn }
    }

    pub(super) fn update_total(&mut self) {
        self.session.codex_total = self.tokens.total();
        self.session.inherited = self.tokens.inherited();
    }

    /// Codex writes a count when a response is over or has broken off; up to 0.15x also with each request, and before
    /// the response's own lines. Since 0.155 a usage record with the same numbers precedes it.
    fn token_count(&mut self, count: &TokenCount, at: Option<Timestamp>) {
        if let Some(limits) = &count.rate_limits {
            self.is_limit_reached = failures::is_reached(limits);
        }
        let total = count.info.as_ref().and_then(|info| info.total_token_usage).map(TokenUsage::from_usage);
        if self.session.turns.is_empty() {
            self.inherit(total.flatten());
            return self.compactions.token_count(&mut self.session, count);
        }
        self.session.is_total_unread = total.map_or(self.session.is_total_unread, |total| total.is_none());
        if self.session.is_total_unread {
            self.inferences.mark_usage_unread(&mut self.session);
        }
        let usage = count.info.as_ref().and_then(|info| {
            let last = info.last_token_usage.and_then(TokenUsage::from_usage);
            let total = total.flatten()?;
            let added = self.tokens.count(total, last, self.first());
            self.update_total();
            added
        });
        match usage {
            Some(usage) => {
                let turn = self.current_turn(at);
                self.inferences.count_usage(&mut self.session, Moment { turn, at }, usage);
            }
            None => self.inferences.close(&mut self.session, at),
        }
        self.compactions.token_count(&mut self.session, count);
    }
}
