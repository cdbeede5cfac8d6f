//! A trace's spans in OpenTelemetry's protocol (OTLP): protobuf, in batches.

use crate::derived_attributes::derived;
use crate::ids::TraceId;
use crate::mlflow_keys::{SPAN_INPUTS, SPAN_OUTPUTS, SPAN_TRACE_ID, SPAN_TYPE};
use crate::trace::{Span, SpanEvent, SpanStatus};
use crate::wire::{flat, json, nanoseconds};
use common::json::value::Value;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status};
use prost::Message;

/// A server stores a batch as a whole: large enough for few requests, small enough for an answer within
/// seconds.
pub(super) const MOST_SPANS: usize = 500;
/// Many reverse proxies refuse more than 10 MB.
pub(super) const MOST_BYTES: usize = 8 << 20;

/// The spans of one request, and its body.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) spans: &'a [&'a Span],
    pub(super) body: Vec<u8>,
}

/// The first batch of these spans: as many as fit, at least one.
pub(super) fn first_batch<'a>(trace: TraceId, spans: &'a [&'a Span]) -> Batch<'a> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for span in spans.iter().take(MOST_SPANS) {
        let span = otlp_span(trace, span);
        bytes += span.encoded_len();
        if bytes > MOST_BYTES && !taken.is_empty() {
            break;
        }
        taken.push(span);
    }
    Batch { spans: &spans[..taken.len()], body: request(taken) }
}

/// All of these spans in one request.
pub(super) fn one_batch<'a>(trace: TraceId, spans: &'a [&'a Span]) -> Batch<'a> {
    Batch { spans, body: request(spans.iter().map(|span| otlp_span(trace, span)).collect()) }
}

/// No resource: MLflow makes tags of its attributes.
fn request(spans: Vec<OtlpSpan>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn otlp_span(trace: TraceId, span: &Span) -> OtlpSpan {
    let mut attributes: Vec<KeyValue> =
        span.attributes.iter().map(|(key, value)| key_value(key, value)).collect();
    attributes.extend(derived(span).iter().map(|(key, value)| key_value(key, value)));
    // MLflow's databases keep null inputs as the word "null", so they are left out, as in an artifact.
    for (key, value) in [(SPAN_INPUTS, &span.inputs), (SPAN_OUTPUTS, &span.outputs)] {
        if !value.is_null() {
            attributes.push(key_value(key, value));
        }
    }
    attributes.push(key_value(SPAN_TRACE_ID, &trace.to_string().into()));
    attributes.push(key_value(SPAN_TYPE, &Value::from(span.span_type.as_str())));
    let (code, message) = match &span.status {
        SpanStatus::Unset => (StatusCode::Unset, ""),
        SpanStatus::Ok => (StatusCode::Ok, ""),
        SpanStatus::Error { message } => (StatusCode::Error, message.as_str()),
    };
    let kind = if span.span_type.is_client() { SpanKind::Client } else { SpanKind::Internal };
    OtlpSpan {
        trace_id: trace.0.to_vec(),
        span_id: span.id.0.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: since_1970(span.started_at),
        end_time_unix_nano: since_1970(span.ended_at),
        attributes,
        events: span.events.iter().map(otlp_event).collect(),
        status: Some(Status { message: message.to_owned(), code: code.into() }),
        ..Default::default()
    }
}

fn otlp_event(event: &SpanEvent) -> Event {
    let attributes = event.attributes.iter().map(|(key, value)| key_value(key, &flat(value)));
    Event {
        time_unix_nano: since_1970(event.at),
        name: event.name.clone(),
        attributes: attributes.collect(),
        ..Default::default()
    }
}

/// OTLP has no time before 1970.
fn since_1970(at: Timestamp) -> u64 {
    u64::try_from(nanoseconds(at)).unwrap_or(0)
}

fn key_value(key: &str, value: &Value) -> KeyValue {
    key_value_at(0, key, value)
}

fn key_value_at(depth: usize, key: &str, value: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any_value(value, depth)), ..Default::default() }
}

/// Levels of nesting that are sent as such. A server's protobuf reader refuses 100 nested messages, and each
/// level of objects takes three.
const DEEPEST: usize = 24;

