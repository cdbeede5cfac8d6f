//! Turns: where each begins and ends, and which one a line belongs to.

use super::model::{Inference, Session, Turn, TurnStatus};
use crate::rollout::completed_item::UserContent;
use crate::rollout::event::{TaskStarted, TurnEndEvent};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub(super) struct TurnIndex {
    /// By Codex's turn id: late items name a turn that is over.
    named: HashMap<String, usize>,
    /// The last turn that only a prompt began (up to 0.103). No line will end it.
    implied: Option<usize>,
    /// The last turn in which a review was asked for.
    review: Option<usize>,
    /// The review runs, and lines are the reviewer's.
    is_reviewing: bool,
}

impl TurnIndex {
    pub(super) fn set_implied(&mut self, turn: usize) {
        self.implied = Some(turn);
    }

    pub(super) fn begin(
        &mut self,
        session: &mut Session,
        turn_id: Option<String>,
        at: Option<Timestamp>,
    ) -> usize {
        self.settle(session);
        lose_the_open_one(session);
        self.is_reviewing = false;
        let index = session.turns.len();
        if let Some(id) = &turn_id {
            self.named.insert(id.clone(), index);
        }
        session.turns.push(Turn { turn_id, started_at: at, ..Turn::default() }.into());
        index
    }

    pub(super) fn named(&self, turn_id: Option<&str>) -> Option<usize> {
        self.named.get(turn_id?).copied()
    }

    /// The turn that runs, if a line will end it.
    pub(super) fn open_with_end_line(&self, session: &Session) -> Option<usize> {
        running(session).filter(|turn| self.implied != Some(*turn))
    }

    /// The turn that runs, if no line will end it.
    pub(super) fn open_without_end_line(&self, session: &Session) -> Option<usize> {
        running(session).filter(|turn| self.implied == Some(*turn))
    }

    /// Completes a turn whose end is in no line, if the model has answered without a request, or its review has an
    /// answer.
    pub(super) fn settle(&self, session: &mut Session) {
        let Some(turn) = self.implied.and_then(|index| session.turns.get_mut(index)) else { return };
        if turn.status == TurnStatus::Running && turn.final_answer.is_some() {
            turn.status = TurnStatus::Completed;
        } else if let Some(answer) = answer_of(turn).filter(|_| turn.status == TurnStatus::Running) {
            turn.ended_at = answer.ended_at;
            turn.final_answer = turn.final_answer.take().or_else(|| answer.texts.last().cloned());
            turn.status = TurnStatus::Completed;
        }
    }

    /// Whether there are turns and none of them runs.
    pub(super) fn is_at_rest(&self, session: &Session) -> bool {
        let is_implied = self.implied.is_some_and(|index| index + 1 == session.turns.len());
        session.turns.last().is_some_and(|turn| {
            let has_answer = || turn.final_answer.is_some() || answer_of(turn).is_some();
            turn.status != TurnStatus::Running || (is_implied && has_answer())
        })
    }

    /// The turn that a line without a turn id belongs to. A file may begin in the middle of one.
    pub(super) fn current(&mut self, session: &mut Session, at: Option<Timestamp>) -> usize {
        match session.turns.len() {
            0 => self.begin(session, None, at),
            turns => turns - 1,
        }
    }

    pub(super) fn begin_review(&mut self, turn: usize) {
        (self.review, self.is_reviewing) = (Some(turn), true);
    }

    pub(super) fn end_review(&mut self) {
        self.is_reviewing = false;
    }

    /// Whether user messages in this turn are Codex's, for the reviewer.
    pub(super) fn is_reviewing(&self, turn: usize) -> bool {
        self.is_reviewing && self.review == Some(turn)
    }

    /// Whether this begins the reviewer's turn, within the turn that asked for the review; both count as one turn. It
    /// begins once: a second turn is another one, and the review was cut off (0.104).
    pub(super) fn is_the_reviewers(&mut self, session: &mut Session, started: &TaskStarted) -> bool {
        let Some(review) = running(session).filter(|turn| self.is_reviewing(*turn)) else { return false };
        let turn = &mut session.turns[review];
        if turn.has_reviewer {
            return false;
        }
        turn.has_reviewer = true;
        if let Some(id) = &started.turn_id {
            self.named.insert(id.clone(), review);
            turn.turn_id.get_or_insert_with(|| id.clone());
        }
        // A Codex that writes the beginning of turns writes their end.
        self.implied = self.implied.filter(|implied| *implied != review);
        true
    }

