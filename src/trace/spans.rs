//! The spans below a turn: model responses, tool calls, compactions.

use super::draft::Draft;
use super::ids::span_of_key;
use super::outcome::{RUNNING, error_of, exception, with_last_words};
use super::price::{Priced, token_usage};
use super::thread_facts::ThreadScope;
use super::{attributes, chat, outcome};
use codex_session::session::model::{Compaction, Inference, Outcome, Step, ToolCall, Turn, TurnStatus};
use common::json::text::Text;
use common::json::value::{Map, Value};
use common::shared::Shared;
use jiff::{SignedDuration, Timestamp};
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType};

/// Error message of a response that Codex requested again.
const BROKE_OFF: &str = "the stream broke off, and codex asked again";

/// Attributes of a model response with all facts recorded.
const MOST_ATTRIBUTES: usize = 24;

struct TurnScope<'a> {
    of: ThreadScope<'a>,
    turn: &'a Turn,
    /// The number of the response that got the turn's first token, and when.
    first_token: Option<(u32, Timestamp)>,
    /// The number of the turn's last model response.
    last_inference: Option<u32>,
}

pub(super) fn tool_id(thread: &str, call_id: &str) -> SpanId {
    span_of_key(thread, &format!("tool:{call_id}"))
}

/// Spans of a turn: parents before children, siblings by start time. `number`: counts from 1.
pub(super) fn of_turn(of: &ThreadScope, number: usize, turn: &Shared<Turn>, parent: SpanId) -> Vec<Draft> {
    let start = turn.started_at.unwrap_or(of.start);
    let scope = TurnScope {
        of: ThreadScope { start, ..of.clone() },
        turn,
        first_token: first_token(turn),
        last_inference: turn.inferences().last().map(|inference| inference.number),
    };
    let known = known_steps(of.turn_before(number), turn);
    let is_known =
        |at: usize, step: &Shared<Step>| known.get(at).is_some_and(|before| before.is_clone_of(step));
    let spans_of = |(at, step): (usize, &Shared<Step>)| match (&**step, is_known(at, step)) {
        (Step::Inference(inference), false) => vec![scope.inference(inference, parent).into()],
        (Step::Inference(inference), true) => vec![scope.inference_outline(inference, parent)],
        (Step::ToolCall(call), is_known) => scope.tool_call(call, parent, is_known),
        (Step::Compaction(compaction), _) => vec![scope.compaction(compaction, parent).into()],
    };
    let mut groups: Vec<Vec<Draft>> = turn.steps.iter().enumerate().map(spans_of).collect();
    groups.sort_by_key(|group| group[0].started_at);
    groups.into_iter().flatten().collect()
}

/// The steps of a turn as they were built before. Steps that are still the same have the same spans. None where the turn has
/// ended since: the span of a step depends on that.
fn known_steps<'b>(before: Option<&'b Shared<Turn>>, turn: &Shared<Turn>) -> &'b [Shared<Step>] {
    let runs = |turn: &Turn| turn.status == TurnStatus::Running && turn.time_to_first_token_ms.is_none();
    let is_known = |before: &&Shared<Turn>| {
        let both_run = runs(before) && runs(turn) && before.started_at == turn.started_at;
        before.is_clone_of(turn) || both_run
    };
    before.filter(is_known).map_or(&[], |before| &before.steps)
}

