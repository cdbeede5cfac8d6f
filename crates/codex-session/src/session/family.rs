//! A session and those that it started: sub-agents and reviews, and what they started in turn.

use super::model::{Session, Step, ToolCall};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// How far the times of a turn's lines may be from the creation of the threads that it started.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// The tool that starts sub-agents, in every version that has them.
const SPAWN: &str = "spawn_agent";

/// The root first, each other member after its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub session: Session,
    /// The place of the member that started it; None for the root.
    pub parent: Option<usize>,
}

/// What a thread was started by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StartedBy<'a> {
    Call {
        turn: usize,
        call: &'a ToolCall,
    },
    Turn(usize),
    /// The call and the turn are unknown.
    Thread,
}

impl Family {
    /// `children` gives the sessions that one may have started. Each thread is taken once, so that files that name each
    /// other as parents make no circle.
    pub fn gather(root: Session, mut children: impl FnMut(&Session) -> Vec<Session>) -> Family {
        let mut seen = HashSet::from([root.meta.id.clone()]);
        let mut members = vec![Member { session: root, parent: None }];
        let mut at = 0;
        while at < members.len() {
            for child in children(&members[at].session) {
                if is_child(&child, &members[at].session) && seen.insert(child.meta.id.clone()) {
                    members.push(Member { session: child, parent: Some(at) });
                }
            }
            at += 1;
        }
        Family { members }
    }

    pub fn last_line_at(&self) -> Option<Timestamp> {
        self.members.iter().filter_map(|member| member.session.last_line_at).max()
    }
}

impl From<Session> for Family {
    fn from(session: Session) -> Family {
        Family { members: vec![Member { session, parent: None }] }
    }
}

fn is_child(child: &Session, of: &Session) -> bool {
    match child.meta.parent() {
        Some(parent) => parent == of.meta.id,
        None => child.meta.session_id.as_deref() == Some(&of.meta.id),
    }
}

/// When a session may have started others: while its turns ran.
pub fn working_times(session: &Session) -> Vec<(Timestamp, Timestamp)> {
    let times = session.turns.iter().filter_map(|turn| {
        let from = turn.started_at.or(session.first_line_at)?;
        let to = turn.ended_at.or(session.last_line_at)?;
        Some((from.checked_sub(SLACK).ok()?, to.checked_add(SLACK).ok()?))
    });
    times.collect()
}

/// The call that named the child, else the turn that asked for its first one, else the turn it began in.
pub fn started_by<'a>(child: &Session, parent: &'a Session) -> StartedBy<'a> {
    let turns = || parent.turns.iter().enumerate();
    let calls =
        turns().flat_map(|(turn, of)| of.steps.iter().filter_map(move |step| Some((turn, step.call()?))));
    let mut calls =
        calls.flat_map(|(turn, call)| call.with_nested().into_iter().map(move |call| (turn, call)));
    if let Some((turn, call)) = calls.find(|(_, call)| has_started(call, &child.meta.id)) {
        return StartedBy::Call { turn, call };
    }
    let asked = child.turns.iter().find_map(|turn| turn.asked_by.as_deref());
    let by_name = || turns().find(|(_, turn)| asked.is_some() && turn.turn_id.as_deref() == asked);
    let began = child.turns.iter().find_map(|turn| turn.started_at).or(child.first_line_at);
    let by_time = || turns().rev().find(|(_, turn)| turn.started_at.is_some() && turn.started_at <= began);
    by_name().or_else(by_time).map_or(StartedBy::Thread, |(turn, _)| StartedBy::Turn(turn))
}

fn has_started(call: &ToolCall, thread: &str) -> bool {
    // Before Codex recorded it (0.15x), only the text for the model named the thread.
    let is_in_output =
        || call.name == SPAWN && call.output.as_ref().is_some_and(|output| output.contains(thread));
    call.facts.agents.iter().any(|agent| agent == thread) || (!thread.is_empty() && is_in_output())
}

impl Step {
    fn call(&self) -> Option<&ToolCall> {
        if let Step::ToolCall(call) = self { Some(call) } else { None }
    }
}

