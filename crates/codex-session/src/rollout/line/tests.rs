//! Lines of all versions, damaged ones too.

use super::*;
use crate::rollout::content::ContentText;
use crate::rollout::rollout_item::{MessageItem, ResponseItem, TokenUsageRecord, TurnContext};
use crate::rollout::usage::{Count, Usage};
use std::fs;

fn item(line: &str) -> Option<RolloutItem> {
    RolloutLine::parse(line.as_bytes()).map(|line| line.item)
}

/// The envelope as full parsing finds it.
fn around(line: &[u8]) -> Option<Envelope<'_>> {
    serde_json::from_slice::<LineFields>(line).ok()?.envelope()
}

#[test]
fn a_malformed_line_is_bad_and_an_unknown_one_is_kept_by_kind() {
    for bad in ["", "{", "[]", "{}", r#"{"payload":{}}"#, r#"{"type":3,"payload":{}}"#, r#"{"id":"x"}"#] {
        assert_eq!(item(bad), None, "{bad}");
    }
    let kinds = [
        (r#"{"type":"surprise","payload":{}}"#, "surprise"),
        (r#"{"type":"surprise"}"#, "response_item/surprise"),
        (r#"{"type":"response_item","payload":{"type":"surprise"}}"#, "response_item/surprise"),
        (r#"{"type":"event_msg","payload":{"type":"surprise"}}"#, "event_msg/surprise"),
        (r#"{"type":"event_msg","payload":7}"#, "event_msg/?"),
        (r#"{"type":"session_meta","payload":{"id":7}}"#, "session_meta"),
    ];
    for (line, kind) in kinds {
        assert_eq!(item(line), Some(RolloutItem::Unknown { kind: kind.into() }), "{line}");
    }
}

#[test]
fn codexs_own_bookkeeping_is_known() {
    let lines = [
        r#"{"type":"world_state","payload":{"full":true,"state":{}}}"#,
        // An answer to `request_user_input`, kept for the next compaction (0.171); the tool's output has it too.
        r#"{"type":"retained_context","payload":{"type":"verified_answer","call_id":"c","questions":[]}}"#,
    ];
    for line in lines {
        assert_eq!(item(line), Some(RolloutItem::Bookkeeping), "{line}");
    }
}

#[test]
fn a_field_of_an_odd_type_does_not_lose_its_line() {
    let meta = SessionMeta { id: "t".into(), cwd: Some("/w".into()), ..SessionMeta::default() };
    let odd = Count(None);
    let usage =
        Usage { input_tokens: Count(Some(30)), output_tokens: odd, total_tokens: odd, ..Usage::default() };
    let record = TokenUsageRecord { response_id: None, usage, thread_token_usage: None };
    let table = [
        (
            r#"{"timestamp":7,"type":"session_meta","payload":{"id":"t","cwd":"/w","git":3,"originator":[]}}"#,
            RolloutItem::SessionMeta(Box::new(meta)),
        ),
        (
            r#"{"type":"turn_context","payload":{"model":"m","effort":{"level":"high"}}}"#,
            RolloutItem::TurnContext(TurnContext { model: Some("m".into()), ..TurnContext::default() }),
        ),
        (
            r#"{"type":"token_usage_record","payload":{"response_id":7,"thread_token_usage":"many",
                "usage":{"input_tokens":30,"output_tokens":-1,"total_tokens":null}}}"#,
            RolloutItem::TokenUsageRecord(record),
        ),
    ];
    for (line, read) in table {
        assert_eq!(item(line), Some(read), "{line}");
    }
}

#[test]
fn a_usage_record_is_read_with_its_totals() {
    let line = r#"{"timestamp":"2026-11-22T10:04:49.277Z","ordinal":10,"type":"token_usage_record",
        "payload":{"response_id":"resp_1","usage":{"input_tokens":30,"output_tokens":1,"total_tokens":31}}}"#;
    let [input_tokens, output_tokens, total_tokens] = [30, 1, 31].map(|count| Count(Some(count)));
    let usage = Usage { input_tokens, output_tokens, total_tokens, ..Usage::default() };
    assert_eq!(
        RolloutLine::parse(line.as_bytes()),
        Some(RolloutLine {
            timestamp: Some("2026-11-22T10:04:49.277Z".parse().unwrap()),
            ordinal: Some(10),
            is_bare: false,
            item: RolloutItem::TokenUsageRecord(TokenUsageRecord {
                response_id: Some("resp_1".into()),
                usage,
                thread_token_usage: None
            }),
        })
    );
}

#[test]
fn an_unpaired_surrogate_does_not_lose_its_line() {
    let line = r#"{"timestamp":"2026-11-22T10:04:14Z","type":"event_msg","payload":{"type":"user_message","message":"a\ud83db"}}"#;
    let whole = line.replace(r"\ud83d", "\u{fffd}");
    assert_eq!(RolloutLine::parse(line.as_bytes()), RolloutLine::parse(whole.as_bytes()));
    assert!(matches!(RolloutLine::parse(line.as_bytes()).unwrap().item, RolloutItem::Event(_)));
}

#[test]
fn the_fields_of_a_bare_line_give_its_kind() {
    let item = |line: &str| RolloutLine::parse(line.as_bytes()).map(|line| (line.is_bare, line.item));
    let bare = |item| Some((true, item));
    let meta = SessionMeta {
        id: "t".into(),
        timestamp: Some("2025-09-01T10:00:00.000Z".into()),
        git: Some(Git { branch: Some("main".into()), ..Git::default() }),
        ..SessionMeta::default()
    };
    let message = MessageItem { role: "user".into(), content: ContentText("go".into()) };
    let table = [
        (
            r#"{"id":"t","timestamp":"2025-09-01T10:00:00.000Z","instructions":null,"git":{"branch":"main"}}"#,
            bare(RolloutItem::SessionMeta(Box::new(meta))),
        ),
        (r#"{"record_type":"state"}"#, bare(RolloutItem::StateRecord)),
        (
            r#"{"type":"message","id":null,"role":"user","content":"go"}"#,
            bare(RolloutItem::ResponseItem(ResponseItem::Message(message))),
        ),
        (r#"{"id":"t"}"#, None),
    ];
    for (line, read) in table {
        assert_eq!(item(line), read, "{line}");
    }
}

#[test]
fn framing_gives_what_full_parsing_gives_or_nothing() {
    let framed = [
        r#"{"timestamp":"2026-11-22T10:04:49.277Z","ordinal":10,"type":"t","payload":{"a":[1,{"payload":2}]}}"#,
        r#"{"timestamp":"soon","type":"t","payload":7}"#,
        r#"{"timestamp":"","type":"é","payload": [] }"#,
        r#"{"timestamp":"","type":"response_item","payload":{"metadata":1},"metadata":{"a":{},"b":2}}"#,
    ];
    for line in framed {
        let frame = Envelope::framing(line.as_bytes());
        let frame = frame.map(|frame| Envelope { payload: frame.payload.trim(), ..frame });
        assert_eq!(frame, around(line.as_bytes()), "{line}");
    }
    let others = [
        r#"{"type":"t","payload":{}}"#,
        r#"{"timestamp":7,"type":"t","payload":{}}"#,
        r#"{"timestamp":"\u0041","type":"t","payload":{}}"#,
        "{\"timestamp\":\"a\nb\",\"type\":\"t\",\"payload\":{}}",
        r#"{"timestamp":"","ordinal":01,"type":"t","payload":{}}"#,
        r#"{"timestamp":"","ordinal":-1,"type":"t","payload":{}}"#,
        r#"{"timestamp":"","type":7,"payload":{}}"#,
        r#"{"timestamp":"","type":"t","payload":null}"#,
        r#"{"timestamp":"","type":"t","payload":{"#,
    ];
    for line in others {
        assert_eq!(Envelope::framing(line.as_bytes()), None, "{line}");
    }
    // Not JSON, as parsing the payload shows.
    let odd = [
        (r#"{"timestamp":"","type":"t","payload":{},"payload":{}}"#, r#"{},"payload":{}"#),
        (
            r#"{"timestamp":"","type":"response_item","payload":{"a":1,"metadata":2}}"#,
            r#"{"a":1,"metadata":2}"#,
        ),
        (
            r#"{"timestamp":"","type":"t","payload":{},"metadata":{},"ordinal":2}"#,
            r#"{},"metadata":{},"ordinal":2"#,
        ),
    ];
    for (line, payload) in odd {
        assert_eq!(Envelope::framing(line.as_bytes()).map(|frame| frame.payload), Some(payload), "{line}");
    }
}

#[test]
fn a_plain_time_is_parsed_as_the_library_parses_it() {
    let odd = ["2026-11-22T10:04:49.277+", "2026-02-30T00:00:00.000Z", "2026-01-01T24:00:00.000Z", "soon"];
    for text in ["2026-11-22T10:04:49.277Z", "0001-01-01T00:00:00.000Z", "9999-12-30T21:59:59.999Z"] {
        assert_eq!(plain_time(text), text.parse().ok(), "{text}");
        assert!(plain_time(text).is_some(), "{text}");
    }
    assert_eq!(odd.map(plain_time), [None; 4]);
    // A leap second is left to the library.
    assert_eq!(plain_time("2026-12-31T23:59:60.000Z"), None);
}

#[test]
fn framing_reads_nearly_all_of_the_corpus_as_full_parsing_does() {
    let (mut framed, mut others) = (0, 0);
    for version in fs::read_dir("../../tests/corpus").unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            for line in fs::read(file.unwrap().path()).unwrap().split(|byte| *byte == b'\n') {
                match Envelope::framing(line) {
                    Some(frame) => {
                        assert_eq!(Some(frame), around(line));
                        framed += 1;
                    }
                    None if around(line).is_some() => others += 1,
                    None => {}
                }
            }
        }
    }
    assert!(framed > 3_000 && others * 50 < framed, "{others} beside {framed}");
}
