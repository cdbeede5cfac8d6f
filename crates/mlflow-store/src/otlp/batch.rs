//! The requests that carry a trace's spans: protobuf, in batches.

use super::writer::TraceWriter;
use crate::trace::Span;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan};
use prost::Message;

/// A server stores a batch as a whole: large enough for few requests, small enough for an answer within
/// seconds.
const MOST_SPANS: usize = 500;
/// Many reverse proxies refuse more than 10 MB.
const MOST_BYTES: usize = 8 << 20;

/// The spans of one request, and its body.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) spans: &'a [&'a Span],
    pub(crate) body: Vec<u8>,
}

/// The first batch of these spans: as many as fit, at least one.
pub(crate) fn first_batch<'a>(writer: &TraceWriter, spans: &'a [&'a Span]) -> Batch<'a> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for span in spans.iter().take(MOST_SPANS) {
        let span = writer.span(span);
        bytes += span.encoded_len();
        if bytes > MOST_BYTES && !taken.is_empty() {
            break;
        }
        taken.push(span);
    }
    Batch { spans: &spans[..taken.len()], body: request(writer, taken) }
}

/// All of these spans in one request.
pub(crate) fn one_batch<'a>(writer: &TraceWriter, spans: &'a [&'a Span]) -> Batch<'a> {
    Batch { spans, body: request(writer, spans.iter().map(|span| writer.span(span)).collect()) }
}

pub(super) fn without_spans() -> Vec<u8> {
    ExportTraceServiceRequest::default().encode_to_vec()
}

fn request(writer: &TraceWriter, spans: Vec<OtlpSpan>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "codex-traced".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: writer.resource(), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SpanId;
    use crate::tests::trace;
    use serde_json::json;

    #[test]
    fn a_batch_ends_where_either_measure_is_full() {
        let trace = trace();
        let any = &trace.spans[2];
        let span = |id: u8, bytes: usize| Span {
            id: SpanId([id; 8]),
            inputs: json!({"text": "x".repeat(bytes)}).into(),
            ..any.clone()
        };
        let writer = TraceWriter::for_mlflow(&trace);
        let counts = |spans: &[Span]| {
            let mut left: &[&Span] = &spans.iter().collect::<Vec<_>>();
            let mut counts = Vec::new();
            while !left.is_empty() {
                let batch = first_batch(&writer, left);
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
