//! What a trace takes of a thread besides its turns: the facts that its spans share, and the launches that wrote it.
//! The exit code of a launch may fail its last turn; no session file has it.

use super::price_book::PriceBook;
use crate::claim::thread_record::{LaunchEntry, ThreadRecord};
use codex_session::session::family::{Family, Member};
use codex_session::session::model::{Failure, Session, Turn, TurnStatus};
use common::json::text::Text;
use common::shared::Shared;
use jiff::Timestamp;
use launch::exit::ChildExit;
use std::borrow::Cow;

/// What the spans of all threads of a build share.
#[derive(Clone, Copy)]
pub(super) struct BuildScope<'a> {
    /// As for `rebuild_family`.
    pub(super) before: Option<&'a Family>,
    pub(super) prices: &'a PriceBook,
}

#[derive(Clone)]
pub(super) struct ThreadScope<'a> {
    pub(super) prices: &'a PriceBook,
    /// The session as it was built before, if it had the same facts.
    pub(super) before: Option<&'a Session>,
    /// Whether that build had sub-agents: they change the tokens of turns above them.
    pub(super) had_sub_agents: bool,
    pub(super) thread: &'a str,
    /// Conversation id: the root thread's id, also for its sub-agents.
    pub(super) conversation: Text,
    pub(super) provider: Option<Text>,
    /// Start of spans without a recorded time.
    pub(super) start: Timestamp,
}

impl<'a> ThreadScope<'a> {
    pub(super) fn from_session(session: &'a Session, build: BuildScope<'a>) -> ThreadScope<'a> {
        let BuildScope { before, prices } = build;
        let meta = &session.meta;
        let has_same_scope =
            |before: &&Session| before.meta == session.meta && thread_start(before) == thread_start(session);
        let had_sub_agents = before.is_some_and(|family| family.members.len() > 1);
        let members = before.iter().flat_map(|family| &family.members);
        let before = members.map(|member| &member.session).find(has_same_scope);
        let root = meta.session_id.as_deref().filter(|_| meta.started_as().is_some());
        ThreadScope {
            prices,
            before,
            had_sub_agents,
            thread: &meta.id,
            conversation: root.unwrap_or(&meta.id).into(),
            provider: meta.model_provider.as_deref().map(Text::from),
            start: thread_start(session),
        }
    }

    /// A turn as it was built before. `number`: counts from 1.
    pub(super) fn turn_before(&self, number: usize) -> Option<&'a Shared<Turn>> {
        self.before?.turns.get(number.checked_sub(1)?)
    }
}

/// When Codex created the thread; the time of the first line where the file has no creation time.
pub(crate) fn thread_start(session: &Session) -> Timestamp {
    let recorded = session.meta.timestamp.as_ref().and_then(|text| text.parse().ok());
    recorded.or(session.first_line_at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// No span begins earlier. The header of a bare session file has local time, so it sets no floor.
pub(super) fn earliest_start(session: &Session) -> Timestamp {
    if session.is_bare { Timestamp::MIN } else { thread_start(session) }
}

/// The family, with completed turns of the session marked as failed if they have no answer and are the last turn of a
/// failed launch. A turn with an answer stays completed.
pub(super) fn with_failed_turns<'a>(family: &'a Family, record: &ThreadRecord) -> Cow<'a, Family> {
    let mut result = Cow::Borrowed(family);
    let Some(Member { session, .. }) = family.members.first() else { return result };
    for (index, turn) in session.turns.iter().enumerate() {
        let has_no_answer = turn.prompt.is_some() && turn.final_answer.is_none();
        if turn.status == TurnStatus::Completed
            && has_no_answer
            && let Some(launch) = launch_with_last_turn(session, index, record)
            && let Some(ChildExit::Code(code)) = launch.exit
            && code != 0
        {
            result.to_mut().members[0].session.turns[index].status = TurnStatus::Failed {
                message: format!("codex ended with exit code {code}, and the turn without an answer"),
                kind: Some(Failure::NO_ANSWER.into()),
            };
        }
    }
    result
}

/// The launch in which a turn began.
pub(super) fn launch_of<'a>(turn: &Turn, record: &'a ThreadRecord) -> Option<&'a LaunchEntry> {
    let began = turn.started_at?;
    record.launches.iter().rev().find(|launch| launch.started_at <= began)
}

/// The launch whose last turn this is.
fn launch_with_last_turn<'a>(
    session: &Session,
    turn: usize,
    record: &'a ThreadRecord,
) -> Option<&'a LaunchEntry> {
    let launch = launch_of(&session.turns[turn], record)?;
    let next = session.turns.get(turn + 1).and_then(|next| launch_of(next, record));
    Some(launch).filter(|launch| next.is_none_or(|next| next.launch_id != launch.launch_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::verdict::Attribution;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn turn(second: i64, answer: Option<&str>, prompt: Option<&str>, status: TurnStatus) -> Turn {
        Turn {
            started_at: Some(at(second)),
            final_answer: answer.map(Into::into),
            prompt: prompt.map(Into::into),
            status,
            ..Turn::default()
        }
    }

    fn launch(second: i64, exit: Option<ChildExit>) -> LaunchEntry {
        let (launch_id, attribution) = (second.to_string(), Attribution::Held);
        LaunchEntry { launch_id, attribution, started_at: at(second), exit, context: Default::default() }
    }

    #[test]
    fn a_failed_launch_fails_its_last_turn_unless_that_has_an_answer() {
        let done = || TurnStatus::Completed;
        let interrupted = || TurnStatus::Interrupted { reason: "interrupted".into() };
        let (good, bad) = (Some(ChildExit::Code(0)), Some(ChildExit::Code(1)));
        let unanswered = || turn(5, None, Some("go"), done());
        let table = [
            ("unanswered", vec![unanswered()], vec![launch(1, bad)], vec![true]),
            ("exit code 0", vec![unanswered()], vec![launch(1, good)], vec![false]),
            (
                "killed by a signal",
                vec![unanswered()],
                vec![launch(1, Some(ChildExit::Signal(9)))],
                vec![false],
            ),
            ("still running", vec![unanswered()], vec![launch(1, None)], vec![false]),
            ("no launch record", vec![unanswered()], vec![], vec![false]),
            ("a turn before the launch", vec![unanswered()], vec![launch(6, bad)], vec![false]),
            ("answered", vec![turn(5, Some("yes"), Some("go"), done())], vec![launch(1, bad)], vec![false]),
            ("no prompt", vec![turn(5, None, None, done())], vec![launch(1, bad)], vec![false]),
            ("SIGINT", vec![turn(5, None, Some("go"), interrupted())], vec![launch(1, bad)], vec![false]),
            (
                "its last turn only",
                vec![unanswered(), turn(7, None, Some("on"), done())],
                vec![launch(1, bad)],
                vec![false, true],
            ),
            (
                "resumed with success",
                vec![unanswered(), turn(9, None, Some("on"), done())],
                vec![launch(1, bad), launch(8, good)],
                vec![true, false],
            ),
        ];
        for (name, turns, launches, failed) in table {
            let turns = turns.into_iter().map(Shared::new).collect();
            let family = Family::from(Session { turns, ..Session::default() });
            let record = ThreadRecord { launches, ..ThreadRecord::default() };
            let result = with_failed_turns(&family, &record);
            let is_failed = |turn: &Turn| matches!(turn.status, TurnStatus::Failed { .. });
            assert_eq!(
                result.members[0].session.turns.iter().map(|turn| is_failed(turn)).collect::<Vec<_>>(),
                failed,
                "{name}"
            );
        }
    }
}
