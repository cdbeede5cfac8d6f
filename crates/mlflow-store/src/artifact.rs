//! The file `traces.json`: all spans of a trace, for targets that keep them as an artifact.

use super::wire::{WireSpan, json};
use crate::trace::Trace;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

/// MLflow's name of the file, in the folder that the trace's artifact location names.
pub const FILE: &str = "traces.json";

/// The file's content, with every span.
pub fn traces_json(trace: &Trace) -> Vec<u8> {
    json(&ArtifactFile { spans: Spans(trace) }).into_bytes()
}

#[derive(Serialize)]
struct ArtifactFile<'a> {
    spans: Spans<'a>,
}

/// Serializes the spans one by one, so that memory holds no third copy of a large trace.
struct Spans<'a>(&'a Trace);

impl Serialize for Spans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Spans(trace) = self;
        let mut list = serializer.serialize_seq(Some(trace.spans.len()))?;
        for span in &trace.spans {
            list.serialize_element(&WireSpan::from_span(trace.id, span))?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SpanId, TraceId};
    use crate::trace::{Span, SpanStatus, SpanType, TraceState};
    use common::json::value::Map;
    use common::json::value::Value;
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    #[test]
    fn every_span_comes_back_from_the_file() {
        let span = |number: u8| Span {
            id: SpanId([number; 8]),
            parent: (number > 1).then_some(SpanId([1; 8])),
            name: format!("span {number}"),
            span_type: SpanType::Agent,
            status: SpanStatus::Ok,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            inputs: serde_json::json!({"prompt": "hi"}).into(),
            outputs: Value::Null,
            attributes: Map::new(),
            events: Vec::new(),
        };
        let trace = Trace {
            id: TraceId([7; 16]),
            name: String::new(),
            state: TraceState::Ok,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            request_preview: None,
            response_preview: None,
            metadata: [].into(),
            tags: [].into(),
            spans: vec![span(1), span(2)],
        };
        let mut file: BTreeMap<String, Vec<WireSpan>> = serde_json::from_slice(&traces_json(&trace)).unwrap();
        let spans = file.remove("spans").unwrap();
        let back: Vec<Span> = spans.into_iter().map(|span| span.into_span().unwrap()).collect();
        assert_eq!((back, file.len()), (trace.spans, 0));
    }
}
