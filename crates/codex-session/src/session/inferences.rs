//! Model responses: where each begins and ends, and its token usage.

use super::model::{Failure, Inference, Message, Moment, Session, Step, StepAt, add};
use crate::rollout::fields::ThreadSettings;
use crate::rollout::rollout_item::TurnContext;
use crate::rollout::usage::TokenUsage;
use common::json::text::Text;
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct Inferences {
    /// The next request, as far as it is known: its settings, each from the last line that names it, and its messages.
    pub(super) next: Inference,
    /// The number of the last request.
    count: u32,
    /// The number of requests that got a response.
    pub(super) responses: u32,
    requests: Requests,
    open: Option<StepAt>,
    /// Open or not: Codex may record its usage after the outputs of its tools (0.144 to 0.150).
    last: Option<StepAt>,
    /// Sent with the first request, unless one of its messages repeats them.
    pub(super) instructions: Option<Text>,
    last_input_at: Option<Timestamp>,
    /// The model got input since its last response.
    has_new_input: bool,
    /// The model's text from an event, which Codex writes before the response item.
    echo: Option<Text>,
    /// Whether the turn waited for an answer before the last response.
    was_waiting: bool,
}

/// How a file separates a response from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Requests {
    /// A response ends when it is counted, or when the model gets new input.
    #[default]
    Unmarked,
    /// Codex marks each request (up to 0.103). Old versions write a response's calls and their outputs in pairs,
    /// and its usage before them: only the next mark ends it.
    Marked,
}

impl Inferences {
    pub(super) fn open_or_last(&self) -> Option<StepAt> {
        self.open.or(self.last)
    }

    /// Codex writes one per turn or per request; few versions name the tier in it. A line without a model does not change
    /// it: every request has one.
    pub(super) fn turn_context(&mut self, context: TurnContext) {
        let mode = context.collaboration_mode.unwrap_or_default();
        self.next.model = context.model.or(mode.model).or(self.next.model.take());
        self.next.effort = context.effort.or(mode.effort);
        self.next.service_tier = context.service_tier.or(self.next.service_tier.take());
    }

    /// Codex writes all settings of the thread when one of them changes. Every request has a model and a provider.
    pub(super) fn thread_settings(&mut self, settings: ThreadSettings) {
        self.next.model = settings.model.or(self.next.model.take());
        self.next.effort = settings.effort;
        self.next.provider = settings.provider.or(self.next.provider.take());
        self.next.service_tier = settings.service_tier;
    }

    /// Codex marks the request that it is about to send.
    pub(super) fn mark(&mut self, session: &mut Session, at: Option<Timestamp>) {
        self.end(session);
        self.requests = Requests::Marked;
        self.input_at(at);
    }

    pub(super) fn begin_turn(&mut self, session: &mut Session, at: Option<Timestamp>) {
        self.end(session);
        self.requests = Requests::Unmarked;
        self.last_input_at = at;
        self.has_new_input = true;
    }

    /// Ends the open response.
    pub(super) fn end(&mut self, session: &mut Session) {
        let (open, echo) = (self.open.take(), self.echo.take());
        // A response that was interrupted may have no line of its own.
        if let (Some(place), Some(text)) = (open, echo)
            && let Some(inference) = session.inference_at(place)
            && inference.texts.is_empty()
        {
            inference.texts.push(text);
        }
    }

    /// The model gets a message with its next request.
    pub(super) fn show(&mut self, session: &mut Session, message: Message, at: Option<Timestamp>) {
        if self.requests == Requests::Unmarked || message.tool_call_id.is_none() {
            self.end(session);
        }
        self.input_at(at);
        self.has_new_input = true;
        add(&mut self.next.new_messages, message);
    }

    /// A summary replaced the history. A message with the summary follows, unless it is encrypted.
    pub(super) fn show_summary(&mut self, session: &mut Session, summary: &str) {
        self.end(session);
        self.has_new_input = true;
        // The response that wrote the summary does not answer the prompt before it.
        if let Some(place) = self.last.filter(|_| self.was_waiting)
            && let Some(response) = session.inference(place)
            && response.requests.is_empty()
            && response.texts.iter().all(|text| summary.contains(&**text))
        {
            session.turns[place.turn].is_unanswered = true;
        }
    }

