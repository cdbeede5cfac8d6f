//! A span in MLflow's JSON format, the same in `spans.content` and in the file `traces.json`.

use crate::derived_attributes::derived;
use crate::ids::SpanId;
use crate::mlflow_keys::{SPAN_INPUTS, SPAN_OUTPUTS, SPAN_TRACE_ID, SPAN_TYPE};
use crate::trace::{Span, SpanContext, SpanEvent, SpanStatus, SpanType, Trace};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::ser::Formatter;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Schema 3 of MLflow. Ids are base64 of the raw bytes; attribute values are JSON inside a string.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WireSpan {
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
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    let exact = at.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("64 bits of nanoseconds are within jiff's range")
}

/// JSON with the spaces of Python's `json.dumps`: MLflow's search for span attributes matches that text.
pub(crate) fn json(value: &impl Serialize) -> String {
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
    pub(crate) fn from_span(trace: &Trace, span: &Span) -> WireSpan {
        let mut attributes = Map::new();
        let mut put = |key: Text, value: &Value| attributes.insert(key, attribute_json(value).into());
        for (key, value) in span.attributes.iter() {
            put(key.clone(), value);
        }
        for (key, value) in &derived(span) {
            put(Text::word(key), value);
        }
        // Mandatory: MLflow refuses to read a span without it.
        put(Text::word(SPAN_TRACE_ID), &trace.id.to_string().into());
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
            trace_id: STANDARD.encode(trace.id.0),
            span_id: STANDARD.encode(span.id.0),
            parent_span_id: span.parent.map(|parent| STANDARD.encode(parent.0)),
            name: span.name.clone(),
            kind: Some(kind.to_owned()),
            start_time_unix_nano: nanoseconds(span.started_at),
            end_time_unix_nano: Some(nanoseconds(span.ended_at)),
            events: span.events.iter().map(WireEvent::from_event).collect(),
            status: WireStatus { code: code.to_owned(), message: Some(message.to_owned()) },
            attributes,
            links: trace.links_of(span).map(link).collect(),
        }
    }

    /// Converts back to a span. None if an id does not have the expected length; other unknown values,
    /// written by MLflow or another program, become the nearest known ones.
    pub(crate) fn into_span(self) -> Option<Span> {
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

/// An event's value. MLflow reads events through OpenTelemetry, which has no nested values in them.
pub(crate) fn flat(value: &Value) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) | Value::Null => json(value).into(),
        scalar => scalar.clone(),
    }
}

/// Parses the JSON inside a string; other text stays text.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

/// As MLflow 3.18 has it; earlier ones ignore it.
fn link(to: &SpanContext) -> Value {
    [
        ("trace_id", to.trace.to_string().into()),
        ("span_id", to.span.to_string().into()),
        ("attributes", Value::Null),
    ]
    .into()
}

/// Exactly `N` bytes.
fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// MLflow's name of the file with all spans of a trace, in the folder that the trace's artifact location names.
pub(crate) const ARTIFACT: &str = "traces.json";

/// The file's content, with every span.
pub(crate) fn traces_json(trace: &Trace) -> Vec<u8> {
    json(&BTreeMap::from([("spans", ArtifactSpans(trace))])).into_bytes()
}

/// Serializes the spans one by one, so that memory holds no third copy of a large trace.
struct ArtifactSpans<'a>(&'a Trace);

impl Serialize for ArtifactSpans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ArtifactSpans(trace) = self;
        serializer.collect_seq(trace.spans.iter().map(|span| WireSpan::from_span(trace, span)))
    }
}

/// The spans in such a file. Skips spans with malformed ids, and all spans of an unreadable file.
pub(crate) fn spans_in(file: &[u8]) -> Vec<Span> {
    #[derive(Default, Deserialize)]
    struct Artifact {
        spans: Vec<WireSpan>,
    }
    let artifact: Artifact = serde_json::from_slice(file).unwrap_or_default();
    artifact.spans.into_iter().filter_map(WireSpan::into_span).collect()
}

#[cfg(test)]
mod tests;