/// Typed, because MLflow 3.6 does not parse JSON that is sent as text. Only levels below `DEEPEST` are sent
/// as text.
fn any_value(value: &Value, depth: usize) -> AnyValue {
    let any = match value {
        Value::Null => None,
        Value::Bool(value) => Some(Any::BoolValue(*value)),
        Value::String(text) => Some(Any::StringValue(text.to_string())),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::IntValue(whole),
            (None, Some(real)) if !number.is_u64() => Any::DoubleValue(real),
            // The protocol's integers are signed; a double would lose digits.
            _ => Any::StringValue(number.to_string()),
        }),
        Value::Array(_) | Value::Object(_) if depth == DEEPEST => Some(Any::StringValue(json(value))),
        Value::Array(values) => {
            let values = values.iter().map(|value| any_value(value, depth + 1)).collect();
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        Value::Object(values) => {
            let values = values.iter().map(|(key, value)| key_value_at(depth + 1, key, value)).collect();
            Some(Any::KvlistValue(KeyValueList { values }))
        }
    };
    AnyValue { value: any }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SpanId;
    use crate::trace::SpanType;
    use common::json::value::Map;
    use serde_json::json;

    fn span(id: u8, bytes: usize) -> Span {
        Span {
            id: SpanId([id; 8]),
            parent: (id > 1).then_some(SpanId([1; 8])),
            name: "tool_exec".to_owned(),
            span_type: SpanType::Tool,
            status: SpanStatus::Error { message: "exit code 3".to_owned() },
            started_at: "2026-11-22T09:54:45.097123456Z".parse().unwrap(),
            ended_at: "1969-01-01T00:00:00Z".parse().unwrap(),
            inputs: json!({"text": "x".repeat(bytes)}).into(),
            outputs: Value::Null,
            attributes: Map::new(),
            events: Vec::new(),
        }
    }

    #[test]
    fn values_keep_their_types() {
        let table = [
            (json!(null), None),
            (json!(true), Some(Any::BoolValue(true))),
            (json!("a"), Some(Any::StringValue("a".into()))),
            (json!(-3), Some(Any::IntValue(-3))),
            (json!(0.25), Some(Any::DoubleValue(0.25))),
            (json!(1.0), Some(Any::DoubleValue(1.0))),
            (json!(u64::MAX), Some(Any::StringValue("18446744073709551615".into()))),
        ];
        for (value, any) in table {
            assert_eq!(any_value(&value.clone().into(), 0).value, any, "{value}");
        }
        let nested = any_value(&json!({"list": [1, null]}).into(), 0);
        let list = ArrayValue { values: vec![any_value(&1_u64.into(), 2), AnyValue { value: None }] };
        let entry = KeyValue {
            key: "list".into(),
            value: Some(AnyValue { value: Some(Any::ArrayValue(list)) }),
            ..Default::default()
        };
        assert_eq!(nested.value, Some(Any::KvlistValue(KeyValueList { values: vec![entry] })));
    }

    #[test]
    fn a_value_below_the_deepest_level_becomes_text() {
        let mut deep = json!("core");
        for _ in 0..200 {
            deep = json!({"a": deep});
        }
        let mut span = span(1, 0);
        span.inputs = deep.into();
        let spans = [&span];
        // prost reads no deeper than 100 messages, as MLflow's reader does.
        assert!(
            ExportTraceServiceRequest::decode(one_batch(TraceId([7; 16]), &spans).body.as_slice()).is_ok()
        );
        let mut at = any_value(&span.inputs, 0);
        let mut levels = 0;
        while let Some(Any::KvlistValue(mut list)) = at.value {
            levels += 1;
            at = list.values.remove(0).value.unwrap();
        }
        let text = matches!(&at.value, Some(Any::StringValue(text)) if text.starts_with("{\"a\": {"));
        assert!(levels == DEEPEST && text, "{levels} {at:?}");
    }

    #[test]
    fn a_span_has_the_protocols_fields() {
        let sent = otlp_span(TraceId([7; 16]), &span(2, 0));
        assert_eq!((sent.trace_id, sent.span_id, sent.parent_span_id), (vec![7; 16], vec![2; 8], vec![1; 8]));
        assert_eq!((sent.start_time_unix_nano, sent.end_time_unix_nano), (1_795_341_285_097_123_456, 0));
        assert_eq!(sent.status, Some(Status { message: "exit code 3".into(), code: 2 }));
        let keys: Vec<&str> = sent.attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, [SPAN_INPUTS, SPAN_TRACE_ID, SPAN_TYPE]);
        assert!(otlp_span(TraceId([7; 16]), &span(1, 0)).parent_span_id.is_empty(), "a root has no parent");
    }

    #[test]
    fn a_batch_ends_where_either_measure_is_full() {
        let counts = |spans: &[Span]| {
            let mut left: &[&Span] = &spans.iter().collect::<Vec<_>>();
            let mut counts = Vec::new();
            while !left.is_empty() {
                let batch = first_batch(TraceId([7; 16]), left);
                let read = ExportTraceServiceRequest::decode(batch.body.as_slice()).unwrap();
                assert_eq!(read.resource_spans[0].scope_spans[0].spans.len(), batch.spans.len());
                counts.push(batch.spans.len());
                left = &left[batch.spans.len()..];
            }
            counts
        };
        let many: Vec<Span> = (0..1001).map(|_| span(2, 0)).collect();
        assert_eq!(counts(&many), [500, 500, 1]);
        let large = [span(1, MOST_BYTES / 2), span(2, MOST_BYTES / 3), span(3, MOST_BYTES / 2), span(4, 9)];
        assert_eq!(counts(&large), [2, 2]);
        assert_eq!(counts(&[span(1, MOST_BYTES + 1), span(2, 0)]), [1, 1]);
        assert_eq!(counts(&[]), [0; 0]);
    }
}
