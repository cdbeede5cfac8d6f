//! The turns of a trace, and the trace of one turn only.

use crate::command::CommandError;
use crate::command::text_layout::counted;
use common::json::text::Text;
use common::json::value::{Map, Value};
use jiff::{SignedDuration, Timestamp};
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use serde_json::Number;
use std::collections::{HashMap, HashSet};

/// A turn of the session itself, not of a sub-agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'t> {
    pub(super) number: usize,
    /// The root span in a trace of one turn.
    pub(super) span: &'t Span,
    /// The root span of a session with one turn is longer than the turn: it begins with the thread.
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
}

/// The turns in the order of the trace.
pub(super) fn turns(trace: &Trace) -> Vec<Turn<'_>> {
    let Some(root) = trace.root() else { return Vec::new() };
    let is_turn = |span: &&Span| span.span_type == SpanType::Agent && span.parent == Some(root.id);
    let turns: Vec<Turn> = trace
        .spans
        .iter()
        .filter(is_turn)
        .filter_map(|span| {
            let number = number_in(&span.name)?;
            Some(Turn { number, span, started_at: span.started_at, ended_at: span.ended_at })
        })
        .collect();
    if turns.is_empty() { vec![root_turn(trace, root)] } else { turns }
}

fn root_turn<'t>(trace: &Trace, root: &'t Span) -> Turn<'t> {
    // The trace of a turn names its number in an attribute.
    let recorded = root.attributes.get("codex.turn").and_then(Value::as_u64);
    let recorded = recorded.and_then(|number| usize::try_from(number).ok());
    let number = number_in(&root.name).or(recorded);
    let (started_at, ended_at) = match number {
        Some(_) => (root.started_at, root.ended_at),
        None => times_of_only_turn(trace, root),
    };
    Turn { number: number.unwrap_or(1), span: root, started_at, ended_at }
}

/// The turn ends with the session's last line, as a rule, and its duration is recorded. All steps are within it.
fn times_of_only_turn(trace: &Trace, root: &Span) -> (Timestamp, Timestamp) {
    let steps = || trace.spans.iter().filter(|span| span.parent == Some(root.id));
    let first_step = steps().map(|span| span.started_at).min().unwrap_or(root.started_at);
    let last_step = steps().map(|span| span.ended_at).max().unwrap_or(first_step).min(root.ended_at);
    let active = root.attributes.get("codex.active_ms").and_then(Value::as_u64);
    let active = active.and_then(|millis| i64::try_from(millis).ok()).map(SignedDuration::from_millis);
    let Some(active) = active else { return (first_step, root.ended_at) };
    let started_at = root.ended_at.checked_sub(active).unwrap_or(first_step);
    let started_at = started_at.max(root.started_at).min(first_step);
    let ended_at = started_at.checked_add(active).unwrap_or(root.ended_at);
    (started_at, ended_at.min(root.ended_at).max(last_step))
}

fn number_in(name: &str) -> Option<usize> {
    name.strip_prefix("turn_")?.parse().ok()
}

/// The trace with the spans of this turn only: the turn's span is the root.
pub(super) fn only_turn(trace: Trace, number: usize) -> Result<Trace, CommandError> {
    let turns = turns(&trace);
    let Some(turn) = turns.iter().find(|turn| turn.number == number) else {
        return Err(no_turn(&turns, number));
    };
    if turn.span.parent.is_none() {
        return Ok(trace);
    }
    let within = descendants(&trace, turn.span.id);
    let (id, started_at, ended_at) = (turn.span.id, turn.started_at, turn.ended_at);
    let mut trace = trace;
    trace.spans.retain(|span| within.contains(&span.id));
    let place = trace.spans.iter().position(|span| span.id == id).unwrap_or_default();
    trace.spans[..=place].rotate_right(1);
    let root = &mut trace.spans[0];
    root.parent = None;
    trace.name.clone_from(&root.name);
    trace.state = state_of(&root.status);
    let quoted = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    trace.request_preview = quoted(root.inputs.get("prompt"));
    trace.response_preview = quoted(root.outputs.get("response"));
    (trace.started_at, trace.ended_at) = (started_at, ended_at);
    for (total, part) in
        [("mlflow.trace.tokenUsage", "mlflow.chat.tokenUsage"), ("mlflow.trace.cost", "mlflow.llm.cost")]
    {
        // A store may give agents the sums of their responses.
        let responses = trace.spans.iter().filter(|span| span.span_type == SpanType::Llm);
        match sum(responses.filter_map(|span| span.attributes.get(part)?.as_object())) {
            Some(sum) => trace.metadata.insert(total.to_owned(), sum.to_string()),
            None => trace.metadata.remove(total),
        };
    }
    Ok(trace)
}

fn no_turn(turns: &[Turn], number: usize) -> CommandError {
    let has = match (turns.first(), turns.last()) {
        (Some(first), Some(last)) if first.number != 1 => {
            format!("the trace has turns {} to {}", first.number, last.number)
        }
        _ => format!("the trace has {}", counted(turns.len(), "turn", "turns")),
    };
    format!(
        "there is no turn {number}: {has}\n  hint: turns count from 1, and sub-agents have turns of their own"
    )
}

fn state_of(status: &SpanStatus) -> TraceState {
    match status {
        SpanStatus::Ok => TraceState::Ok,
        SpanStatus::Error { .. } => TraceState::Error,
        SpanStatus::Unset => TraceState::InProgress,
    }
}

