//! Attributes by Arize's conventions, OpenInference (openinference-semantic-conventions 0.1.46). Lists are flat, with the
//! place in the name.

use super::gen_ai::{about_session, costs_of, name_of, text_of};
use super::messages::{RequestedCall, calls_of, of_inputs, of_outputs};
use super::value::compact_json;
use crate::trace::{Span, SpanType, Trace};
use common::json::text::Text;
use common::json::value::{Map, Value};

/// Attributes that have a name of their own here.
const NAMED: [(&str, &str); 12] = [
    ("gen_ai.request.model", "llm.model_name"),
    ("gen_ai.provider.name", "llm.provider"),
    ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    ("gen_ai.usage.output_tokens", "llm.token_count.completion"),
    ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"),
    ("gen_ai.usage.cache_creation.input_tokens", "llm.token_count.prompt_details.cache_write"),
    ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
    ("gen_ai.agent.name", "agent.name"),
    ("gen_ai.tool.name", "tool.name"),
    ("gen_ai.tool.call.id", "tool.id"),
    ("gen_ai.conversation.id", "session.id"),
    ("gen_ai.response.id", "codex.response_id"),
];

/// In dollars.
const COSTS: [&str; 3] = ["llm.cost.prompt", "llm.cost.completion", "llm.cost.total"];

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

pub(super) fn attributes(trace: &Trace, span: &Span) -> Map {
    let mut all = about_session(trace);
    all.put("openinference.span.kind", Some(Text::word(span.span_type.as_str())));
    let is_response = span.span_type == SpanType::Llm;
    for (key, value) in span.attributes.iter() {
        // Phoenix adds up the tokens of all spans that have some.
        let is_sum = key.starts_with("gen_ai.usage.") && !is_response;
        if let Some(key) = own_name(key).filter(|_| !is_sum) {
            all.insert(key, value.clone());
        }
    }
    if is_response {
        all.put("llm.system", Some(Text::word("openai")));
        all.put("llm.token_count.total", total(span));
        all.put("llm.invocation_parameters", parameters(span));
        for (key, cost) in COSTS.into_iter().zip(costs_of(span)) {
            all.put(key, cost);
        }
        put_messages(&mut all, "llm.input_messages", of_inputs(&span.inputs).iter());
        put_messages(&mut all, "llm.output_messages", of_outputs(&span.outputs));
    }
    put_text(&mut all, ["input.value", "input.mime_type"], shown(span, &span.inputs, "prompt"));
    put_text(&mut all, ["output.value", "output.mime_type"], shown(span, &span.outputs, "response"));
    all
}

/// None for an attribute that is left out.
fn own_name(ours: &Text) -> Option<Text> {
    if let Some((_, name)) = NAMED.iter().find(|(from, _)| *from == ours.as_str()) {
        return Some(Text::word(name));
    }
    name_of(ours).filter(|name| !name.starts_with("gen_ai."))
}

fn total(span: &Span) -> Option<u64> {
    let count = |key| span.attributes.get(key).and_then(Value::as_u64);
    Some(count("gen_ai.usage.input_tokens")?.saturating_add(count("gen_ai.usage.output_tokens")?))
}

/// JSON of what the request asked for besides its messages.
fn parameters(span: &Span) -> Option<String> {
    let mut parameters = Map::new();
    parameters.put("reasoning_effort", span.attributes.get("codex.reasoning_effort").cloned());
    parameters.put("service_tier", span.attributes.get("codex.service_tier").cloned());
    (!parameters.is_empty()).then(|| compact_json(&parameters.into()))
}

/// The prompt or the answer of an agent; all of a tool's or a response's inputs or outputs.
fn shown<'v>(span: &Span, value: &'v Value, text: &str) -> &'v Value {
    match span.span_type {
        SpanType::Agent => value.get(text).unwrap_or(value),
        SpanType::Llm | SpanType::Tool | SpanType::Chain => value,
    }
}

fn put_text(all: &mut Map, [key, kind]: [&'static str; 2], value: &Value) {
    let is_text = value.as_str().is_some();
    if let Some(text) = text_of(value) {
        all.put(key, Some(text));
        all.put(kind, Some(Text::word(if is_text { TEXT } else { JSON })));
    }
}

fn put_messages<'v>(all: &mut Map, list: &str, messages: impl Iterator<Item = &'v Value>) {
    for (place, message) in messages.enumerate() {
        let mut put = |field: String, value: &Value| {
            if let Some(text) = text_of(value) {
                all.insert(format!("{list}.{place}.message.{field}"), text);
            }
        };
        for field in ["role", "content", "tool_call_id"] {
            put(field.to_owned(), &message[field]);
        }
        for (number, RequestedCall { id, name, arguments }) in calls_of(message).enumerate() {
            let call = format!("tool_calls.{number}.tool_call");
            put(format!("{call}.id"), id);
            put(format!("{call}.function.name"), name);
            put(format!("{call}.function.arguments"), arguments);
        }
    }
}
