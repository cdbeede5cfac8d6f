//! Names and attributes by OpenTelemetry's conventions for generative AI (semantic-conventions-genai 0.1, July 2026,
//! all with status "development"). What they have no word for is under `codex.`.

use super::messages::{input_parts, output_parts};
use super::value::compact_json;
use crate::mlflow_keys::{COST_KEYS, SESSION, SPAN_COST, USER};
use crate::trace::{Span, SpanType, Trace};
use common::json::text::Text;
use common::json::value::{Map, Value};

/// Our attributes under the conventions' names.
const RENAMED: [(&str, &str); 9] = [
    ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
    ("codex.reasoning_effort", "gen_ai.request.reasoning.level"),
    ("codex.service_tier", "openai.request.service_tier"),
    ("codex.cwd", "process.working_directory"),
    ("cwd", "process.working_directory"),
    ("exit_code", "process.exit.code"),
    ("process.exit.signal", "codex.exit_signal"),
    ("duration_ms", "codex.duration_ms"),
    ("mcp_server", "codex.mcp_server"),
];

/// Attributes that repeat others for MLflow's page, and an id that the conventions reserve for agents of a service.
const LEFT_OUT: [&str; 8] = [
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_output_tokens",
    "tool_name",
    "tool_id",
    "mcp.server",
    "gen_ai.agent.id",
];

const MLFLOW: &str = "mlflow.";

/// Namespaces of the conventions that our attributes use, and our own.
const KEPT: [&str; 7] = ["gen_ai.", "error.", "vcs.", "process.", "mcp.", "openai.", "codex."];

/// Dollars, as the price list has it: the conventions have no word for costs.
const COSTS: [&str; 3] = ["codex.cost.input", "codex.cost.output", "codex.cost.total"];

/// `{operation} {object}`.
pub(super) fn span_name(span: &Span) -> String {
    let of = |operation: &str, key: &str| match span.attributes.get(key).and_then(Value::as_str) {
        Some(object) => format!("{operation} {object}"),
        None => operation.to_owned(),
    };
    match span.span_type {
        SpanType::Agent => of("invoke_agent", "gen_ai.agent.name"),
        SpanType::Llm => of("chat", "gen_ai.request.model"),
        SpanType::Tool => of("execute_tool", "gen_ai.tool.name"),
        SpanType::Chain => span.name.clone(),
    }
}

pub(super) fn attributes(trace: &Trace, span: &Span) -> Map {
    let mut all = about_session(trace);
    for (key, value) in span.attributes.iter() {
        if let Some(key) = name_of(key) {
            all.insert(key, value.clone());
        }
    }
    for (key, cost) in COSTS.into_iter().zip(costs_of(span)) {
        all.put(key, cost);
    }
    let messages = |all: &mut Map| {
        let reason = span.attributes.get("gen_ai.response.finish_reasons").map(|reasons| &reasons[0]);
        all.put("gen_ai.input.messages", input_parts(&span.inputs));
        all.put("gen_ai.output.messages", output_parts(&span.outputs, reason));
    };
    match span.span_type {
        SpanType::Agent | SpanType::Llm => messages(&mut all),
        SpanType::Tool => {
            all.put("gen_ai.tool.call.arguments", text_of(&span.inputs));
            all.put("gen_ai.tool.call.result", text_of(&span.outputs));
        }
        SpanType::Chain => {}
    }
    all
}

/// Attributes of every span: collectors group traces by them.
pub(super) fn about_session(trace: &Trace) -> Map {
    let mut all = Map::new();
    all.put("session.id", trace.metadata.get(SESSION).map(String::as_str));
    all.put("user.id", trace.metadata.get(USER).map(String::as_str));
    all
}

/// The name of our attribute in the conventions; None where it is left out.
pub(super) fn name_of(ours: &Text) -> Option<Text> {
    if LEFT_OUT.contains(&ours.as_str()) || ours.starts_with(MLFLOW) {
        return None;
    }
    let renamed = RENAMED.iter().find(|(from, _)| *from == ours.as_str());
    Some(match renamed {
        Some((_, to)) => Text::word(to),
        None if KEPT.iter().any(|namespace| ours.starts_with(namespace)) => ours.clone(),
        None => format!("codex.{ours}").into(),
    })
}

/// Input, output and total, in dollars.
pub(super) fn costs_of(span: &Span) -> [Option<Value>; 3] {
    let cost = span.attributes.get(SPAN_COST);
    COST_KEYS.map(|key| cost.and_then(|cost| cost.get(key)).cloned())
}

/// Text as it is, other values as JSON.
pub(super) fn text_of(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(_) => Some(value.clone()),
        other => Some(compact_json(other).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_attributes_have_the_conventions_names_or_are_under_codex() {
        let table = [
            ("gen_ai.request.model", Some("gen_ai.request.model")),
            ("gen_ai.usage.cache_creation.input_tokens", Some("gen_ai.usage.cache_write.input_tokens")),
            ("mlflow.llm.cost", None),
            ("input_tokens", None),
            ("exit_code", Some("process.exit.code")),
            ("codex.turn", Some("codex.turn")),
            ("what.comes.later", Some("codex.what.comes.later")),
        ];
        for (ours, theirs) in table {
            assert_eq!(name_of(&ours.into()).as_deref(), theirs, "{ours}");
        }
    }
}
