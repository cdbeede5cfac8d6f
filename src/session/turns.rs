//! Turns: where each begins and ends, and which one a line belongs to.

use super::model::{Session, Turn, TurnStatus};
use crate::rollout::event::{TaskComplete, TaskStarted, UserContent};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// By Codex's turn id: late items name a turn that is over.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnIndex(HashMap<String, usize>);

impl TurnIndex {
    pub(super) fn begin(
        &mut self,
        session: &mut Session,
        turn_id: Option<String>,
        at: Option<Timestamp>,
    ) -> usize {
        lose_the_open_one(session);
        let index = session.turns.len();
        if let Some(id) = &turn_id {
            self.0.insert(id.clone(), index);
        }
        session.turns.push(Turn { turn_id, started_at: at, ..Turn::default() });
        index
    }

    pub(super) fn named(&self, turn_id: Option<&str>) -> Option<usize> {
        self.0.get(turn_id?).copied()
    }

    /// The turn that a line without a turn id belongs to. A file may begin in the middle of one.
    pub(super) fn current(&mut self, session: &mut Session, at: Option<Timestamp>) -> usize {
        match session.turns.len() {
            0 => self.begin(session, None, at),
            turns => turns - 1,
        }
    }

    /// A review's turn is announced in the file of the thread that asked for it, too; its end is not.
    pub(super) fn is_a_reviews(&self, session: &Session, started: &TaskStarted) -> bool {
        let asked_by =
            started.turn_attribution.as_ref().and_then(|by| self.named(by.parent_turn_id.as_deref()));
        asked_by.is_some_and(|turn| session.turns[turn].status == TurnStatus::Running)
    }

    /// The turn of that id, else the one whose beginning told no id. An end without a beginning is no turn.
    pub(super) fn end<'a>(
        &self,
        session: &'a mut Session,
        turn_id: Option<&str>,
        status: TurnStatus,
        at: Option<Timestamp>,
    ) -> Option<&'a mut Turn> {
        let index = match (turn_id, self.named(turn_id)) {
            (_, Some(index)) => index,
            (None, None) => session.turns.len().checked_sub(1)?,
            (Some(_), None) => session.turns.iter().rposition(|turn| turn.turn_id.is_none())?,
        };
        let turn = &mut session.turns[index];
        turn.status = status;
        turn.ended_at = at;
        Some(turn)
    }
}

/// Codex runs one turn of a thread at a time.
pub(super) fn lose_the_open_one(session: &mut Session) {
    if let Some(turn) = session.turns.last_mut()
        && turn.status == TurnStatus::Running
    {
        turn.status = TurnStatus::Lost;
    }
}

pub(super) fn status_of(complete: &TaskComplete) -> TurnStatus {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match &complete.error {
        None => TurnStatus::Completed,
        Some(error) => TurnStatus::Failed {
            message: text(error.get("message").unwrap_or(error)),
            kind: error.get("codex_error_info").filter(|info| !info.is_null()).map(text),
        },
    }
}

pub(super) fn prompt_of(content: &[UserContent]) -> String {
    let parts = content.iter().map(|part| match (&part.text, &part.path) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => format!("[{} {path}]", part.r#type),
        (None, None) => format!("[{}]", part.r#type),
    });
    parts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::event::TurnAttribution;
    use serde_json::json;

    fn begun(turn_ids: &[Option<&str>]) -> (TurnIndex, Session) {
        let (mut index, mut session) = (TurnIndex::default(), Session::default());
        for id in turn_ids {
            index.begin(&mut session, id.map(str::to_owned), None);
        }
        (index, session)
    }

    #[test]
    fn an_end_is_of_the_turn_it_names() {
        let table = [
            (vec![Some("a"), Some("b")], Some("a"), Some(0)),
            (vec![Some("a"), Some("b")], None, Some(1)),
            (vec![Some("a"), Some("b")], Some("c"), None),
            // Its beginning was lost, and a later line made it.
            (vec![Some("a"), None], Some("c"), Some(1)),
            (vec![], Some("c"), None),
            (vec![], None, None),
        ];
        for (begins, named, ended) in table {
            let (index, mut session) = begun(&begins);
            index.end(&mut session, named, TurnStatus::Completed, None);
            let completed = session.turns.iter().position(|turn| turn.status == TurnStatus::Completed);
            assert_eq!(completed, ended, "{begins:?} {named:?}");
        }
    }

    #[test]
    fn only_a_turn_asked_for_by_one_that_runs_here_is_a_reviews() {
        let started = |parent: &str| TaskStarted {
            turn_id: Some("new".into()),
            turn_attribution: Some(TurnAttribution { parent_turn_id: Some(parent.into()) }),
        };
        let (index, mut session) = begun(&[Some("over"), Some("running")]);
        for (parent, of_a_review) in [("running", true), ("over", false), ("another thread's", false)] {
            assert_eq!(index.is_a_reviews(&session, &started(parent)), of_a_review, "{parent}");
        }
        index.end(&mut session, Some("running"), TurnStatus::Completed, None);
        assert!(!index.is_a_reviews(&session, &started("running")));
    }

    #[test]
    fn a_failure_is_told_in_whatever_shape_it_is_written() {
        let complete = |error: Value| TaskComplete {
            turn_id: None,
            last_agent_message: None,
            error: Some(error),
            time_to_first_token_ms: None,
        };
        let failed = |message: &str, kind: Option<&str>| TurnStatus::Failed {
            message: message.into(),
            kind: kind.map(str::to_owned),
        };
        let table = [
            (json!({"message": "no", "codex_error_info": "other"}), failed("no", Some("other"))),
            (json!({"message": "no", "codex_error_info": null}), failed("no", None)),
            (
                json!({"message": "no", "codex_error_info": {"http": {"status": 500}}}),
                failed("no", Some(r#"{"http":{"status":500}}"#)),
            ),
            (json!("no"), failed("no", None)),
            (json!({"odd": 1}), failed(r#"{"odd":1}"#, None)),
        ];
        for (error, status) in table {
            assert_eq!(status_of(&complete(error.clone())), status, "{error}");
        }
        assert_eq!(status_of(&TaskComplete { error: None, ..complete(json!(0)) }), TurnStatus::Completed);
    }
}