impl ToolCall {
    fn with_nested(&self) -> Vec<&ToolCall> {
        std::iter::once(self).chain(self.nested.iter().flat_map(ToolCall::with_nested)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Outcome, ToolFacts, Turn};
    use super::*;
    use common::json::value::Value;

    fn session(id: &str, parent: Option<&str>) -> Session {
        let mut session = Session::default();
        session.meta.id = id.into();
        session.meta.parent_thread_id = parent.map(str::to_owned);
        session
    }

    /// Each member's id and its parent's place, out of all sessions.
    fn gathered(root: &str, all: &[(&str, Option<&str>)]) -> Vec<(String, Option<usize>)> {
        let root = session(root, None);
        let candidates = |_: &Session| all.iter().map(|(id, parent)| session(id, *parent)).collect();
        let members = Family::gather(root, candidates).members;
        members.into_iter().map(|member| (member.session.meta.id, member.parent)).collect()
    }

    #[test]
    fn threads_that_name_each_other_as_parents_are_taken_once() {
        let all = [("c", Some("b")), ("b", Some("a")), ("x", Some("y")), ("y", Some("x")), ("a", Some("c"))];
        let expected = [("a".into(), None), ("b".into(), Some(0)), ("c".into(), Some(1))];
        assert_eq!(gathered("a", &all), expected);
        assert_eq!(gathered("z", &all), [("z".into(), None)]);
    }

    #[test]
    fn a_thread_that_names_only_its_root_is_the_roots() {
        let mut guardian = session("g", None);
        guardian.meta.session_id = Some("a".into());
        assert!(is_child(&guardian, &session("a", None)));
        guardian.meta.parent_thread_id = Some("b".into());
        assert!(!is_child(&guardian, &session("a", None)));
    }

    fn call(name: &str, output: &str, agents: &[&str], nested: Vec<ToolCall>) -> ToolCall {
        let agents = agents.iter().map(|agent| (*agent).into()).collect();
        ToolCall {
            call_id: "call".into(),
            name: name.into(),
            server: None,
            raw_arguments: None,
            arguments: Value::Null,
            started_at: None,
            ended_at: None,
            outcome: Outcome::Ok,
            output: Some(output.into()),
            facts: ToolFacts { agents, ..ToolFacts::default() },
            nested,
        }
    }

    #[test]
    fn a_child_belongs_to_its_call_else_to_its_turn() {
        let at = |second: i64| Some(Timestamp::from_second(second).unwrap());
        let turn = |id: &str, second, call| Turn {
            turn_id: Some(id.into()),
            started_at: at(second),
            steps: vec![Step::ToolCall(Box::new(call))],
            ..Turn::default()
        };
        let of_script = call("exec", "", &[], vec![call(SPAWN, "", &["nested"], Vec::new())]);
        let mut parent = session("p", None);
        parent.turns = vec![
            turn("first", 10, call(SPAWN, r#"{"agent_id":"mentioned"}"#, &["recorded"], Vec::new())),
            turn("second", 20, of_script),
            // A call that only mentions a thread did not start it.
            turn("third", 30, call("send_input", "mentioned", &[], Vec::new())),
        ];
        let child = |id: &str, asked_by: Option<&str>, second| {
            let mut child = session(id, Some("p"));
            let asked_by = asked_by.map(str::to_owned);
            child.turns = vec![Turn { asked_by, started_at: at(second), ..Turn::default() }];
            child
        };
        let table = [
            (child("recorded", None, 0), Some((0, "spawn_agent"))),
            (child("mentioned", None, 35), Some((0, "spawn_agent"))),
            (child("nested", Some("third"), 35), Some((1, "spawn_agent"))),
            (child("other", Some("second"), 35), Some((1, ""))),
            (child("other", Some("unknown"), 25), Some((1, ""))),
            (child("other", None, 5), None),
        ];
        for (child, expected) in table {
            let found = match started_by(&child, &parent) {
                StartedBy::Call { turn, call } => Some((turn, &*call.name)),
                StartedBy::Turn(turn) => Some((turn, "")),
                StartedBy::Thread => None,
            };
            assert_eq!(found, expected, "{}", child.meta.id);
        }
    }
}