    /// Whether this begins a turn of a review's own thread. Codex also writes its beginning, but not its end, to the
    /// file of the thread that asked for the review.
    pub(super) fn is_a_reviews(&self, session: &Session, started: &TaskStarted) -> bool {
        let asked_by =
            started.turn_attribution.as_ref().and_then(|by| self.named(by.parent_turn_id.as_deref()));
        asked_by.is_some_and(|turn| session.turns[turn].status == TurnStatus::Running)
    }

    /// The turn that an end line ends: the one of that id, else the review that runs, which may end under its own id
    /// (0.104), else the one that began without an id. An end without a beginning is no turn.
    pub(super) fn ended(&self, session: &Session, turn_id: Option<&str>) -> Option<usize> {
        match (turn_id, self.named(turn_id)) {
            (_, Some(index)) => Some(index),
            (None, None) => session.turns.len().checked_sub(1),
            (Some(_), None) => self
                .review
                .filter(|turn| running(session) == Some(*turn))
                .or_else(|| session.turns.iter().rposition(|turn| turn.turn_id.is_none())),
        }
    }

    pub(super) fn end<'a>(
        &self,
        session: &'a mut Session,
        event: &TurnEndEvent,
        status: TurnStatus,
        at: Option<Timestamp>,
    ) -> Option<&'a mut Turn> {
        let index = self.ended(session, event.turn_id.as_deref())?;
        // A turn begins after the one before it, of which at least the beginning is known.
        let earliest = match index.checked_sub(1) {
            Some(before) => session.turns[before].ended_at.or(session.turns[before].started_at),
            None => session.meta.timestamp.as_ref().and_then(|text| text.parse().ok()),
        };
        // Earlier than the turn's first line in a new thread: Codex writes it when the turn already runs.
        let took =
            event.duration_ms.and_then(|took| i64::try_from(took).ok()).map(SignedDuration::from_millis);
        let began = took.and_then(|took| at?.checked_sub(took).ok());
        let turn = &mut session.turns[index];
        let began = began.zip(earliest).map(|(began, earliest)| began.max(earliest));
        turn.started_at = [turn.started_at, began].into_iter().flatten().min();
        (turn.status, turn.ended_at) = (status, at);
        Some(turn)
    }
}

fn running(session: &Session) -> Option<usize> {
    session.is_running().then(|| session.turns.len() - 1)
}

/// A turn that is still open is lost: Codex runs one turn of a thread at a time.
pub(super) fn lose_the_open_one(session: &mut Session) {
    if let Some(turn) = running(session) {
        session.turns[turn].status = TurnStatus::Lost;
    }
}

/// The last response of a turn, if it is an answer.
fn answer_of(turn: &Turn) -> Option<Inference> {
    turn.inferences().last().filter(|it| it.requests.is_empty() && !it.texts.is_empty()).cloned()
}

/// The user took back the last prompts, and their turns with them.
pub(super) fn roll_back(session: &mut Session, prompts: u64) {
    let mut left = prompts;
    for turn in session.turns.iter_mut().rev().filter(|turn| !turn.is_taken_back) {
        if left == 0 {
            break;
        }
        turn.is_taken_back = true;
        left -= u64::from(turn.prompt.is_some());
    }
}

/// Sets a completed turn's answer where its end line has none or only a part: in files that Codex migrated, and for
/// plans, which Codex removes from the answer around them.
pub(super) fn answer_from_responses(turn: &mut Turn) {
    if turn.status != TurnStatus::Completed {
        return;
    }
    let answer = answer_of(turn).and_then(|answer| answer.texts.last().cloned());
    let is_plan = turn.mode.as_deref() == Some("plan")
        && answer.as_ref().is_some_and(|answer| answer.contains("<proposed_plan>"));
    if turn.final_answer.is_none() || is_plan {
        turn.final_answer = answer;
    }
}

/// Text that Codex sends to the model as the user: `<environment_context>…</environment_context>`, `AGENTS.md`.
pub(crate) fn is_context(text: &str) -> bool {
    let text = text.trim();
    let tag = text.strip_prefix('<').and_then(|rest| rest.split(['>', ' ']).next());
    text.starts_with("# AGENTS.md instructions")
        || tag.is_some_and(|tag| !tag.is_empty() && text.ends_with(&format!("</{tag}>")))
}

/// The user's text comes before images: lists show the beginning, and users know a prompt by its text.
pub(super) fn prompt_of(content: &[UserContent]) -> String {
    let texts = content.iter().filter_map(|part| part.text.clone());
    let others = content.iter().filter(|part| part.text.is_none()).map(|part| match &part.path {
        Some(path) => format!("[{} {path}]", part.r#type),
        None => format!("[{}]", part.r#type),
    });
    texts.chain(others).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
