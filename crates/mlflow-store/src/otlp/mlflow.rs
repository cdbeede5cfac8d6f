//! Attributes for MLflow's servers: MLflow's own, with their types.

use super::value::key_value;
use crate::derived_attributes::derived;
use crate::ids::TraceId;
use crate::mlflow_keys::{SPAN_INPUTS, SPAN_OUTPUTS, SPAN_TRACE_ID, SPAN_TYPE};
use crate::trace::Span;
use common::json::value::Value;
use opentelemetry_proto::tonic::common::v1::KeyValue;

pub(super) fn attributes(trace: TraceId, span: &Span) -> Vec<KeyValue> {
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
    attributes
}
