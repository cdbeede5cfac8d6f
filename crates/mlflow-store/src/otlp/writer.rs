//! A trace's spans in OTLP, for MLflow's servers or for a collector.

use super::dialect::Dialect;
use super::value::{flat_key_value, key_value, since_1970};
use super::{gen_ai, mlflow, open_inference};
use crate::trace::{Span, SpanContext, SpanEvent, SpanStatus, Trace};
use crate::wire::flat;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as OtlpSpan, Status};

/// Writes the spans of one trace.
pub(crate) struct TraceWriter<'t> {
    trace: &'t Trace,
    reader: Reader,
}

/// Who reads the spans.
enum Reader {
    Mlflow,
    Collector { dialect: Dialect, resource: Resource },
}

impl<'t> TraceWriter<'t> {
    pub(crate) fn for_mlflow(trace: &'t Trace) -> TraceWriter<'t> {
        TraceWriter { trace, reader: Reader::Mlflow }
    }

    pub(super) fn for_collector(trace: &'t Trace, dialect: Dialect, resource: Resource) -> TraceWriter<'t> {
        TraceWriter { trace, reader: Reader::Collector { dialect, resource } }
    }

    /// None for MLflow, which makes tags of a resource's attributes.
    pub(super) fn resource(&self) -> Option<Resource> {
        match &self.reader {
            Reader::Mlflow => None,
            Reader::Collector { resource, .. } => Some(resource.clone()),
        }
    }

    pub(super) fn span(&self, span: &Span) -> OtlpSpan {
        let (name, attributes) = self.name_and_attributes(span);
        let (code, message) = match &span.status {
            SpanStatus::Unset => (StatusCode::Unset, ""),
            SpanStatus::Ok => (StatusCode::Ok, ""),
            SpanStatus::Error { message } => (StatusCode::Error, message.as_str()),
        };
        let kind = if span.span_type.is_client() { SpanKind::Client } else { SpanKind::Internal };
        // MLflow's traces have the id of their session, so they cannot have a caller's.
        let caller = self.trace.context.caller.as_ref().filter(|_| !self.is_for_mlflow());
        let trace_id = caller.map_or(self.trace.id, |caller| caller.trace);
        let parent = span.parent.or(caller.map(|caller| caller.span));
        let links: Vec<Link> = match self.reader {
            Reader::Mlflow => self.trace.links_of(span).map(link).collect(),
            Reader::Collector { .. } if span.parent.is_none() => {
                self.trace.context.follows.iter().map(link).collect()
            }
            Reader::Collector { .. } => Vec::new(),
        };
        OtlpSpan {
            trace_id: trace_id.0.to_vec(),
            span_id: span.id.0.to_vec(),
            trace_state: caller.map(|caller| caller.state.clone()).unwrap_or_default(),
            parent_span_id: parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
            name,
            kind: kind.into(),
            start_time_unix_nano: since_1970(span.started_at),
            end_time_unix_nano: since_1970(span.ended_at),
            attributes,
            events: span.events.iter().map(event).collect(),
            links,
            status: Some(Status { message: message.to_owned(), code: code.into() }),
            ..Default::default()
        }
    }

    fn is_for_mlflow(&self) -> bool {
        matches!(self.reader, Reader::Mlflow)
    }

    fn name_and_attributes(&self, span: &Span) -> (String, Vec<KeyValue>) {
        let flat = |attributes: common::json::value::Map| {
            attributes.iter().map(|(key, value)| flat_key_value(key, value)).collect()
        };
        match self.reader {
            Reader::Mlflow => (span.name.clone(), mlflow::attributes(self.trace.id, span)),
            Reader::Collector { dialect: Dialect::GenAi, .. } => {
                (gen_ai::span_name(span), flat(gen_ai::attributes(self.trace, span)))
            }
            Reader::Collector { dialect: Dialect::OpenInference, .. } => {
                (gen_ai::span_name(span), flat(open_inference::attributes(self.trace, span)))
            }
        }
    }
}

fn event(event: &SpanEvent) -> Event {
    let attributes = event.attributes.iter().map(|(key, value)| key_value(key, &flat(value)));
    Event {
        time_unix_nano: since_1970(event.at),
        name: event.name.clone(),
        attributes: attributes.collect(),
        ..Default::default()
    }
}

fn link(to: &SpanContext) -> Link {
    Link { trace_id: to.trace.0.to_vec(), span_id: to.span.0.to_vec(), ..Default::default() }
}
