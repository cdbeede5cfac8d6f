//! A span in MLflow's JSON format, the same in `spans.content` and in `traces.json`.

use super::derived::derived;
use super::keys::{SPAN_INPUTS, SPAN_OUTPUTS, SPAN_TRACE_ID, SPAN_TYPE};
use crate::ids::{SpanId, TraceId};
use crate::trace::{Span, SpanEvent, SpanStatus, SpanType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::json::text::Text;
use common::json::value::Map;
use common::json::value::Value;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Schema 3 of MLflow. Ids are base64 of the raw bytes; attribute values are JSON inside a string.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct WireSpan {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    /// OpenTelemetry's span kind. Read by MLflow 3.18 and later; earlier ones ignore it.
    #[serde(default)]
    kind: Option<String>,
    start_time_unix_nano: i64,
    end_time_unix_nano: Option<i64>,
    #[serde(default)]
    events: Vec<WireEvent>,
    status: WireStatus,
    #[serde(default)]
    attributes: Map,
    #[serde(default)]
    links: Vec<Value>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WireEvent {
    name: String,
    time_unix_nano: i64,
    #[serde(default)]
    attributes: Map,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WireStatus {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// MLflow's short name of a status, for the column; the span's JSON has the long names.
pub fn status_name(status: &SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "UNSET",
        SpanStatus::Ok => "OK",
        SpanStatus::Error { .. } => "ERROR",
    }
}

/// An attribute's value as JSON. Text that is itself JSON of a text, a list or an object stays as it is:
/// MLflow's own clients send it in that form, and servers since 3.8 keep it.
fn attribute_json(value: &Value) -> String {
    match value {
        Value::String(text) if is_json_of_more(text) => text.to_string(),
        value => json(value),
    }
}

fn is_json_of_more(text: &str) -> bool {
    // Cheap test first: most text does not begin as JSON.
    text.trim_ascii_start().starts_with(['"', '[', '{']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Nanoseconds since 1970; a time outside the years 1677 to 2262 becomes the nearest inside.
pub fn nanoseconds(at: Timestamp) -> i64 {
    let exact = at.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("64 bits of nanoseconds are within jiff's range")
}

/// JSON with the spaces of Python's `json.dumps`: MLflow's search for span attributes matches that text.
pub fn json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing))
        .expect("values with text keys always serialize");
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

impl WireSpan {
    pub fn from_span(trace: TraceId, span: &Span) -> WireSpan {
        let mut attributes = Map::new();
        let mut put = |key: Text, value: &Value| attributes.insert(key, attribute_json(value).into());
        for (key, value) in span.attributes.iter() {
            put(key.clone(), value);
        }
        for (key, value) in &derived(span) {
            put(Text::word(key), value);
        }
        // Mandatory: MLflow refuses to read a span without it.
        put(Text::word(SPAN_TRACE_ID), &trace.to_string().into());
        put(Text::word(SPAN_TYPE), &Value::from(span.span_type.as_str()));
        for (key, value) in [(SPAN_INPUTS, &span.inputs), (SPAN_OUTPUTS, &span.outputs)] {
            if !value.is_null() {
                put(Text::word(key), value);
            }
        }
        let (code, message) = match &span.status {
            SpanStatus::Unset => ("STATUS_CODE_UNSET", ""),
            SpanStatus::Ok => ("STATUS_CODE_OK", ""),
            SpanStatus::Error { message } => ("STATUS_CODE_ERROR", message.as_str()),
        };
        let kind = if span.span_type.is_client() { "SPAN_KIND_CLIENT" } else { "SPAN_KIND_INTERNAL" };
        WireSpan {
            trace_id: STANDARD.encode(trace.0),
            span_id: STANDARD.encode(span.id.0),
            parent_span_id: span.parent.map(|parent| STANDARD.encode(parent.0)),
            name: span.name.clone(),
            kind: Some(kind.to_owned()),
            start_time_unix_nano: nanoseconds(span.started_at),
            end_time_unix_nano: Some(nanoseconds(span.ended_at)),
            events: span.events.iter().map(WireEvent::from_event).collect(),
            status: WireStatus { code: code.to_owned(), message: Some(message.to_owned()) },
            attributes,
            links: Vec::new(),
        }
    }

    /// Converts back to a span. None if an id does not have the expected length; other unknown values,
    /// written by MLflow or another program, become the nearest known ones.
    pub fn into_span(self) -> Option<Span> {
        let mut attributes: Map =
            self.attributes.into_iter().map(|(key, value)| (key, unwrapped(value))).collect();
        attributes.remove(SPAN_TRACE_ID);
        let span_type = match attributes.remove(SPAN_TYPE).as_ref().and_then(Value::as_str) {
            Some("AGENT") => SpanType::Agent,
            Some("LLM" | "CHAT_MODEL") => SpanType::Llm,
            Some("TOOL") => SpanType::Tool,
            _ => SpanType::Chain,
        };
        let message = self.status.message.unwrap_or_default();
        Some(Span {
            id: SpanId(from_base64(&self.span_id)?),
            parent: match self.parent_span_id.as_deref() {
                None | Some("") => None,
                Some(parent) => Some(SpanId(from_base64(parent)?)),
            },
            name: self.name,
            span_type,
            // Between 3.5.0 and 3.5.1, MLflow wrote the short names here.
            status: match self.status.code.as_str() {
                "STATUS_CODE_OK" | "OK" => SpanStatus::Ok,
                "STATUS_CODE_ERROR" | "ERROR" => SpanStatus::Error { message },
                _ => SpanStatus::Unset,
            },
            started_at: timestamp(self.start_time_unix_nano),
            ended_at: timestamp(self.end_time_unix_nano.unwrap_or(self.start_time_unix_nano)),
            inputs: attributes.remove(SPAN_INPUTS).unwrap_or_default(),
            outputs: attributes.remove(SPAN_OUTPUTS).unwrap_or_default(),
            attributes,
            events: self.events.into_iter().map(WireEvent::into_event).collect(),
        })
    }
}

impl WireEvent {
    fn from_event(event: &SpanEvent) -> WireEvent {
        // MLflow reads events through OpenTelemetry, which has no nested values in them.
        let flat = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) | Value::Null => json(value).into(),
            scalar => scalar.clone(),
        };
        let attributes = event.attributes.iter().map(|(key, value)| (key.clone(), flat(value)));
        WireEvent {
            name: event.name.clone(),
            time_unix_nano: nanoseconds(event.at),
            attributes: attributes.collect(),
        }
    }

    fn into_event(self) -> SpanEvent {
        SpanEvent { name: self.name, at: timestamp(self.time_unix_nano), attributes: self.attributes }
    }
}

/// Parses the JSON inside a string; other text stays text.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

/// Exactly `N` bytes.
fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let trace = "tr-4605951f9bc51c3fc8d1bf3d92a71fd6".parse().unwrap();
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
        assert_eq!(json(&WireSpan::from_span(trace, &span())), expected.concat());
    }

    #[test]
    fn a_span_comes_back_whole() {
        let wire = WireSpan::from_span(TraceId([7; 16]), &span());
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
}
