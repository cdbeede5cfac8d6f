//! The attributes that an MLflow server derives from OpenTelemetry's when it stores a span.
//!
//! Servers differ: 3.6 adds only the tokens, 3.10 also the model and the provider, 3.14 also the cached
//! tokens. The exporters add what the newest server adds, so that all targets hold the same rows.

use crate::mlflow_keys;
use crate::trace::Span;
use common::json::text::Text;
use common::json::value::Value;

const INPUT: &str = "gen_ai.usage.input_tokens";
const OUTPUT: &str = "gen_ai.usage.output_tokens";
const CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
/// OpenTelemetry's current name, and the earlier one.
const CACHE_WRITE: [&str; 2] =
    ["gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"];
const MODELS: [&str; 2] = ["gen_ai.response.model", "gen_ai.request.model"];
const PROVIDER: &str = "gen_ai.provider.name";

/// The derived attributes that the span lacks, as `translate_span_when_storing` of MLflow 3.18 adds them.
pub(crate) fn derived(span: &Span) -> Vec<(&'static str, Value)> {
    [
        (mlflow_keys::SPAN_TOKEN_USAGE, token_usage as fn(&Span) -> Option<Value>),
        (mlflow_keys::SPAN_MODEL, model),
        (mlflow_keys::SPAN_PROVIDER, provider),
    ]
    .into_iter()
    .filter(|(key, _)| !span.attributes.contains_key(key))
    .filter_map(|(key, derive)| Some((key, derive(span)?)))
    .collect()
}

/// The value of one of these attributes: the span's own, or else the derived one.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<Value> {
    let own = span.attributes.get(key).cloned();
    own.or_else(|| derived(span).into_iter().find(|(name, _)| *name == key).map(|(_, value)| value))
}

fn token_usage(span: &Span) -> Option<Value> {
    let count = |key: &str| span.attributes.get(key).and_then(Value::as_u64);
    let (input, output) = (count(INPUT), count(OUTPUT));
    let counts = [
        input,
        output,
        input.zip(output).map(|(input, output)| input.saturating_add(output)),
        count(CACHE_READ),
        CACHE_WRITE.into_iter().find_map(count),
    ];
    // Cached tokens are part of the input: without input or output they are not reported.
    input.or(output)?;
    let known = mlflow_keys::TOKEN_KEYS.into_iter().zip(counts);
    Some(Value::Object(known.filter_map(|(key, count)| Some((Text::word(key), count?.into()))).collect()))
}

/// From the attributes, else from inputs or outputs: the arguments of a tool may name a model.
fn model(span: &Span) -> Option<Value> {
    let said = |value: Option<&Value>| value.filter(|value| is_true(value)).cloned();
    let attribute = MODELS.into_iter().find_map(|key| said(span.attributes.get(key)));
    let field = || [&span.inputs, &span.outputs].into_iter().find_map(|value| said(value.get("model")));
    attribute.or_else(field).filter(|value| value.as_str().is_some())
}

fn provider(span: &Span) -> Option<Value> {
    span.attributes.get(PROVIDER).filter(|value| is_true(value)).cloned()
}

/// Python's truth value, as MLflow tests these attributes.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.as_str().is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::trace;
    use serde_json::json;

    fn span(attributes: serde_json::Value, inputs: serde_json::Value) -> Span {
        let mut span = trace().spans.remove(0);
        span.attributes = Value::from(attributes).as_object().cloned().unwrap();
        span.inputs = inputs.into();
        span
    }

    #[test]
    fn a_span_gets_the_attributes_that_the_newest_server_adds() {
        let usage = json!({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 0});
        let cached = json!({
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 50,
            "gen_ai.usage.cache_creation.input_tokens": 7,
        });
        let table = [
            (json!({}), json!(null), json!({})),
            (
                usage,
                json!(null),
                json!({"mlflow.chat.tokenUsage": {"input_tokens": 100, "output_tokens": 0, "total_tokens": 100}}),
            ),
            (
                cached,
                json!(null),
                json!({"mlflow.chat.tokenUsage": {
                    "input_tokens": 100,
                    "output_tokens": 20,
                    "total_tokens": 120,
                    "cache_read_input_tokens": 50,
                    "cache_creation_input_tokens": 7,
                }}),
            ),
            (
                json!({"gen_ai.usage.input_tokens": 100}),
                json!(null),
                json!({"mlflow.chat.tokenUsage": {"input_tokens": 100}}),
            ),
            (json!({"gen_ai.usage.cache_read.input_tokens": 50}), json!(null), json!({})),
            (
                json!({"gen_ai.provider.name": "openai", "gen_ai.request.model": "a", "gen_ai.response.model": "b"}),
                json!({"model": "c"}),
                json!({"mlflow.llm.model": "b", "mlflow.llm.provider": "openai"}),
            ),
            (
                json!({"gen_ai.provider.name": "", "gen_ai.request.model": "a"}),
                json!(null),
                json!({"mlflow.llm.model": "a"}),
            ),
            // A tool's arguments.
            (json!({}), json!({"model": "c"}), json!({"mlflow.llm.model": "c"})),
            (json!({}), json!({"model": 3}), json!({})),
            (json!({}), json!({"model": ""}), json!({})),
            (json!({}), json!("model"), json!({})),
            // The span's own attributes win.
            (
                json!({
                    "mlflow.llm.model": "mine",
                    "mlflow.llm.provider": "me",
                    "mlflow.chat.tokenUsage": {"input_tokens": 1},
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "a",
                    "gen_ai.usage.input_tokens": 100,
                }),
                json!(null),
                json!({}),
            ),
        ];
        for (attributes, inputs, expected) in table {
            let span = span(attributes.clone(), inputs.clone());
            let found: serde_json::Map<String, serde_json::Value> = derived(&span)
                .into_iter()
                .map(|(key, value)| (key.to_owned(), serde_json::to_value(value).unwrap()))
                .collect();
            assert_eq!(serde_json::Value::Object(found), expected, "{attributes} {inputs}");
        }
    }
}
