//! A trace's spans on a server: sent in batches, and their cost where only the server knows it.

use super::server::ServerApi;
use crate::exporter::{ExportError, Result};
use crate::ids::TraceId;
use crate::mlflow_keys;
use crate::otlp::batch::{Batch, first_batch, one_batch};
use crate::otlp::writer::TraceWriter;
use crate::rest::answer;
use crate::rest::api::{ApiRequest, Rest, Subject};
use crate::trace::{Span, Trace};
use crate::wire::json;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Map, Value};

const EXPERIMENT_HEADER: HeaderName = HeaderName::from_static("x-mlflow-experiment-id");

/// Where a server keeps spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// In its database, as OpenTelemetry's protocol carries them (3.4 and later).
    Spans,
    /// As a file (3.2, 3.3, and every version over a file store).
    Artifact,
}

/// Sends spans in batches, in this order.
pub(super) fn send(server: &ServerApi, trace: &Trace, experiment: &str, spans: &[&Span]) -> Result<Route> {
    let writer = TraceWriter::for_mlflow(trace);
    let mut left = spans;
    while !left.is_empty() {
        let batch = first_batch(&writer, left);
        left = &left[batch.spans.len()..];
        if send_batch(server, &writer, experiment, batch)? == Route::Artifact {
            return Ok(Route::Artifact);
        }
    }
    Ok(Route::Spans)
}

/// Sends a batch in halves if it is too large for the server or for a proxy.
fn send_batch(server: &ServerApi, writer: &TraceWriter, experiment: &str, batch: Batch) -> Result<Route> {
    let headers = [(CONTENT_TYPE, "application/x-protobuf"), (EXPERIMENT_HEADER, experiment)];
    let answer = server.send(Method::POST, &["v1", "traces"], &headers, batch.body)?;
    match answer.status.as_u16() {
        200 if answer::is_page(&answer) => Err(server.refused(Subject::TraceInfo, &answer)),
        200 => {
            let response = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
            match response.partial_success.filter(|partial| partial.rejected_spans > 0) {
                None => Ok(Route::Spans),
                Some(partial) => Err(ExportError::Trace(format!(
                    "{} does not take {} of its spans",
                    server.address, partial.rejected_spans
                ))),
            }
        }
        413 if batch.spans.len() > 1 => {
            let (first, second) = batch.spans.split_at(batch.spans.len() / 2);
            send_batch(server, writer, experiment, one_batch(writer, first))?;
            send_batch(server, writer, experiment, one_batch(writer, second))
        }
        // Also the answer for an experiment that was removed after the look.
        404 if answer::error_code(&answer).is_some() => Err(server.refused(Subject::TraceInfo, &answer)),
        404 | 405 | 415 | 501 => Ok(Route::Artifact),
        _ => Err(server.refused(Subject::TraceInfo, &answer)),
    }
}

/// The sum over the spans that the server has, as the value of the trace's own cost. None if no span has a
/// cost, if the spans are too many to read back, or if the first try fails: the trace must not wait for its
/// cost.
pub(super) fn stored_cost(server: &ServerApi, trace: TraceId) -> Result<Option<String>> {
    let path = ["ajax-api", "2.0", "mlflow", "get-trace-artifact"];
    let query = [("request_id", &*trace.to_string())];
    let answer = server.get_once(&ApiRequest::get(&path, &query))?;
    Ok(answer.and_then(|answer| sum(&answer.json()["spans"])))
}

fn sum(spans: &Value) -> Option<String> {
    let costs: Vec<Value> = spans.as_array()?.iter().filter_map(cost_of).collect();
    let total = |key: &&str| costs.iter().filter_map(|cost| cost[*key].as_f64()).reduce(|a, b| a + b);
    let totals: Map<String, Value> = mlflow_keys::COST_KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), total(key)?.into())))
        .collect();
    (!totals.is_empty()).then(|| json(&totals))
}

/// A span's attributes are JSON inside a string.
fn cost_of(span: &Value) -> Option<Value> {
    match &span["attributes"][mlflow_keys::SPAN_COST] {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => None,
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn costs_are_added_up_and_no_cost_is_none() {
        let priced = |cost: &str| value!({"attributes": {"mlflow.llm.cost": cost}});
        let spans = value!([
            priced(r#"{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}"#),
            value!({"attributes": {}}),
            priced("no json"),
            value!({"attributes": {"mlflow.llm.cost": {"total_cost": 1.0}}}),
        ]);
        let expected = r#"{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 1.75}"#;
        assert_eq!(sum(&spans).as_deref(), Some(expected));
        for none in [value!([]), value!([{"attributes": {}}]), Value::Null, value!("x")] {
            assert_eq!(sum(&none), None, "{none}");
        }
    }
}
