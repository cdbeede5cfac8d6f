//! Spans to MLflow's JSON and back.

use super::*;
use crate::tests::trace;
use serde_json::json as value;

fn span() -> Span {
    let object = |value: serde_json::Value| Value::from(value).as_object().cloned().unwrap();
    Span {
        id: SpanId([0, 189, 33, 205, 148, 234, 175, 108]),
        parent: Some(SpanId([1; 8])),
        name: "tool_exec".to_owned(),
        span_type: SpanType::Tool,
        status: SpanStatus::Error { message: "exit code 3".to_owned() },
        started_at: "2026-11-22T09:54:45.097123456Z".parse().unwrap(),
        ended_at: "2026-11-22T09:54:46Z".parse().unwrap(),
        inputs: value!({"command": ["ls", "-l"]}).into(),
        outputs: Value::Null,
        attributes: object(
            value!({"tool_name": "exec", "exit_code": 3, "mlflow.llm.cost": {"total_cost": 0.25}}),
        ),
        events: vec![SpanEvent {
            name: "exception".to_owned(),
            at: "2026-11-22T09:54:46Z".parse().unwrap(),
            attributes: object(value!({"exception.type": "ToolError", "exception.message": "nö"})),
        }],
    }
}

#[test]
fn a_span_has_the_json_that_mlflow_writes() {
    let id = "tr-4605951f9bc51c3fc8d1bf3d92a71fd6".parse().unwrap();
    let trace = Trace { id, ..trace() };
    let expected = [
        r#"{"trace_id": "RgWVH5vFHD/I0b89kqcf1g==", "span_id": "AL0hzZTqr2w=", "#,
        r#""parent_span_id": "AQEBAQEBAQE=", "name": "tool_exec", "#,
        r#""kind": "SPAN_KIND_INTERNAL", "#,
        r#""start_time_unix_nano": 1795341285097123456, "end_time_unix_nano": 1795341286000000000, "#,
        r#""events": [{"name": "exception", "time_unix_nano": 1795341286000000000, "#,
        r#""attributes": {"exception.type": "ToolError", "exception.message": "nö"}}], "#,
        r#""status": {"code": "STATUS_CODE_ERROR", "message": "exit code 3"}, "#,
        r#""attributes": {"tool_name": "\"exec\"", "exit_code": "3", "#,
        r#""mlflow.llm.cost": "{\"total_cost\": 0.25}", "#,
        r#""mlflow.traceRequestId": "\"tr-4605951f9bc51c3fc8d1bf3d92a71fd6\"", "#,
        r#""mlflow.spanType": "\"TOOL\"", "mlflow.spanInputs": "{\"command\": [\"ls\", \"-l\"]}"}, "#,
        r#""links": []}"#,
    ];
    assert_eq!(json(&WireSpan::from_span(&trace, &span())), expected.concat());
}

#[test]
fn a_span_comes_back_whole() {
    let wire = WireSpan::from_span(&trace(), &span());
    let text = json(&wire);
    assert_eq!(serde_json::from_str::<WireSpan>(&text).unwrap().into_span(), Some(span()));
}

#[test]
fn text_that_is_json_stays_as_a_server_keeps_it() {
    let table = [
        ("plain", r#""plain""#),
        ("12", r#""12""#),
        ("true", r#""true""#),
        ("{\"a\": 1.10}", "{\"a\": 1.10}"),
        (" [1]", " [1]"),
        ("\"quoted\"", "\"quoted\""),
        ("{not json", r#""{not json""#),
        ("", r#""""#),
    ];
    for (text, expected) in table {
        assert_eq!(attribute_json(&Value::from(text)), expected, "{text}");
    }
}

#[test]
fn an_id_of_another_length_is_refused() {
    assert_eq!(from_base64("Y29kZXgtdHI="), Some(*b"codex-tr"));
    for text in ["", "Y29kZXgtdHI", "Y29kZXgtdH!=", "Y29kZXgtdHJy"] {
        assert_eq!(from_base64::<8>(text), None, "{text:?}");
    }
}

#[test]
fn a_time_out_of_range_becomes_the_nearest_in_range() {
    assert_eq!(nanoseconds(Timestamp::MAX), i64::MAX);
    assert_eq!(nanoseconds(Timestamp::MIN), i64::MIN);
}

#[test]
fn every_span_comes_back_from_the_file() {
    let trace = crate::tests::trace();
    assert_eq!(spans_in(&traces_json(&trace)), trace.spans);
    for unreadable in ["", "{", "[]", r#"{"spans": {}}"#] {
        assert_eq!(spans_in(unreadable.as_bytes()), [], "{unreadable}");
    }
}
