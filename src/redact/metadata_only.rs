//! Content mode `metadata`: lists what stays. Everything else is removed, including fields that later versions add.

use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::mlflow_keys::CONTENT;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};

/// Bytes. No id and no version is longer, and a prompt worth protecting is longer or has a space.
const LONGEST_WORD: usize = 80;

const METADATA: [&str; 10] = [
    "session",
    "source",
    "mlflow.trace_schema.version",
    "mlflow.trace.session",
    "mlflow.trace.tokenUsage",
    "mlflow.trace.cost",
    "mlflow.source.name",
    "mlflow.source.type",
    "codex.cost_basis",
    "codex.continues",
];

const TAGS: [&str; 2] = ["codex.cli_version", "codex.caller.trace_id"];

const ATTRIBUTES: &[&str] = &[
    "codex.thread_id",
    "codex.turn_id",
    "codex.turn",
    "codex.cli_version",
    "codex.forked_from_id",
    "codex.parent_thread_id",
    "codex.turns",
    "codex.continues",
    "codex.llm_calls",
    "codex.sub_agents",
    "codex.active_ms",
    "codex.tokens_reconciled",
    "codex.bad_lines",
    "codex.attribution",
    "codex.launch_id",
    "codex.taken_back",
    "codex.time_to_first_token_ms",
    "codex.reasoning_effort",
    "codex.context_tokens_before",
    "codex.context_tokens_after",
    "process.exit.code",
    "process.exit.signal",
    "exit_code",
    "duration_ms",
    "tool_name",
    "error.type",
    "codex.attempt",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_output_tokens",
    "mlflow.chat.tokenUsage",
    "mlflow.llm.model",
    "mlflow.llm.cost",
    "gen_ai.operation.name",
    "gen_ai.agent.id",
    "gen_ai.agent.version",
    "gen_ai.conversation.id",
    "gen_ai.request.model",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.response.model",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
];

/// Fields of inputs and outputs that stay.
const FIELDS: [&str; 3] = ["model", "status", "exit_code"];

pub(super) fn keep_metadata(trace: &mut Trace) {
    trace.request_preview = None;
    // Without a preview, an MLflow server shows the outputs as JSON.
    let status = trace.root().and_then(|root| root.outputs.get("status")?.as_str());
    trace.response_preview = status.filter(|status| is_word(status)).map(str::to_owned);
    trace.metadata.retain(|key, _| METADATA.contains(&key.as_str()));
    trace.tags.retain(|key, value| TAGS.contains(&key.as_str()) && is_word(value));
    for span in &mut trace.spans {
        keep_metadata_of(span);
    }
    if let Some(root) = trace.root_mut() {
        root.attributes.insert(Text::word(CONTENT), Text::word("metadata").into());
    }
}

fn keep_metadata_of(span: &mut Span) {
    span.name = name_of(span);
    if let SpanStatus::Error { message } = &mut span.status {
        // The status and the exit code stay. The message may quote a person, a model or a program.
        "failed".clone_into(message);
    }
    for value in [&mut span.inputs, &mut span.outputs] {
        if let Value::Object(fields) = value {
            keep(fields, &FIELDS);
        }
        if value.as_object().is_none_or(Map::is_empty) {
            *value = Value::Null;
        }
    }
    keep(&mut span.attributes, ATTRIBUTES);
    for event in &mut span.events {
        "exception".clone_into(&mut event.name);
        event.attributes = Map::from([("exception.type", Text::word("failed").into())]);
    }
}

/// Keeps names that this program gives, and tool names. A sub-agent's name may describe its task.
fn name_of(span: &Span) -> String {
    let numbered = ["turn_", "llm_call_"].iter().any(|kind| {
        span.name.strip_prefix(kind).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let is_built_in = numbered
        || ["codex_cli_session", "codex_cli_turn", "compaction", "review"].contains(&span.name.as_str());
    match span.span_type {
        _ if is_built_in => span.name.clone(),
        SpanType::Tool if is_word(&span.name) => span.name.clone(),
        SpanType::Tool => "tool".to_owned(),
        SpanType::Agent if span.name.starts_with("subagent") => "subagent".to_owned(),
        SpanType::Agent => "agent".to_owned(),
        SpanType::Llm => "llm_call".to_owned(),
        SpanType::Chain => "step".to_owned(),
    }
}

fn keep(fields: &mut Map, names: &[&str]) {
    fields.retain(|key, value| {
        names.contains(&key)
            && match value {
                Value::String(text) => is_word(text),
                Value::Object(figures) => {
                    figures.values().all(|figure| figure.as_number().is_some() || figure.is_null())
                }
                Value::Array(_) => false,
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
            }
    });
}

/// Whether the text can be an id, a version, or the name of a model or tool: short and without spaces.
fn is_word(text: &str) -> bool {
    text.len() <= LONGEST_WORD
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:+-".contains(&byte))
}
