//! The beginnings and ends of turns.

use super::*;
use crate::rollout::event::TurnAttribution;

/// Completes a turn.
fn end(
    index: &TurnIndex,
    session: &mut Session,
    id: Option<&str>,
    took_ms: Option<u64>,
    at: Option<Timestamp>,
) {
    let event =
        TurnEndEvent { turn_id: id.map(str::to_owned), duration_ms: took_ms, ..TurnEndEvent::default() };
    index.end(session, &event, TurnStatus::Completed, at);
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
        // Its beginning was lost, and a later line began it.
        (vec![Some("a"), None], Some("c"), Some(1)),
        (vec![], Some("c"), None),
        (vec![], None, None),
    ];
    for (begins, named, ended) in table {
        let (index, mut session) = begun(&begins);
        end(&index, &mut session, named, None, None);
        let completed = session.turns.iter().position(|turn| turn.status == TurnStatus::Completed);
        assert_eq!(completed, ended, "{begins:?} {named:?}");
    }
}

#[test]
fn only_a_turn_that_a_running_turn_asked_for_is_a_reviews() {
    let started = |parent: &str| TaskStarted {
        turn_id: Some("new".into()),
        turn_attribution: Some(TurnAttribution { parent_turn_id: Some(parent.into()) }),
        collaboration_mode_kind: None,
    };
    let (index, mut session) = begun(&[Some("over"), Some("running")]);
    for (parent, of_a_review) in [("running", true), ("over", false), ("another thread's", false)] {
        assert_eq!(index.is_a_reviews(&session, &started(parent)), of_a_review, "{parent}");
    }
    end(&index, &mut session, Some("running"), None, None);
    assert!(!index.is_a_reviews(&session, &started("running")));
}

#[test]
fn a_turn_begins_by_its_duration_but_not_before_the_turn_before_it() {
    let at = |millis: i64| Timestamp::from_millisecond(1_795_341_260_000 + millis).unwrap();
    for (took_ms, began) in [(None, 400), (Some(100), 400), (Some(900), 100), (Some(5_000), 50)] {
        let (mut index, mut session) = (TurnIndex::default(), Session::default());
        session.meta.timestamp = Some(at(50).to_string());
        index.begin(&mut session, Some("a".into()), Some(at(400)));
        end(&index, &mut session, Some("a"), took_ms, Some(at(1_000)));
        assert_eq!(session.turns[0].started_at, Some(at(began)), "{took_ms:?}");
        index.begin(&mut session, Some("b".into()), Some(at(1_500)));
        end(&index, &mut session, Some("b"), Some(9_000), Some(at(2_000)));
        assert_eq!(session.turns[1].started_at, Some(at(1_000)));
    }
}

#[test]
fn a_rollback_takes_back_the_turns_of_its_prompts_and_none_twice() {
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
