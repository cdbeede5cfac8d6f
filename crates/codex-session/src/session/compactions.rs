//! Compactions: when each took place, and the size of the context before and after.

use super::model::{Compaction, Session, Step, StepAt};
use super::tools::time;
use crate::rollout::completed_item::ItemCompleted;
use crate::rollout::event::TokenCount;
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct Compactions {
    count: u32,
    /// As of the last token count.
    context_tokens: Option<u64>,
    /// The compaction whose size after it the next token count gives.
    uncounted: Option<StepAt>,
    /// Those before any turn: a file that Codex rewrote begins with the summary of its history.
    before_turns: Vec<Option<Timestamp>>,
}

impl Compactions {
    /// Adds a compaction to the end of the last turn, or to the beginning of the first.
    pub(super) fn push(&mut self, session: &mut Session, at: Option<Timestamp>) {
        match session.turns.len().checked_sub(1) {
            Some(turn) => self.add(session, turn, at),
            None => self.before_turns.push(at),
        }
    }

    /// A compaction is no turn: one before any turn becomes a step of the first.
    pub(super) fn begin_turn(&mut self, session: &mut Session) {
        if session.turns.len() == 1 {
            let began = session.turns[0].started_at;
            for at in std::mem::take(&mut self.before_turns) {
                self.add(session, 0, at.max(began));
            }
        }
    }

    fn add(&mut self, session: &mut Session, turn: usize, at: Option<Timestamp>) {
        self.count += 1;
        let compaction = Compaction {
            number: self.count,
            started_at: at,
            ended_at: at,
            tokens_before: self.context_tokens,
            tokens_after: None,
        };
        self.uncounted = Some(session.push(turn, Step::Compaction(compaction)));
    }

    pub(super) fn token_count(&mut self, session: &mut Session, count: &TokenCount) {
        let Some(last) = count.info.as_ref().and_then(|info| info.last_token_usage) else { return };
        self.context_tokens = last.total_tokens.0;
        if let Some(place) = self.uncounted.take()
            && let Some(Step::Compaction(compaction)) = session.step_at(place)
        {
            compaction.tokens_after = self.context_tokens;
        }
    }

    /// Adds the exact times, which Codex records just after a compaction. Returns its end.
    pub(super) fn completed(
        &self,
        session: &mut Session,
        turn: usize,
        completed: &ItemCompleted,
    ) -> Option<Timestamp> {
        let last = session.turns[turn].steps.iter().rposition(|step| matches!(**step, Step::Compaction(_)));
        let Some(Step::Compaction(compaction)) = session.step_at(StepAt { turn, step: last? }) else {
            return None;
        };
        compaction.started_at = time(completed.started_at_ms).or(compaction.started_at);
        compaction.ended_at = time(completed.completed_at_ms).or(compaction.ended_at);
        compaction.ended_at
    }
}
