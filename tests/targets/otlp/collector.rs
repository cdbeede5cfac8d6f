//! A receiver of OTLP over HTTP. It holds each request against the specification (1.9), and keeps the spans.

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::sync::{Arc, Mutex};
use support::{Answered, Asked, WebServer};

const LOCKED: &str = "no thread has panicked with the lock";

/// Runs until it is dropped.
pub(super) struct Collector {
    server: WebServer,
    /// Answers to the next requests; then success.
    answers: Arc<Mutex<VecDeque<Answered>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A span, and the resource that it came with.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) span: Span,
    pub(super) attributes: BTreeMap<String, Value>,
    pub(super) resource: BTreeMap<String, Value>,
}

impl Collector {
    pub(super) fn start() -> Collector {
        let answers = Arc::<Mutex<VecDeque<Answered>>>::default();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let (scripted, kept) = (Arc::clone(&answers), Arc::clone(&received));
        let server = WebServer::start(|_| {
            move |asked: &Asked| match scripted.lock().expect(LOCKED).pop_front() {
                Some(answer) => answer,
                None => {
                    kept.lock().expect(LOCKED).extend(read(asked));
                    (200, ExportTraceServiceResponse::default().encode_to_vec())
                }
            }
        });
        Collector { server, answers, received }
    }

    /// As `MLFLOW_TRACKING_URI` names it.
    pub(super) fn uri(&self) -> String {
        format!("otlp+{}", self.server.url())
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// The next request that has no answer yet gets this one, and its spans are not kept.
    pub(super) fn answer(&self, status: u16, body: Vec<u8>) {
        self.answers.lock().expect(LOCKED).push_back((status, body));
    }

    /// As `answer`: some spans are rejected.
    pub(super) fn reject(&self, spans: i64, reason: &str) {
        let partial = ExportTracePartialSuccess { rejected_spans: spans, error_message: reason.to_owned() };
        self.answer(200, ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec());
    }

    pub(super) fn requests(&self) -> Vec<Asked> {
        self.server.asked()
    }

    /// In the order in which they came.
    pub(super) fn spans(&self) -> Vec<Received> {
        self.received.lock().expect(LOCKED).clone()
    }

    /// The spans of each trace; no span came twice.
    pub(super) fn traces(&self) -> BTreeMap<String, Vec<Received>> {
        let mut traces = BTreeMap::<String, Vec<Received>>::new();
        for received in self.spans() {
            let of_trace = traces.entry(hex(&received.span.trace_id)).or_default();
            assert!(
                of_trace.iter().all(|one| one.id() != received.id()),
                "{} came twice",
                received.span.name
            );
            of_trace.push(received);
        }
        traces
    }

    /// How many spans came, and how many of them are not the same.
    pub(super) fn counts(&self) -> (usize, usize) {
        let ids = self.spans().into_iter().map(|received| (received.span.trace_id, received.span.span_id));
        let ids: Vec<_> = ids.collect();
        (ids.len(), ids.iter().collect::<BTreeSet<_>>().len())
    }
}

impl Received {
    pub(super) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(super) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(super) fn kind(&self) -> SpanKind {
        SpanKind::try_from(self.span.kind).expect("a kind of the protocol")
    }
}

/// The root, and below each span its children by name, as text with two spaces for each level.
pub(super) fn tree(spans: &[Received]) -> String {
    let mut text = String::new();
    let roots: Vec<&Received> =
        spans.iter().filter(|one| !spans.iter().any(|other| other.id() == one.parent())).collect();
    assert_eq!(roots.len(), 1, "one root");
    let mut left = vec![(roots[0], 0)];
    while let Some((span, depth)) = left.pop() {
        text += &format!("{}{} {:?}\n", "  ".repeat(depth), span.span.name, span.kind());
        let mut children: Vec<&Received> = spans.iter().filter(|one| one.parent() == span.id()).collect();
        children.sort_by_key(|child| std::cmp::Reverse(child.span.start_time_unix_nano));
        left.extend(children.into_iter().map(|child| (child, depth + 1)));
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spans of a request.
pub(super) fn read(asked: &Asked) -> Vec<Received> {
    let header = |name: &str| asked.headers.get(name).map(String::as_str);
    assert_eq!(asked.method, "POST");
    assert_eq!(header("content-type"), Some("application/x-protobuf"));
    let mut body = asked.body.clone();
    if let Some(encoding) = header("content-encoding") {
        assert_eq!(encoding, "gzip");
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        body = plain;
    }
    let request = ExportTraceServiceRequest::decode(&*body).expect("a request of the protocol");
    let mut received = Vec::new();
    for of_resource in request.resource_spans {
        let resource = object(of_resource.resource.expect("a resource").attributes);
        assert!(resource["service.name"].is_string(), "{resource:?}");
        for of_scope in of_resource.scope_spans {
            assert_eq!(of_scope.scope.expect("a scope").name, "codex-traced");
            for span in of_scope.spans {
                check(&span);
                let attributes = object(span.attributes.clone());
                received.push(Received { span, attributes, resource: resource.clone() });
            }
        }
    }
    received
}

/// What the specification demands of a span.
fn check(span: &Span) {
    let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
    assert!(is_id(&span.trace_id, 16) && is_id(&span.span_id, 8), "{span:?}");
    assert!(span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8), "{span:?}");
    assert!(!span.name.is_empty() && span.kind != SpanKind::Unspecified as i32, "{span:?}");
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    assert!(0 < start && start <= end, "{span:?}");
    for link in &span.links {
        assert!(is_id(&link.trace_id, 16) && is_id(&link.span_id, 8), "{link:?}");
    }
    assert!(span.status.as_ref().is_some_and(|status| (0..=2).contains(&status.code)), "{span:?}");
    for event in &span.events {
        assert!(!event.name.is_empty() && event.time_unix_nano > 0, "{event:?}");
    }
}

/// No key is empty or comes twice.
fn object(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let mut object = BTreeMap::new();
    for KeyValue { key, value, .. } in pairs {
        assert!(!key.is_empty());
        let value = value.map_or(Value::Null, json_of);
        assert_eq!(object.insert(key.clone(), value), None, "{key} comes twice");
    }
    object
}

fn json_of(value: AnyValue) -> Value {
    match value.value {
        None => Value::Null,
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(value)) => value.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(json_of).collect(),
        Some(Any::KvlistValue(list)) => {
            let fields: Map<String, Value> = list
                .values
                .into_iter()
                .map(|pair| (pair.key, pair.value.map_or(Value::Null, json_of)))
                .collect();
            fields.into()
        }
        Some(other) => json!(format!("{other:?}")),
    }
}
