//! What no Codex should write and some did: torn lines, odd separators, ordinals that are missing or wrong.

use codex_traced::session::model::Session;
use codex_traced::session::reducer::SessionReducer;
use serde_json::{Value, json};
use std::fs;

const ORIGINAL: &str = "tests/corpus/0.169.0/exec-basic.jsonl";

fn original() -> Vec<Vec<u8>> {
    let bytes = fs::read(ORIGINAL).expect("a file of the corpus");
    bytes.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn session_of(lines: &[Vec<u8>]) -> Session {
    let mut reducer = SessionReducer::default();
    lines.iter().for_each(|line| reducer.observe(line));
    reducer.finish()
}

/// The same file with another text where the model says "All done.".
fn with_answer(answer: &str) -> Vec<Vec<u8>> {
    let quoted = json!(answer).to_string();
    let put = |line: Vec<u8>| {
        let line = String::from_utf8(line).expect("UTF-8");
        line.replace("\"All done.\"", &quoted).into_bytes()
    };
    original().into_iter().map(put).collect()
}

fn with_ordinals(ordinal: impl Fn(usize) -> Option<usize>) -> Vec<Vec<u8>> {
    let put = |(place, line): (usize, Vec<u8>)| {
        let mut line: Value = serde_json::from_slice(&line).expect("a line of JSON");
        match ordinal(place) {
            Some(ordinal) => line["ordinal"] = json!(ordinal),
            None => drop(line.as_object_mut().expect("an object").remove("ordinal")),
        }
        line.to_string().into_bytes()
    };
    original().into_iter().enumerate().map(put).collect()
}

fn without_ordinals(mut session: Session) -> Session {
    session.turns.iter_mut().for_each(|turn| turn.ordinal = None);
    session
}

#[test]
fn characters_that_others_split_lines_at_stay_in_their_text() {
    for odd in ["\u{85}", "\u{2028}", "\u{2029}", "\r", "\0", "\u{feff}", "\u{1b}[2J", "a\r\nb"] {
        let answer = format!("All {odd} done.");
        let session = session_of(&with_answer(&answer));
        assert_eq!(session.turns[0].final_answer.as_deref(), Some(&*answer), "{odd:?}");
        assert_eq!((session.bad_lines, session.turns.len()), (0, 1), "{odd:?}");
    }
}

#[test]
fn lines_that_end_as_on_windows_are_the_same_lines() {
    let ended: Vec<Vec<u8>> = original().into_iter().map(|line| [&line[..], b"\r"].concat()).collect();
    assert_eq!(session_of(&ended), session_of(&original()));
}

#[test]
fn a_write_that_was_tried_again_costs_the_line_it_spoiled_and_no_other() {
    let whole = session_of(&original());
    for torn in 1..original().len() {
        let mut lines = original();
        let half = lines[torn][..lines[torn].len() / 2].to_vec();
        lines[torn] = [half, lines[torn].clone()].concat();
        let session = session_of(&lines);
        assert_eq!(session.bad_lines, 1, "line {torn}");
        assert_eq!(session.turns.len(), whole.turns.len(), "line {torn}");

        // The half alone, as a crash leaves it, and the line again below.
        let mut lines = original();
        let half = lines[torn][..lines[torn].len() / 2].to_vec();
        lines.insert(torn, half);
        let session = Session { bad_lines: 0, ..session_of(&lines) };
        assert_eq!(session, whole, "line {torn}");
    }
}

#[test]
fn bytes_that_are_no_json_are_bad_lines_and_nothing_else() {
    let whole = session_of(&original());
    for noise in [&b"\0\0\0\0"[..], b"\xff\xfe\xfd", b"", b"\r", b"}{", &[b'['; 100_000], &[b'{'; 3]] {
        let mut lines = original();
        lines.insert(5, noise.to_vec());
        let session = session_of(&lines);
        assert_eq!(session.bad_lines, 1, "{:?}", &noise[..noise.len().min(8)]);
        assert_eq!(Session { bad_lines: 0, ..session }, whole);
    }
}

#[test]
fn ordinals_that_are_missing_repeated_or_backwards_change_nothing_that_happened() {
    let whole = without_ordinals(session_of(&original()));
    let count = original().len();
    /// The ordinal of the line at a place.
    type Order = Box<dyn Fn(usize) -> Option<usize>>;
    let orders: [(&str, Order); 4] = [
        ("missing", Box::new(|_| None)),
        ("missing after an upgrade", Box::new(|place| Some(place).filter(|place| place % 3 == 0))),
        ("backwards", Box::new(move |place| Some(count - place))),
        ("all the same", Box::new(|_| Some(7))),
    ];
    for (name, ordinal) in orders {
        assert_eq!(without_ordinals(session_of(&with_ordinals(ordinal))), whole, "{name}");
    }
}

#[test]
fn a_thread_that_is_its_own_parent_is_read_like_any_other() {
    let mut lines = original();
    let mut meta: Value = serde_json::from_slice(&lines[0]).expect("a line of JSON");
    let id = meta["payload"]["id"].clone();
    for field in ["parent_thread_id", "forked_from_id", "session_id"] {
        meta["payload"][field] = id.clone();
    }
    lines[0] = meta.to_string().into_bytes();
    let session = session_of(&lines);
    assert_eq!(session.turns, session_of(&original()).turns);
    assert_eq!(session.tokens_reconcile(), Some(true));
}
