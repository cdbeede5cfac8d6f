//! Turns: where each begins and ends, and which one a line belongs to.

use super::model::{Inference, Session, Turn, TurnStatus};
use crate::rollout::event::{ErrorEvent, TaskComplete, TaskStarted, UserContent};
use crate::rollout::value::Value;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub(super) struct TurnIndex {
    /// By Codex's turn id: late items name a turn that is over.
    named: HashMap<String, usize>,
    /// The last turn that only a prompt began (up to 0.103). No line will tell its end.
    implied: Option<usize>,
}

impl TurnIndex {
    /// A turn of which no line but its prompt tells.
    pub(super) fn begin_implied(&mut self, session: &mut Session, at: Option<Timestamp>) -> usize {
        let index = self.begin(session, None, at);
        self.implied = Some(index);
        index
    }

    pub(super) fn begin(
        &mut self,
        session: &mut Session,
        turn_id: Option<String>,
        at: Option<Timestamp>,
    ) -> usize {
        self.settle(session);
        lose_the_open_one(session);
        let index = session.turns.len();
        if let Some(id) = &turn_id {
            self.named.insert(id.clone(), index);
        }
        session.turns.push(Turn { turn_id, started_at: at, ..Turn::default() });
        index
    }

    pub(super) fn named(&self, turn_id: Option<&str>) -> Option<usize> {
        self.named.get(turn_id?).copied()
    }

    /// The turn that runs and whose end will be told.
    pub(super) fn told_and_open(&self, session: &Session) -> Option<usize> {
        let last = session.turns.len().checked_sub(1)?;
        (self.implied != Some(last) && session.turns[last].status == TurnStatus::Running).then_some(last)
    }

    /// A turn whose end no line tells is over when the model has answered and asked for nothing.
    pub(super) fn settle(&self, session: &mut Session) {
        let Some(turn) = self.implied.and_then(|index| session.turns.get_mut(index)) else { return };
        if let Some(answer) = answer_of(turn).filter(|_| turn.status == TurnStatus::Running) {
            turn.ended_at = answer.ended_at;
            turn.final_answer = turn.final_answer.take().or_else(|| answer.texts.last().cloned());
            turn.status = TurnStatus::Completed;
        }
    }

    /// Whether something was asked, and no turn runs.
    pub(super) fn is_at_rest(&self, session: &Session) -> bool {
        let is_implied = self.implied.is_some_and(|index| index + 1 == session.turns.len());
        session.turns.last().is_some_and(|turn| {
            turn.status != TurnStatus::Running || (is_implied && answer_of(turn).is_some())
        })
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
        end: End,
    ) -> Option<&'a mut Turn> {
        let index = match (turn_id, self.named(turn_id)) {
            (_, Some(index)) => index,
            (None, None) => session.turns.len().checked_sub(1)?,
            (Some(_), None) => session.turns.iter().rposition(|turn| turn.turn_id.is_none())?,
        };
        // After a turn that was lost nobody knows how early it may be.
        let earliest = match index.checked_sub(1) {
            Some(before) => session.turns[before].ended_at,
            None => session.meta.timestamp.as_ref().and_then(|text| text.parse().ok()),
        };
        let turn = &mut session.turns[index];
        let began = end.began().zip(earliest).map(|(began, earliest)| began.max(earliest));
        turn.started_at = [turn.started_at, began].into_iter().flatten().min();
        turn.status = end.status;
        turn.ended_at = end.at;
        Some(turn)
    }
}

/// How a turn came to its end.
pub(super) struct End {
    pub(super) status: TurnStatus,
    pub(super) at: Option<Timestamp>,
    /// As Codex measured it, in milliseconds.
    pub(super) took_ms: Option<u64>,
}