impl TurnScope<'_> {
    fn inference_times(&self, inference: &Inference) -> (Timestamp, Timestamp) {
        let started_at = inference.started_at.unwrap_or(self.of.start);
        (started_at, inference.ended_at.unwrap_or(started_at).max(started_at))
    }

    fn inference_id(&self, inference: &Inference) -> SpanId {
        span_of_key(self.of.thread, &format!("inference:{}", inference.number))
    }

    fn inference_outline(&self, inference: &Inference, parent: SpanId) -> Draft {
        let mut counts = Map::new();
        if let Some(usage) = inference.usage {
            counts = Map::with_capacity(2);
            attributes::put_counts(&mut counts, usage);
        }
        let id = self.inference_id(inference);
        Draft::outline((id, parent), SpanType::Llm, self.inference_times(inference), counts)
    }

    fn inference(&self, inference: &Inference, parent: SpanId) -> Span {
        let model = inference.model.as_ref();
        let mut attributes = Map::with_capacity(MOST_ATTRIBUTES);
        attributes.put("mlflow.llm.model", model);
        let provider = inference.provider.as_ref().or(self.of.provider.as_ref());
        attributes.put("mlflow.llm.provider", provider);
        attributes.put("codex.reasoning_effort", inference.effort.as_ref());
        attributes.put("codex.service_tier", inference.service_tier.as_ref());
        let first_token = self.time_to_first_token(inference);
        attributes.put("codex.time_to_first_token_ms", first_token);
        attributes::put_inference(
            &mut attributes,
            inference,
            &self.of.conversation,
            provider,
            self.came_to_its_end(inference),
            first_token,
        );
        if let Some(usage) = inference.usage {
            attributes.put("input_tokens", Some(usage.input));
            attributes.put("output_tokens", Some(usage.output));
            attributes.put("cached_input_tokens", Some(usage.cached_input));
            attributes.put("reasoning_output_tokens", Some(usage.reasoning_output));
            attributes.put("mlflow.chat.tokenUsage", Some(token_usage(usage)));
        }
        let priced = Priced::from_response(self.of.prices, inference);
        attributes.put("mlflow.llm.cost", priced.map(|priced| priced.cost.to_json()));
        outcome::put_error(&mut attributes, inference);
        let (started_at, ended_at) = self.inference_times(inference);
        let messages: Vec<Value> = inference.new_messages.iter().map(chat::request_message).collect();
        // Unknown fields are absent: MLflow's page would show a null, and an empty list as code.
        let mut inputs = Map::with_capacity(2);
        inputs.put("model", model);
        inputs.put("messages", Some(messages).filter(|messages| !messages.is_empty()));
        let status = self.inference_status(inference);
        // MLflow's page marks a span as failed only if it has an exception event.
        let event = |message: &str| exception(outcome::exception_type(inference), message, ended_at);
        let events = error_of(&status).map(event).into_iter().collect();
        Span {
            id: self.inference_id(inference),
            parent: Some(parent),
            name: format!("llm_call_{}", inference.number),
            span_type: SpanType::Llm,
            status,
            started_at,
            ended_at,
            inputs: if inputs.is_empty() { Value::Null } else { inputs.into() },
            outputs: if outcome::has_returned_nothing(inference) {
                Value::Null
            } else {
                chat::response(inference)
            },
            attributes,
            events,
        }
    }

    /// Milliseconds since the request started; Codex counts from the start of the turn.
    fn time_to_first_token(&self, inference: &Inference) -> Option<i64> {
        let (_, at) = self.first_token.filter(|(number, _)| *number == inference.number)?;
        let at = inference.ended_at.map_or(at, |ended| at.min(ended));
        let after = at.as_millisecond() - inference.started_at?.as_millisecond();
        // A clock set back gives a negative time.
        Some(after).filter(|after| *after >= 0)
    }

    /// Whether the response is complete. An incomplete one has no usage, except one that failed its turn.
    fn came_to_its_end(&self, inference: &Inference) -> bool {
        let is_last = self.last_inference == Some(inference.number);
        let made_it_fail = matches!(self.turn.status, TurnStatus::Failed { .. }) && is_last;
        inference.usage.is_some() && !made_it_fail && inference.failure.is_none()
    }

    /// A response with a usage is complete. Without a usage, it is complete if its turn completed. The last response
    /// of a failed turn is the one that failed.
    fn inference_status(&self, inference: &Inference) -> SpanStatus {
        if let Some(failure) = &inference.failure {
            return SpanStatus::Error { message: failure.message.clone() };
        }
        match &self.turn.status {
            _ if inference.usage.is_some() => SpanStatus::Ok,
            _ if inference.has_broken_off => SpanStatus::Error { message: BROKE_OFF.into() },
            TurnStatus::Completed => SpanStatus::Ok,
            TurnStatus::Failed { message, .. } if self.last_inference == Some(inference.number) => {
                SpanStatus::Error { message: message.clone() }
            }
            _ => SpanStatus::Unset,
        }
    }

    fn tool_call(&self, call: &ToolCall, parent: SpanId, is_known: bool) -> Vec<Draft> {
        let id = tool_id(self.of.thread, &call.call_id);
        let nested: Vec<Draft> =
            call.nested.iter().flat_map(|inner| self.tool_call(inner, id, is_known)).collect();
        let recorded = call.started_at.unwrap_or(self.of.start);
        let started_at =
            nested.iter().map(|span| span.started_at).min().map_or(recorded, |first| first.min(recorded));
        let ended_at = call.ended_at.unwrap_or(started_at).max(started_at);
        let span = match is_known {
            true => Draft::outline((id, parent), SpanType::Tool, (started_at, ended_at), Map::new()),
            false => self.tool_span(call, (id, parent), (started_at, ended_at)).into(),
        };
        std::iter::once(span).chain(nested).collect()
    }

    fn tool_span(
        &self,
        call: &ToolCall,
        (id, parent): (SpanId, SpanId),
        (started_at, ended_at): (Timestamp, Timestamp),
    ) -> Span {
        let status = self.tool_status(&call.outcome);
        let mut attributes = Map::with_capacity(MOST_ATTRIBUTES / 2);
        attributes.put("tool_name", Some(&call.name));
        attributes.put("tool_id", Some(&call.call_id));
        attributes.put("mcp_server", call.server.as_ref());
        attributes.put("mcp.server", call.server.as_ref());
        attributes.put("codex.raw_arguments", call.raw_arguments.clone());
        attributes.put("exit_code", call.facts.exit_code);
        attributes.put("cwd", call.facts.cwd.as_ref());
        attributes.put("duration_ms", call.facts.duration.map(milliseconds));
        attributes::put_tool(&mut attributes, call, &self.of.conversation);
        let event = |message| exception("ToolError", &with_last_words(message, call), ended_at);
        let events = error_of(&status).map(event).into_iter().collect();
        Span {
            id,
            parent: Some(parent),
            name: format!("tool_{}", call.name),
            span_type: SpanType::Tool,
            outputs: tool_outputs(call, &status),
            status,
            started_at,
            ended_at,
            inputs: call.arguments.clone(),
            attributes,
            events,
        }
    }

    fn tool_status(&self, outcome: &Outcome) -> SpanStatus {
        let why = match (outcome, &self.turn.status) {
            (Outcome::Ok, _) => return SpanStatus::Ok,
            (Outcome::Failed { message } | Outcome::Denied { message }, _) => message,
            (Outcome::Running, TurnStatus::Running) => return SpanStatus::Unset,
            (Outcome::Interrupted, _) | (Outcome::Running, TurnStatus::Interrupted { .. }) => "interrupted",
            (Outcome::Running, TurnStatus::Lost) => "codex ended before the call did",
            // Codex does so for a tool that the model may not call by that name.
            (Outcome::Running, TurnStatus::Completed | TurnStatus::Failed { .. }) => {
                "codex recorded no answer"
            }
        };
        SpanStatus::Error { message: why.into() }
    }

    fn compaction(&self, compaction: &Compaction, parent: SpanId) -> Span {
        let started_at = compaction.started_at.unwrap_or(self.of.start);
        let mut attributes = Map::new();
        attributes.put("codex.context_tokens_before", compaction.tokens_before);
        attributes.put("codex.context_tokens_after", compaction.tokens_after);
        Span {
            id: span_of_key(self.of.thread, &format!("compaction:{}", compaction.number)),
            parent: Some(parent),
            name: "compaction".into(),
            span_type: SpanType::Chain,
            status: SpanStatus::Ok,
            started_at,
            ended_at: compaction.ended_at.unwrap_or(started_at).max(started_at),
            inputs: Value::Null,
            outputs: Value::Null,
            attributes,
            events: Vec::new(),
        }
    }
}

/// The turn's last response requested before its first token, and the time of that token. A response before it is that
/// of a compaction.
fn first_token(turn: &Turn) -> Option<(u32, Timestamp)> {
    let after = SignedDuration::from_millis(i64::try_from(turn.time_to_first_token_ms?).ok()?);
    let at = turn.started_at?.checked_add(after).ok()?;
    let last_requested =
        turn.inferences().filter(|it| it.started_at.is_some_and(|started| started <= at)).last()?;
    Some((last_requested.number, at))
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(0)
}

fn tool_outputs(call: &ToolCall, status: &SpanStatus) -> Value {
    let facts = &call.facts;
    // The command's own output is complete; the model got only its beginning or a part.
    let result = facts.printed.as_ref().or(call.output.as_ref());
    let mut outputs = Map::new();
    outputs.put("result", result);
    outputs.put("exit_code", facts.exit_code);
    outputs.put("changes", facts.changes.clone());
    outputs.put("mcp_result", facts.mcp_result.clone());
    outputs.put("status", (*status == SpanStatus::Unset).then(|| Text::word(RUNNING)));
    if outputs.is_empty() { Value::Null } else { Value::Object(outputs) }
}
