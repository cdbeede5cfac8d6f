//! Which texts are cut, which spans are looked at for it, and which texts move one level down.

use super::*;
use crate::redact::tests::span;
use mlflow_store::trace::SpanEvent;
use serde_json::json;

#[test]
fn a_long_text_is_cut_by_characters_and_marked() {
    assert_eq!([first("äöü", 3), first("äöüß", 3)], ["äöü", "äö…"]);
    assert_eq!([last("äöü", 3), last("äöüß", 3)], ["äöü", "…öüß"]);
}

#[test]
fn both_ends_of_a_long_value_stay_and_the_mark_counts_the_cut_bytes() {
    assert_eq!(shortened("abcdefgh", 8), None);
    assert_eq!(shortened("abcdefghi", 8).as_deref(), Some("abcd\n[… 1 of 9 bytes cut …]\nfghi"));
    // Never splits a character.
    assert_eq!(shortened("aäöüäöüb", 6).as_deref(), Some("aä\n[… 8 of 14 bytes cut …]\nüb"));
}

#[test]
fn values_below_the_deepest_level_become_text() {
    let nested = |levels: usize, core: &str| format!("{}{core}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in [1, DEEPEST, DEEPEST + 1, 127] {
        let mut value: Value = serde_json::from_str(&nested(levels, "7")).unwrap();
        limit(&mut value, 0);
        let expected = match levels.checked_sub(DEEPEST) {
            None | Some(0) => nested(levels, "7"),
            Some(deeper) => nested(DEEPEST, &format!("{:?}", nested(deeper, "7"))),
        };
        assert_eq!(value.to_string(), expected, "{levels}");
    }
}

#[test]
fn every_span_that_is_cut_was_recognized_before() {
    let nested = |levels: usize| -> serde_json::Value {
        serde_json::from_str(&format!("{}7{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
    };
    let text = |bytes: usize| json!("x".repeat(bytes));
    let message = |bytes: usize| json!({"messages": [{"content": text(bytes)}]});
    let plain = || span(json!({"cmd": "ls"}), nested(DEEPEST));
    let with_status =
        |bytes: usize| Span { status: SpanStatus::Error { message: "x".repeat(bytes) }, ..plain() };
    let with_attribute = |value: serde_json::Value| Span {
        attributes: Map::from_iter([("a".into(), Value::from(value))]),
        ..plain()
    };
    let with_event = |message: &str| {
        let attributes = Map::from_iter([("exception.message".into(), message.into())]);
        let event = SpanEvent { name: "exception".into(), at: plain().started_at, attributes };
        Span { events: vec![event], ..plain() }
    };
    let within = [
        plain(),
        span(message(LONGEST_MESSAGE), text(LONGEST_MESSAGE)),
        with_status(LONGEST_STATUS),
        with_attribute(nested(DEEPEST - 1)),
    ];
    let beyond = [
        span(message(LONGEST_MESSAGE + 1), json!(null)),
        span(text(LONGEST_TEXT + 1), json!(null)),
        span(json!(null), nested(DEEPEST + 1)),
        with_status(LONGEST_STATUS + 1),
        with_attribute(nested(DEEPEST)),
        with_attribute(text(LONGEST_TEXT + 1)),
        with_event(&format!("failed\n{}", "x".repeat(2 * LAST_WORDS_CHARACTERS))),
    ];
    for (spans, is_beyond) in [(&within[..], false), (&beyond, true)] {
        for before in spans {
            let mut after = before.clone();
            cut_span(&mut after);
            assert_eq!((after != *before, may_exceed(before)), (is_beyond, is_beyond), "{before:?}");
        }
    }
}

#[test]
fn a_message_of_a_conversation_is_cut_shorter_than_the_prompt() {
    let long = "x".repeat(LONGEST_MESSAGE + 10);
    let message = json!({"role": "user", "content": long});
    let mut span = span(
        json!({"prompt": long, "messages": [message, {"content": null}, 7]}),
        json!({"response": long, "choices": [{"message": message}, {}]}),
    );
    limit_conversation(&mut span);
    let length = |value: &Value| value.as_str().map(str::len);
    let cut = [&span.inputs["messages"][0]["content"], &span.outputs["choices"][0]["message"]["content"]];
    for text in cut {
        assert!(text.as_str().unwrap().contains("\n[… 10 of 65546 bytes cut …]\n"), "{text}");
    }
    assert_eq!([&span.inputs["prompt"], &span.outputs["response"]].map(length), [Some(long.len()); 2]);
}

#[test]
fn nested_texts_are_cut() {
    let long = "x".repeat(LONGEST_TEXT + 10);
    let mut value = Value::from(json!({"a": [{"b": long}], "c": "short", "d": 7}));
    limit(&mut value, 0);
    let text = value["a"][0]["b"].as_str().unwrap();
    assert!(text.contains("[… 10 of 1048586 bytes cut …]"), "{}", text.len());
    assert_eq!((value["c"].as_str(), value["d"].as_u64()), (Some("short"), Some(7)));
}

#[test]
fn only_a_text_of_several_lines_moves_one_level_down() {
    let table = [
        (json!("one\n"), json!("one\n")),
        (json!("one\ntwo"), json!({"text": "one\ntwo"})),
        (json!(["one\ntwo"]), json!(["one\ntwo"])),
        (json!({"text": "one\ntwo"}), json!({"text": "one\ntwo"})),
        (json!(7), json!(7)),
    ];
    for (before, after) in table {
        let mut value = Value::from(before.clone());
        nest_text(&mut value);
        assert_eq!(serde_json::to_value(&value).unwrap(), after, "{before}");
        assert_eq!(text_of(&value), before.as_str().or(before["text"].as_str()), "{before}");
    }
}