    /// The request that the turn waits for failed, or its response is incomplete. `attempt` is the number that Codex
    /// gives it, from 1.
    pub(super) fn fail(
        &mut self,
        session: &mut Session,
        now: Moment,
        failure: Failure,
        attempt: Option<u32>,
    ) {
        self.end(session);
        let waits = session.turns[now.turn].is_unanswered;
        let answered = self.last.filter(|place| place.turn == now.turn && !waits);
        if let Some(response) = answered.and_then(|place| session.inference_at(place))
            && response.failure.is_none()
        {
            // An error after a complete response that asked for tools is not the model's.
            if response.usage.is_none() || response.requests.is_empty() {
                response.failure = Some(Box::new(failure));
                response.attempt = attempt.or(response.attempt);
            }
        } else {
            let place = self.begin(session, now);
            self.responses -= 1;
            if let Some(request) = session.inference_at(place) {
                request.failure = Some(Box::new(failure));
                request.attempt = attempt.or(request.attempt);
            }
            session.turns[now.turn].is_unanswered = waits;
        }
        self.open = None;
        self.input_at(now.at);
    }

    pub(super) fn input_at(&mut self, at: Option<Timestamp>) {
        self.last_input_at = self.last_input_at.max(at);
    }

    /// Output of the model: part of the open response, or the beginning of the next, in this turn.
    pub(super) fn respond(
        &mut self,
        session: &mut Session,
        now: Moment,
        add_output: impl FnOnce(&mut Inference),
    ) {
        let place = self.open.unwrap_or_else(|| self.begin(session, now));
        session.turns[now.turn].is_unanswered = false;
        if let Some(inference) = session.inference_at(place) {
            // A counted response is over; old versions write its lines later.
            if inference.usage.is_none() {
                inference.ended_at = now.at.or(inference.ended_at);
            }
            add_output(inference);
        }
    }

    pub(super) fn echo(&mut self, session: &mut Session, now: Moment, text: Text) {
        self.respond(session, now, |_| {});
        self.echo = Some(text);
    }

    /// A response is over, and used these tokens. A usage without any item is a response too.
    pub(super) fn count_usage(&mut self, session: &mut Session, now: Moment, usage: TokenUsage) {
        let uncounted = |place: &StepAt| {
            place.turn == now.turn
                && session.inference(*place).is_some_and(|inference| inference.usage.is_none())
        };
        let open = self.open.filter(uncounted);
        // The output of a tool may have ended it.
        let ended = self.last.filter(uncounted).filter(|_| self.requests == Requests::Unmarked);
        let place = open.or(ended).unwrap_or_else(|| {
            self.end(session);
            self.begin(session, now)
        });
        if let Some(inference) = session.inference_at(place) {
            inference.usage = Some(usage);
            if self.open == Some(place) {
                inference.ended_at = now.at.or(inference.ended_at);
            }
        }
        self.close(session, now.at);
    }

    /// The usage that Codex recorded of the response just over is unreadable.
    pub(super) fn mark_usage_unread(&mut self, session: &mut Session) {
        if let Some(response) = self.open_or_last().and_then(|place| session.inference_at(place)) {
            response.is_usage_unread = true;
        }
    }

    /// Codex is done with a response, also with one that broke off.
    pub(super) fn close(&mut self, session: &mut Session, at: Option<Timestamp>) {
        if self.requests == Requests::Unmarked && self.open.is_some() {
            self.end(session);
            self.input_at(at);
        }
    }

    fn begin(&mut self, session: &mut Session, Moment { turn, at }: Moment) -> StepAt {
        let mut attempt = None;
        if !self.has_new_input
            && let Some(before) = self.last.filter(|place| place.turn == turn)
            && let Some(before) = session.inference_at(before)
        {
            // Codex repeats the request without new input.
            before.has_broken_off = before.usage.is_none();
            if before.has_broken_off || before.failure.is_some() {
                attempt = Some(before.attempt.get_or_insert(1).saturating_add(1));
            }
        }
        self.count += 1;
        self.responses += 1;
        self.was_waiting = std::mem::take(&mut session.turns[turn].is_unanswered);
        let mut new_messages = std::mem::take(&mut self.next.new_messages);
        if let Some(text) = self.instructions.take()
            && new_messages.iter().all(|message| message.text != text)
        {
            new_messages.insert(0, Message { role: Text::word("system"), text, tool_call_id: None });
        }
        let inference = Inference {
            number: self.count,
            started_at: self.last_input_at.or(at),
            ended_at: at,
            new_messages,
            attempt,
            ..self.next.clone()
        };
        let place = session.push(turn, Step::Inference(inference));
        self.has_new_input = false;
        (self.open, self.last) = (Some(place), Some(place));
        place
    }
}

#[cfg(test)]
mod tests;
