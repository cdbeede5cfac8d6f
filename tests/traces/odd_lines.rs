//! What no Codex should write and some did: torn lines, odd separators, ordinals that are missing or wrong.

use codex_session::session::model::Session;
use codex_session::session::reducer::SessionReducer;
use codex_session::session::tokens::Discrepancy;
use codex_session::session::{self, Writer};
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

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

/// The same file with another text in place of the model's "All done.".
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

#[test]
fn marks_of_an_encoding_cost_no_line() {
    let whole = session_of(&original());
    let text = String::from_utf8(original().join(&b'\n')).expect("UTF-8");
    let utf_16 =
        |order: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(order).collect();
    // Two files that were joined, each with its mark.
    let (head, tail) = text.split_at(text.find("\n{").expect("two lines") + 1);
    let table: [(&str, Vec<u8>); 4] = [
        ("UTF-8", format!("\u{feff}{text}").into()),
        ("joined", format!("\u{feff}{head}\u{feff}{tail}").into()),
        ("UTF-16, little end first", utf_16(u16::to_le_bytes)),
        ("UTF-16, big end first", utf_16(u16::to_be_bytes)),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rollout-2026-11-22T09-54-22-01a202ad-9e14-7080-b0ad-408167e4fb5e.jsonl");
    for (name, bytes) in table {
        fs::write(&file, bytes).expect("a file");
        assert_eq!(session::read(&file, Writer::Gone).expect("readable"), whole, "{name}");
    }
}

/// The original with this number written in another way, in lines of a kind.
fn with_count(name: &str, value: impl Fn(&str) -> String, in_kind: &str) -> Vec<Vec<u8>> {
    let put = |line: Vec<u8>| {
        let line = String::from_utf8(line).expect("UTF-8");
        if !line.contains(in_kind) {
            return line.into_bytes();
        }
        let mut out = String::new();
        let mut rest = &line[..];
        let field = format!("\"{name}\":");
        while let Some(at) = rest.find(&field) {
            let digits = &rest[at + field.len()..];
            let length = digits.find([',', '}']).expect("the end of a number");
            out += &rest[..at + field.len()];
            out += &value(&digits[..length]);
            rest = &digits[length..];
        }
        (out + rest).into_bytes()
    };
    original().into_iter().map(put).collect()
}

#[test]
fn a_count_that_is_none_is_unknown_and_its_session_does_not_reconcile() {
    let whole = session_of(&original());
    assert_eq!(whole.tokens_reconcile(), Some(true));
    for value in ["1.5", "-3", "\"many\"", "1e40", "18446744073709551616", "null", "[1]"] {
        let session = session_of(&with_count("output_tokens", |_| value.into(), "_token"));
        assert_eq!(session.tokens_reconcile(), Some(false), "{value}");
        assert_eq!(session.discrepancy(), Some(Discrepancy::CountUnreadable), "{value}");
        assert_eq!(session.usage(), None, "{value}");
        // What cannot be read in one line may be right in another.
        let session =
            session_of(&with_count("output_tokens", |_| value.into(), "\"type\":\"token_usage_record\""));
        assert_eq!((session.usage(), session.tokens_reconcile()), (whole.usage(), Some(true)), "{value}");
        let session = session_of(&with_count("output_tokens", |_| value.into(), "\"type\":\"token_count\""));
        assert_eq!((session.usage(), session.tokens_reconcile()), (whole.usage(), Some(false)), "{value}");
    }
    let others: [fn(&str) -> String; 3] =
        [|digits| format!("{digits}.0"), |digits| format!("\"{digits}\""), |digits| format!("{digits}e0")];
    for other in others {
        let session = session_of(&with_count("input_tokens", other, "_token"));
        assert_eq!(
            (session.usage(), session.tokens_reconcile()),
            (whole.usage(), Some(true)),
            "{}",
            other("7")
        );
    }
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_earlier_than_what_was_before_it() {
    let time_of = |line: &Value| -> jiff::Timestamp {
        line["timestamp"].as_str().expect("a time").parse().expect("a time")
    };
    let back_from = |place: usize, hours: i64| -> Vec<Vec<u8>> {
        let from: Value = serde_json::from_slice(&original()[place]).expect("a line of JSON");
        let from = time_of(&from).as_millisecond();
        let put = |(at, line): (usize, Vec<u8>)| {
            if at < place {
                return line;
            }
            let mut line: Value = serde_json::from_slice(&line).expect("a line of JSON");
            line["timestamp"] = json!((time_of(&line) - jiff::SignedDuration::from_hours(hours)).to_string());
            for field in ["started_at_ms", "completed_at_ms"] {
                // What began before has its time from before.
                if let Some(millis) = line["payload"][field].as_i64().filter(|millis| *millis >= from) {
                    line["payload"][field] = json!(millis - hours * 3_600_000);
                }
            }
            line.to_string().into_bytes()
        };
        original().into_iter().enumerate().map(put).collect()
    };
    let surroundings =
        TraceSource { rollout: Path::new("r.jsonl"), user: None, prices: PriceBook::built_in() };
    let spans = |session: &Session| {
        build_family(&session.clone().into(), &Default::default(), surroundings).expect("a trace").spans
    };
    let whole = spans(&session_of(&original()));
    let lasts = |span: &mlflow_store::trace::Span| span.ended_at.duration_since(span.started_at).as_millis();
    for place in 1..original().len() {
        let spans = spans(&session_of(&back_from(place, 3)));
        assert_eq!(spans.len(), whole.len(), "line {place}");
        for now in &spans {
            let then = whole.iter().find(|then| then.id == now.id).expect("the same span");
            assert!(now.started_at >= whole[0].started_at, "{} begins early, line {place}", now.name);
            assert!(now.ended_at >= now.started_at, "{} ends early, line {place}", now.name);
            // The time between the two clocks is gone, and no more than a rounding is added.
            assert!((0..=lasts(then) + 1000).contains(&lasts(now)), "{} line {place}", now.name);
        }
    }
}
