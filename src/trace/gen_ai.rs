//! OpenTelemetry's attributes for generative AI, beside MLflow's own.
//!
//! The names are those of the registry of the GenAI semantic conventions as of 2026 (all still "development" there),
//! which MLflow 3.17 reads too. Content has none of them: it stands once, as inputs and outputs.

use super::build::put;
use super::ids::SpanId;
use super::model::{Span, SpanType};
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::session::model::{Inference, ToolCall};
use crate::session::usage::TokenUsage;
use std::collections::HashMap;

/// Done by the model's side; all other tools run here.
const SEARCH: &str = "web_search";

/// Of an agent: the session itself, or one that it started.
pub(super) fn agent(
    attributes: &mut Map,
    name: &str,
    thread: &str,
    conversation: &str,
    provider: Option<&str>,
    version: Option<&str>,
) {
    put(attributes, "gen_ai.operation.name", Some(Text::word("invoke_agent")));
    put(attributes, "gen_ai.agent.name", Some(name));
    put(attributes, "gen_ai.agent.id", Some(thread));
    put(attributes, "gen_ai.agent.version", version);
    put(attributes, "gen_ai.conversation.id", Some(conversation));
    put(attributes, "gen_ai.provider.name", provider);
}

/// Of a model response. `is_whole` says that it came to its own end.
pub(super) fn inference(
    attributes: &mut Map,
    inference: &Inference,
    conversation: &Text,
    provider: Option<&Text>,
    is_whole: bool,
) {
    let model = inference.model.as_ref();
    put(attributes, "gen_ai.operation.name", Some(Text::word("chat")));
    put(attributes, "gen_ai.provider.name", provider);
    put(attributes, "gen_ai.conversation.id", Some(conversation));
    put(attributes, "gen_ai.request.model", model);
    put(attributes, "gen_ai.response.id", inference.response_id.as_ref());
    if let Some(told) = inference.usage {
        // Codex keeps no other name of the model that answered.
        put(attributes, "gen_ai.response.model", model);
        usage(attributes, told);
    }
    if is_whole {
        // What the model's side does itself is no reason to stop.
        let waits = inference.requests.iter().any(|request| request.name != SEARCH);
        let reason = Text::word(if waits { "tool_call" } else { "stop" });
        put(attributes, "gen_ai.response.finish_reasons", Some(vec![Value::String(reason)]));
    }
}

/// OpenTelemetry counts in seconds.
pub(super) fn first_chunk(attributes: &mut Map, milliseconds: Option<i64>) {
    #[expect(clippy::cast_precision_loss, reason = "no response takes 2^53 milliseconds")]
    let seconds = milliseconds.map(|milliseconds| milliseconds as f64 / 1000.0);
    put(attributes, "gen_ai.response.time_to_first_chunk", seconds);
}

/// Cached and written to the cache is part of input, reasoning is part of output.
pub(super) fn usage(attributes: &mut Map, usage: TokenUsage) {
    put(attributes, "gen_ai.usage.input_tokens", Some(usage.input));
    put(attributes, "gen_ai.usage.output_tokens", Some(usage.output));
    put(attributes, "gen_ai.usage.cache_read.input_tokens", Some(usage.cached_input));
    put(attributes, "gen_ai.usage.cache_creation.input_tokens", Some(usage.cache_write_input));
    put(attributes, "gen_ai.usage.reasoning.output_tokens", Some(usage.reasoning_output));
}

/// Gives each agent the tokens of all responses below it, those of other agents among them. MLflow's own count of
/// them is on the responses alone: MLflow 3.6 to 3.14 add up what they find on every span.
pub(super) fn add_up(spans: &mut [Span]) {
    const COUNTS: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"];
    let places: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (span.id, at)).collect();
    let mut sums = vec![None; spans.len()];
    for at in (0..spans.len()).rev() {
        let span = &mut spans[at];
        match span.span_type {
            SpanType::Llm => {
                let told = COUNTS.map(|count| span.attributes.get(count).and_then(Value::as_u64));
                sums[at] = told[0].zip(told[1]).map(|(input, output)| [input, output]);
            }
            SpanType::Agent => {
                for (count, sum) in COUNTS.into_iter().zip(sums[at].into_iter().flatten()) {
                    span.attributes.insert(Text::word(count), sum.into());
                }
            }
            SpanType::Tool | SpanType::Chain => {}
        }
        let parent = span.parent.and_then(|parent| places.get(&parent)).filter(|parent| **parent < at);
        if let (Some(parent), Some(sum)) = (parent, sums[at]) {
            let all: &mut [u64; 2] = sums[*parent].get_or_insert_default();
            (0..2).for_each(|count| all[count] = all[count].saturating_add(sum[count]));
        }
    }
}

pub(super) fn tool(attributes: &mut Map, call: &ToolCall, conversation: &Text) {
    put(attributes, "gen_ai.operation.name", Some(Text::word("execute_tool")));
    put(attributes, "gen_ai.conversation.id", Some(conversation));
    put(attributes, "gen_ai.tool.name", Some(&call.name));
    put(attributes, "gen_ai.tool.call.id", Some(&call.call_id));
    let kind = Text::word(if call.name == SEARCH { "extension" } else { "function" });
    put(attributes, "gen_ai.tool.type", Some(kind));
    if call.server.is_some() {
        put(attributes, "mcp.method.name", Some(Text::word("tools/call")));
    }
}
