//! Threads that started others, and threads of several files.

use super::*;
use crate::rollout::session_meta::HistoryBase;
use crate::session::model::{Compaction, Inference, Outcome, ToolFacts};
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
        steps: vec![Step::ToolCall(Box::new(call)).into()],
        ..Turn::default()
    };
    let of_script = call("exec", "", &[], vec![call(SPAWN, "", &["nested"], Vec::new())]);
    let mut parent = session("p", None);
    parent.turns = vec![
        turn("first", 10, call(SPAWN, r#"{"agent_id":"mentioned"}"#, &["recorded"], Vec::new())).into(),
        turn("second", 20, of_script).into(),
        // A call that only mentions a thread did not start it.
        turn("third", 30, call("send_input", "mentioned", &[], Vec::new())).into(),
    ];
    let child = |id: &str, asked_by: Option<&str>, second| {
        let mut child = session(id, Some("p"));
        let asked_by = asked_by.map(str::to_owned);
        child.turns = vec![Turn { asked_by, started_at: at(second), ..Turn::default() }.into()];
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

fn usage(input: u64) -> TokenUsage {
    TokenUsage { input, ..TokenUsage::default() }
}

/// A turn of one response and one compaction for each of these ordinals.
fn part(base: Option<u64>, ordinals: &[u64], inherited: u64) -> Session {
    let turn = |(number, ordinal): (u32, &u64)| Turn {
        ordinal: Some(*ordinal),
        steps: vec![
            Step::Inference(Inference { number, usage: Some(usage(10)), ..Inference::default() }).into(),
            Step::Compaction(Compaction { number, ..Compaction::default() }).into(),
        ],
        ..Turn::default()
    };
    let mut session =
        Session { turns: (1..).zip(ordinals).map(turn).map(Shared::new).collect(), ..Session::default() };
    session.meta.history_base =
        base.map(|end_ordinal_exclusive| HistoryBase { thread_id: "t".into(), end_ordinal_exclusive });
    session.inherited = usage(inherited);
    session.codex_total = Some(usage(inherited + 10 * ordinals.len() as u64));
    session
}

fn taken_back(session: &Session) -> Vec<bool> {
    session.turns.iter().map(|turn| turn.is_taken_back).collect()
}

#[test]
fn a_rewind_takes_back_what_its_base_does_not_hold() {
    let whole = join(vec![part(None, &[1, 19], 0), part(Some(19), &[22], 10)]).unwrap();
    assert_eq!(taken_back(&whole), [false, true, false]);
    assert_eq!((whole.codex_total, whole.tokens_reconcile()), (Some(usage(30)), Some(true)));

    let twice = [part(None, &[1, 19], 0), part(Some(19), &[22], 10), part(Some(19), &[20, 30], 10)];
    assert_eq!(taken_back(&join(twice.into()).unwrap()), [false, true, true, false, false]);
    let chain = [part(None, &[1, 19], 0), part(Some(19), &[22, 30], 10), part(Some(30), &[31], 20)];
    assert_eq!(taken_back(&join(chain.into()).unwrap()), [false, true, false, true, false]);
}

#[test]
fn numbers_go_on_from_file_to_file() {
    let whole = join(vec![part(None, &[1, 19], 0), part(Some(19), &[22], 10)]).unwrap();
    let numbers = whole.inferences().map(|inference| inference.number);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(counts(&whole.turns), (3, 3));
}

#[test]
fn tokens_of_a_file_without_a_count_are_not_taken_for_counted() {
    let mut silent = part(Some(19), &[22], 10);
    silent.codex_total = None;
    assert_eq!(join(vec![part(None, &[1], 0), silent.clone()]).unwrap().tokens_reconcile(), None);
    silent.turns.clear();
    assert_eq!(join(vec![part(None, &[1], 0), silent]).unwrap().tokens_reconcile(), Some(true));
    assert_eq!(join(Vec::new()), None);
}