/// The spans below each span.
pub(super) fn children(trace: &Trace) -> HashMap<SpanId, Vec<&Span>> {
    let mut children: HashMap<SpanId, Vec<&Span>> = HashMap::with_capacity(trace.spans.len());
    for span in &trace.spans {
        if let Some(parent) = span.parent {
            children.entry(parent).or_default().push(span);
        }
    }
    children
}

/// The span with all spans below it, at any depth.
fn descendants(trace: &Trace, from: SpanId) -> HashSet<SpanId> {
    let mut children = children(trace);
    let (mut found, mut open) = (HashSet::new(), vec![from]);
    while let Some(id) = open.pop() {
        found.insert(id);
        open.extend(children.remove(&id).unwrap_or_default().iter().map(|span| span.id));
    }
    found
}

/// The sum of each field. None without an object.
fn sum<'m>(objects: impl Iterator<Item = &'m Map>) -> Option<Value> {
    let mut sums: Option<Map> = None;
    for (name, value) in objects.flat_map(Map::iter) {
        let sums = sums.get_or_insert_default();
        let added = match (sums.get(name), value) {
            (Some(Value::Number(before)), Value::Number(more)) => add(before, more),
            (_, value) => value.clone(),
        };
        sums.insert(Text::clone(name), added);
    }
    sums.map(Value::Object)
}

fn add(a: &Number, b: &Number) -> Value {
    match (a.as_u64(), b.as_u64()) {
        (Some(a), Some(b)) => Value::from(a.saturating_add(b)),
        _ => Value::from(a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_trace::{span, trace};
    use super::*;
    use serde_json::json;

    fn numbers_and_times(trace: &Trace) -> Vec<(usize, i64, i64)> {
        let seconds = |turn: &Turn| (turn.number, turn.started_at.as_second(), turn.ended_at.as_second());
        turns(trace).iter().map(seconds).collect()
    }

    fn several() -> Trace {
        let with_usage = |mut span: Span, input: u64| {
            let usage = json!({"input_tokens": input, "output_tokens": 1});
            span.attributes.insert("mlflow.chat.tokenUsage", Value::from(usage));
            span.attributes.insert("mlflow.llm.cost", Value::from(json!({"total_cost": 0.5})));
            span
        };
        trace(vec![
            span(1, 0, "codex_cli_session", 0, 60),
            span(2, 1, "turn_1", 1, 9),
            with_usage(span(3, 2, "llm_call_1", 1, 9), 10),
            with_usage(span(4, 1, "turn_2", 20, 50), 50),
            with_usage(span(5, 4, "llm_call_2", 20, 30), 20),
            span(6, 4, "tool_spawn_agent", 30, 31),
            span(7, 6, "subagent_a", 31, 60),
            span(8, 7, "turn_1", 31, 40),
            with_usage(span(9, 8, "llm_call_1", 31, 40), 30),
        ])
    }

    #[test]
    fn a_session_a_turn_and_a_continuation_have_the_numbers_of_their_turns() {
        assert_eq!(numbers_and_times(&several()), [(1, 1, 9), (2, 20, 50)]);
        let mut of_turn = trace(vec![span(1, 0, "codex_cli_turn", 5, 9), span(2, 1, "llm_call_4", 6, 9)]);
        of_turn.spans[0].attributes.insert("codex.turn", Value::from(3_u64));
        assert_eq!(numbers_and_times(&of_turn), [(3, 5, 9)]);
        let continued = vec![span(1, 0, "codex_cli_session", 0, 9), span(2, 1, "turn_7", 1, 9)];
        assert_eq!(numbers_and_times(&trace(continued)), [(7, 1, 9)]);
    }

    #[test]
    fn the_only_turn_of_a_session_lasts_as_long_as_codex_worked() {
        // The recorded duration, then begin and end of the turn: the steps are from 10 to 20, the session from 0 to 30.
        for (active, expected) in
            [(None, (10, 30)), (Some(25), (5, 30)), (Some(12), (10, 22)), (Some(99), (0, 30))]
        {
            let spans = vec![
                span(1, 0, "codex_cli_session", 0, 30),
                span(2, 1, "llm_call_1", 10, 12),
                span(3, 1, "tool_a", 12, 20),
            ];
            let mut trace = trace(spans);
            if let Some(active) = active {
                trace.spans[0].attributes.insert("codex.active_ms", Value::from(active * 1_000_u64));
            }
            assert_eq!(numbers_and_times(&trace), [(1, expected.0, expected.1)], "{active:?}");
        }
    }

    #[test]
    fn the_trace_of_a_turn_has_its_spans_and_its_tokens() {
        let turn = only_turn(several(), 2).unwrap();
        let names: Vec<&str> = turn.spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["turn_2", "llm_call_2", "tool_spawn_agent", "subagent_a", "turn_1", "llm_call_1"]);
        assert_eq!((turn.check_tree(), turn.spans[0].parent), (Ok(()), None));
        assert_eq!(turn.metadata["mlflow.trace.tokenUsage"], r#"{"input_tokens":50,"output_tokens":2}"#);
        assert_eq!(turn.metadata["mlflow.trace.cost"], r#"{"total_cost":1.0}"#);
        assert_eq!(numbers_and_times(&turn), [(2, 20, 50)], "the turn of a turn is itself");
        assert_eq!(only_turn(turn.clone(), 2).unwrap(), turn);
        let error = only_turn(several(), 3).unwrap_err();
        assert!(error.starts_with("there is no turn 3: the trace has 2 turns\n"), "{error}");
    }
}
