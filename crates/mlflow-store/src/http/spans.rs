//! Sends a trace's spans to a server in batches.

use super::otlp;
use super::refusal::Purpose;
use super::server::ServerApi;
use crate::exporter::ExportError;
use crate::rest::answer;
use crate::trace::{Span, Trace};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};

const EXPERIMENT_HEADER: HeaderName = HeaderName::from_static("x-mlflow-experiment-id");

/// How a server takes spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// As OpenTelemetry's protocol carries them (3.4 and later, over a database).
    Spans,
    /// As a file (3.2, 3.3, and every version over a file store).
    Artifact,
}

/// Sends spans in batches, in this order.
pub(super) fn send(
    server: &ServerApi,
    trace: &Trace,
    experiment: &str,
    spans: &[&Span],
) -> Result<Route, ExportError> {
    let mut left = spans;
    while !left.is_empty() {
        let batch = otlp::first_batch(trace.id, left);
        left = &left[batch.spans.len()..];
        if send_batch(server, trace, experiment, batch)? == Route::Artifact {
            return Ok(Route::Artifact);
        }
    }
    Ok(Route::Spans)
}

/// Sends a batch in halves if it is too large for the server or for a proxy.
fn send_batch(
    server: &ServerApi,
    trace: &Trace,
    experiment: &str,
    batch: otlp::Batch,
) -> Result<Route, ExportError> {
    let headers = [(CONTENT_TYPE, "application/x-protobuf"), (EXPERIMENT_HEADER, experiment)];
    let answer = server.send(Method::POST, &["v1", "traces"], &headers, batch.body)?;
    match answer.status.as_u16() {
        200 if answer::is_page(&answer) => Err(server.refusal(Purpose::Take, &answer)),
        200 => {
            let response = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
            match response.partial_success.filter(|partial| partial.rejected_spans > 0) {
                None => Ok(Route::Spans),
                Some(partial) => Err(ExportError::Trace(format!(
                    "{} does not take {} of its spans",
                    server.address(),
                    partial.rejected_spans
                ))),
            }
        }
        413 if batch.spans.len() > 1 => {
            let (first, second) = batch.spans.split_at(batch.spans.len() / 2);
            send_batch(server, trace, experiment, otlp::one_batch(trace.id, first))?;
            send_batch(server, trace, experiment, otlp::one_batch(trace.id, second))
        }
        // Also the answer for an experiment that was removed after the look.
        404 if answer::error_code(&answer).is_some() => Err(server.refusal(Purpose::Take, &answer)),
        404 | 405 | 415 | 501 => Ok(Route::Artifact),
        _ => Err(server.refusal(Purpose::Take, &answer)),
    }
}
