//! OpenTelemetry's attributes for generative AI, in addition to MLflow's own.
//!
//! Names: registry of the GenAI semantic conventions as of 2026 (all with status "development"). MLflow 3.17 reads
//! them too. Prompts and answers get no such attribute: the span's inputs and outputs hold them once.

use codex_session::rollout::usage::TokenUsage;
use codex_session::session::model::{Inference, ToolCall};
use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanType};
use std::collections::HashMap;

/// A tool that the model's server runs; all other tools run on this machine.
const SEARCH: &str = "web_search";

/// Attributes of an agent: the session itself, or a sub-agent.
pub(super) fn agent(
    attributes: &mut Map,
    name: &str,
    thread: &str,
    conversation: &str,
    provider: Option<&str>,
    version: Option<&str>,
) {
    attributes.put("gen_ai.operation.name", Some(Text::word("invoke_agent")));
    attributes.put("gen_ai.agent.name", Some(name));
    attributes.put("gen_ai.agent.id", Some(thread));
    attributes.put("gen_ai.agent.version", version);
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.provider.name", provider);
}

/// Attributes of a model response. `is_whole`: the response is complete.
pub(super) fn inference(
    attributes: &mut Map,
    inference: &Inference,
    conversation: &Text,
    provider: Option<&Text>,
    is_whole: bool,
) {
    let model = inference.model.as_ref();
    attributes.put("gen_ai.operation.name", Some(Text::word("chat")));
    attributes.put("gen_ai.provider.name", provider);
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.request.model", model);
    attributes.put("gen_ai.response.id", inference.response_id.as_ref());
    if let Some(tokens) = inference.usage {
        // Codex records only the requested model.
        attributes.put("gen_ai.response.model", model);
        usage(attributes, tokens);
    }
    if is_whole {
        // The model does not stop for a tool that its server runs.
        let waits = inference.requests.iter().any(|request| request.name != SEARCH);
        let reason = Text::word(if waits { "tool_call" } else { "stop" });
        attributes.put("gen_ai.response.finish_reasons", Some(vec![Value::String(reason)]));
    }
}

/// Takes milliseconds; OpenTelemetry's attribute is in seconds.
pub(super) fn first_chunk(attributes: &mut Map, milliseconds: Option<i64>) {
    #[expect(clippy::cast_precision_loss, reason = "no response takes 2^53 milliseconds")]
    let seconds = milliseconds.map(|milliseconds| milliseconds as f64 / 1000.0);
    attributes.put("gen_ai.response.time_to_first_chunk", seconds);
}

/// Input includes cached tokens and tokens written to the cache; output includes reasoning.
pub(super) fn usage(attributes: &mut Map, usage: TokenUsage) {
    attributes.put("gen_ai.usage.input_tokens", Some(usage.input));
    attributes.put("gen_ai.usage.output_tokens", Some(usage.output));
    attributes.put("gen_ai.usage.cache_read.input_tokens", Some(usage.cached_input));
    attributes.put("gen_ai.usage.cache_creation.input_tokens", Some(usage.cache_write_input));
    attributes.put("gen_ai.usage.reasoning.output_tokens", Some(usage.reasoning_output));
}

/// Gives each agent span the tokens of all responses below it, including those of sub-agents.
///
/// MLflow's own token attribute stays on the responses only: MLflow 3.6 to 3.14 sum it over every span.
pub(super) fn add_up(spans: &mut [Span]) {
    const COUNTS: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"];
    let places: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (span.id, at)).collect();
    let mut sums = vec![None; spans.len()];
    for at in (0..spans.len()).rev() {
        let span = &mut spans[at];
        match span.span_type {
            SpanType::Llm => {
                let counts = COUNTS.map(|count| span.attributes.get(count).and_then(Value::as_u64));
                sums[at] = counts[0].zip(counts[1]).map(|(input, output)| [input, output]);
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

/// Attributes of a tool call.
pub(super) fn tool(attributes: &mut Map, call: &ToolCall, conversation: &Text) {
    attributes.put("gen_ai.operation.name", Some(Text::word("execute_tool")));
    attributes.put("gen_ai.conversation.id", Some(conversation));
    attributes.put("gen_ai.tool.name", Some(&call.name));
    attributes.put("gen_ai.tool.call.id", Some(&call.call_id));
    let kind = Text::word(if call.name == SEARCH { "extension" } else { "function" });
    attributes.put("gen_ai.tool.type", Some(kind));
    if call.server.is_some() {
        attributes.put("mcp.method.name", Some(Text::word("tools/call")));
    }
}