impl End {
    /// A thread's first lines are written when its turn runs already.
    fn began(&self) -> Option<Timestamp> {
        let took = SignedDuration::from_millis(i64::try_from(self.took_ms?).ok()?);
        self.at?.checked_sub(took).ok()
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

/// The last response of a turn, if it is an answer.
fn answer_of(turn: &Turn) -> Option<Inference> {
    turn.inferences().last().filter(|it| it.requests.is_empty() && !it.texts.is_empty()).cloned()
}

/// The user took back the last prompts, and what became of them.
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

/// A completed turn's answer, where its end did not tell it: files that Codex migrated.
pub(super) fn answer_from_responses(turn: &mut Turn) {
    if turn.status == TurnStatus::Completed && turn.final_answer.is_none() {
        turn.final_answer = answer_of(turn).and_then(|answer| answer.texts.last().cloned());
    }
}

/// Text that Codex shows the model in the user's name: `<environment_context>…</environment_context>`, `AGENTS.md`.
pub(super) fn is_context(text: &str) -> bool {
    let text = text.trim();
    let tag = text.strip_prefix('<').and_then(|rest| rest.split(['>', ' ']).next());
    text.starts_with("# AGENTS.md instructions")
        || tag.is_some_and(|tag| !tag.is_empty() && text.ends_with(&format!("</{tag}>")))
}

/// `before` is what went wrong in the turn, where Codex wrote it apart.
pub(super) fn status_of(complete: &TaskComplete, before: Option<ErrorEvent>) -> TurnStatus {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match &complete.error {
        None => before.map_or(TurnStatus::Completed, |error| TurnStatus::Failed {
            message: error.message,
            kind: error.codex_error_info.filter(|info| !info.is_null()).as_ref().map(text),
        }),
        Some(error) => TurnStatus::Failed {
            message: text(error.get("message").unwrap_or(error)),
            kind: error.get("codex_error_info").filter(|info| !info.is_null()).map(text),
        },
    }
}

/// What a person wrote first: lists show the beginning of it, and a person knows a prompt by its words.
pub(super) fn prompt_of(content: &[UserContent]) -> String {
    let texts = content.iter().filter_map(|part| part.text.clone());
    let others = content.iter().filter(|part| part.text.is_none()).map(|part| match &part.path {
        Some(path) => format!("[{} {path}]", part.r#type),
        None => format!("[{}]", part.r#type),
    });
    texts.chain(others).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::event::TurnAttribution;
    use serde_json::json;

    fn completed() -> End {
        End { status: TurnStatus::Completed, at: None, took_ms: None }
    }

    fn begun(turn_ids: &[Option<&str>]) -> (TurnIndex, Session) {
        let (mut index, mut session) = (TurnIndex::default(), Session::default());
        for id in turn_ids {
            index.begin(&mut session, id.map(str::to_owned), None);
        }
        (index, session)
    }

    #[test]
    fn the_words_of_a_prompt_come_before_its_images() {
        let part = |kind: &str, text: Option<&str>, path: Option<&str>| UserContent {
            r#type: kind.into(),
            text: text.map(str::to_owned),
            path: path.map(str::to_owned),
        };
        let image = || part("local_image", None, Some("/red.png"));
        let words = |text| part("text", Some(text), None);
        let table = [
            (vec![image(), words("what is this")], "what is this\n[local_image /red.png]"),
            (vec![words("a"), part("image", None, None), words("b")], "a\nb\n[image]"),
            (vec![image()], "[local_image /red.png]"),
            (vec![], ""),
        ];
        for (content, prompt) in table {
            assert_eq!(prompt_of(&content), prompt);
        }
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
            index.end(&mut session, named, completed());
            let completed = session.turns.iter().position(|turn| turn.status == TurnStatus::Completed);
            assert_eq!(completed, ended, "{begins:?} {named:?}");
        }
    }

    #[test]
    fn only_a_turn_asked_for_by_one_that_runs_here_is_a_reviews() {
        let started = |parent: &str| TaskStarted {
            turn_id: Some("new".into()),
            turn_attribution: Some(TurnAttribution { parent_turn_id: Some(parent.into()) }),
            collaboration_mode_kind: None,
        };
        let (index, mut session) = begun(&[Some("over"), Some("running")]);
        for (parent, of_a_review) in [("running", true), ("over", false), ("another thread's", false)] {
            assert_eq!(index.is_a_reviews(&session, &started(parent)), of_a_review, "{parent}");
        }
        index.end(&mut session, Some("running"), completed());
        assert!(!index.is_a_reviews(&session, &started("running")));
    }

    #[test]
    fn a_failure_is_told_in_whatever_shape_it_is_written() {
        let complete = |error: Value| TaskComplete {
            duration_ms: None,
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
            assert_eq!(status_of(&complete(error.clone().into()), None), status, "{error}");
        }
        let without = TaskComplete { error: None, ..complete(Value::Null) };
        assert_eq!(status_of(&without, None), TurnStatus::Completed);
        let before = ErrorEvent { message: "no".into(), codex_error_info: Some("other".into()) };
        assert_eq!(status_of(&without, Some(before)), failed("no", Some("other")));
    }

    #[test]
    fn a_turn_began_when_codex_says_and_not_before_what_was_there_before() {
        let at = |millis: i64| Timestamp::from_millisecond(1_795_341_260_000 + millis).unwrap();
        for (took_ms, began) in [(None, 400), (Some(100), 400), (Some(900), 100), (Some(5_000), 50)] {
            let (mut index, mut session) = (TurnIndex::default(), Session::default());
            session.meta.timestamp = Some(at(50).to_string());
            index.begin(&mut session, Some("a".into()), Some(at(400)));
            index.end(&mut session, Some("a"), End { took_ms, at: Some(at(1_000)), ..completed() });
            assert_eq!(session.turns[0].started_at, Some(at(began)), "{took_ms:?}");
            index.begin(&mut session, Some("b".into()), Some(at(1_500)));
            index.end(
                &mut session,
                Some("b"),
                End { took_ms: Some(9_000), at: Some(at(2_000)), ..completed() },
            );
            assert_eq!(session.turns[1].started_at, Some(at(1_000)));
        }
    }

    #[test]
    fn a_prompt_that_is_taken_back_takes_its_turn_along_and_no_turn_goes_twice() {
        let (mut index, mut session) = begun(&[Some("a"), Some("b"), Some("compaction"), Some("c")]);
        for (turn, prompt) in [(0, "one"), (1, "two"), (3, "three")] {
            session.turns[turn].prompt = Some(prompt.into());
        }
        let taken_back =
            |session: &Session| session.turns.iter().map(|turn| turn.is_taken_back).collect::<Vec<_>>();
        roll_back(&mut session, 1);
        assert_eq!(taken_back(&session), [false, false, false, true]);
        roll_back(&mut session, 1);
        assert_eq!(taken_back(&session), [false, true, true, true]);
        index.begin(&mut session, None, None);
        roll_back(&mut session, 9);
        assert_eq!(taken_back(&session), [true; 5]);
    }
}
