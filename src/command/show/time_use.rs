//! Where the time of a trace went: the model, tools, Codex itself, waiting for the user.
//!
//! The sets are unions over the whole family: sub-agents work in parallel, and their parent waits for them in a tool
//! call. Time in which any model works counts as the model's, so no time counts twice.

use super::intervals::Intervals;
use super::turn::{Turn, turns};
use common::json::value::Value;
use jiff::{SignedDuration, Timestamp};
use mlflow_store::trace::{Span, SpanType, Trace};
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;

/// A shorter pause is Codex's own.
pub(super) const SHORTEST_WAIT: SignedDuration = SignedDuration::from_secs(1);

#[derive(Debug)]
pub(super) struct TimeUse {
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// A model response of any thread.
    model: Intervals,
    /// Tool calls while no model works and a turn goes on. The wait for the user's approval is a part of a call.
    tools: Intervals,
    /// Turns of any thread.
    pub(super) working: Intervals,
    /// Before the first turn, where Codex starts up and does not wait for a prompt.
    starting: Intervals,
}

/// Milliseconds, as JSON has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    #[serde(rename = "total_ms", serialize_with = "millis")]
    pub(super) total: SignedDuration,
    #[serde(rename = "model_ms", serialize_with = "millis")]
    pub(super) model: SignedDuration,
    #[serde(rename = "tools_ms", serialize_with = "millis")]
    pub(super) tools: SignedDuration,
    /// The rest of the turns, and the start-up.
    #[serde(rename = "codex_ms", serialize_with = "millis")]
    pub(super) codex: SignedDuration,
    /// No turn goes on, and Codex does not start up.
    #[serde(rename = "waiting_ms", serialize_with = "millis")]
    pub(super) waiting: SignedDuration,
}

fn millis<S: serde::Serializer>(duration: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

impl TimeUse {
    pub(super) fn from_trace(trace: &Trace) -> TimeUse {
        let of_type = |kind: SpanType| {
            let spans = trace.spans.iter().filter(move |span| span.span_type == kind);
            Intervals::from_any(spans.map(|span| (span.started_at, span.ended_at)))
        };
        let own = turns(trace);
        let own = own.iter().map(|turn| (turn.started_at, turn.ended_at));
        let others = agent_turns(trace).map(|span| (span.started_at, span.ended_at));
        let model = of_type(SpanType::Llm);
        let working = Intervals::from_any(own.chain(others)).or(&model);
        let tools = of_type(SpanType::Tool).within(&working).without(&model);
        let root =
            trace.root().map_or((trace.started_at, trace.ended_at), |root| (root.started_at, root.ended_at));
        let (first, last) = working.ends().unwrap_or(root);
        let (started_at, ended_at) = (root.0.min(first), root.1.max(last));
        let starting = Intervals::from_any(start_up(is_of_exec(trace), started_at, first));
        TimeUse { started_at, ended_at, model, tools, working, starting }
    }

    pub(super) fn figures(&self) -> Figures {
        self.between(self.started_at, self.ended_at)
    }

    pub(super) fn of_turn(&self, turn: &Turn) -> Figures {
        self.between(turn.started_at, turn.ended_at)
    }

    fn between(&self, from: Timestamp, to: Timestamp) -> Figures {
        let to = to.max(from);
        let [model, tools, working, starting] = [&self.model, &self.tools, &self.working, &self.starting]
            .map(|times| times.passed(to) - times.passed(from));
        let total = to.duration_since(from);
        let codex = working - model - tools + starting;
        Figures { total, model, tools, codex, waiting: total - working - starting }
    }

    /// How long no turn went on directly before `at`.
    pub(super) fn waited_before(&self, at: Timestamp) -> SignedDuration {
        at.duration_since(self.working.last_end(at).unwrap_or(self.started_at.min(at)))
    }

    pub(super) fn to_json(&self, trace: &Trace) -> serde_json::Value {
        let with = |figures: Figures, more: serde_json::Value| {
            let mut fields = more;
            let figures = serde_json::to_value(figures).expect("numbers serialize");
            if let (Some(fields), serde_json::Value::Object(figures)) = (fields.as_object_mut(), figures) {
                fields.extend(figures);
            }
            fields
        };
        let turns = turns(trace)
            .iter()
            .map(|turn| {
                let times = json!({
                    "number": turn.number,
                    "started_at": turn.started_at,
                    "ended_at": turn.ended_at,
                });
                with(self.of_turn(turn), times)
            })
            .collect::<Vec<_>>();
        with(
            self.figures(),
            json!({
                "trace_id": trace.id.to_string(),
                "started_at": self.started_at,
                "ended_at": self.ended_at,
                "turns": turns,
            }),
        )
    }
}

/// What is before the first turn, where it is Codex's own. `codex exec` has its prompt when the session begins.
/// The other programs of Codex wait for a prompt, unless the pause is too short for one.
fn start_up(is_exec: bool, began: Timestamp, first_turn: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let is_short = first_turn.duration_since(began) < SHORTEST_WAIT;
    (is_exec || is_short).then_some((began, first_turn))
}

fn is_of_exec(trace: &Trace) -> bool {
    let originator = trace.root().and_then(|root| root.attributes.get("codex.originator"));
    originator.and_then(Value::as_str) == Some("codex_exec")
}

/// Spans of sub-agents and of their turns that have steps. A sub-agent with several turns has none itself.
fn agent_turns(trace: &Trace) -> impl Iterator<Item = &Span> {
    let steps = trace.spans.iter().filter(|span| span.span_type != SpanType::Agent);
    let with_steps: HashSet<_> = steps.filter_map(|span| span.parent).collect();
    trace.spans.iter().filter(move |span| {
        span.span_type == SpanType::Agent && span.parent.is_some() && with_steps.contains(&span.id)
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_trace::{span, trace};
    use super::*;

    /// Total, model, tools, Codex, waiting in seconds.
    fn divided(figures: Figures) -> [i64; 5] {
        let Figures { total, model, tools, codex, waiting } = figures;
        [total, model, tools, codex, waiting].map(|time| time.as_secs())
    }

    #[test]
    fn no_time_counts_twice() {
        let root = || span(1, 0, "codex_cli_session", 0, 100);
        let turn = |id, number: u8, from, to| span(id, 1, &format!("turn_{number}"), from, to);
        let table = [
            ("nothing but turns", vec![root(), turn(2, 1, 10, 20), turn(3, 2, 90, 100)], [100, 0, 0, 20, 80]),
            (
                "a tool while the model works",
                vec![
                    root(),
                    turn(2, 1, 10, 30),
                    span(3, 2, "llm_call_1", 10, 20),
                    span(4, 2, "tool_a", 15, 25),
                ],
                [100, 10, 5, 5, 80],
            ),
            (
                "a command that runs on in the background",
                vec![root(), turn(2, 1, 10, 30), span(4, 2, "tool_a", 20, 80), turn(5, 2, 90, 100)],
                [100, 0, 10, 20, 70],
            ),
            (
                "sub-agents in parallel, and the call that waits for them",
                vec![
                    root(),
                    turn(2, 1, 0, 50),
                    span(3, 2, "tool_wait_agent", 10, 40),
                    span(4, 3, "subagent_a", 10, 40),
                    span(5, 4, "llm_call_1", 10, 30),
                    span(6, 3, "subagent_b", 10, 40),
                    span(7, 6, "llm_call_1", 20, 35),
                ],
                [100, 25, 5, 20, 50],
            ),
            (
                "a sub-agent that outlives the turn and the session",
                vec![
                    root(),
                    turn(2, 1, 0, 10),
                    span(3, 2, "subagent_a", 5, 120),
                    span(4, 3, "llm_call_1", 5, 120),
                ],
                [120, 115, 0, 5, 0],
            ),
            (
                "a span before its parent",
                vec![root(), turn(2, 1, 50, 60), span(3, 2, "llm_call_1", 40, 55)],
                [100, 15, 0, 5, 80],
            ),
            ("no time at all", vec![span(1, 0, "codex_cli_session", 5, 5)], [0; 5]),
        ];
        for (what, spans, expected) in table {
            assert_eq!(divided(TimeUse::from_trace(&trace(spans)).figures()), expected, "{what}");
        }
    }

    #[test]
    fn the_time_before_the_first_turn_is_the_start_up_or_a_wait() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        for (is_exec, first_turn, is_start_up) in [
            (true, 47, true),
            (true, 5_000, true),
            (false, 47, true),
            (false, 999, true),
            (false, 1_000, false),
            (false, 600_000, false),
        ] {
            let expected = is_start_up.then_some((at(0), at(first_turn)));
            assert_eq!(start_up(is_exec, at(0), at(first_turn)), expected, "{is_exec} {first_turn}");
        }
        for (originator, expected) in
            [("codex_exec", [100, 0, 0, 30, 70]), ("codex_cli_rs", [100, 0, 0, 20, 80])]
        {
            let mut root = span(1, 0, "codex_cli_session", 0, 100);
            root.attributes.insert("codex.originator", Value::from(json!(originator)));
            let spans = vec![root, span(2, 1, "turn_1", 10, 20), span(3, 1, "turn_2", 90, 100)];
            let uses = TimeUse::from_trace(&trace(spans));
            assert_eq!(divided(uses.figures()), expected, "{originator}");
            let turn = uses.between(at(10_000), at(20_000));
            assert_eq!(divided(turn), [10, 0, 0, 10, 0], "{originator}");
        }
    }

    #[test]
    fn the_wait_before_a_turn_ends_with_the_turn() {
        let spans = vec![
            span(1, 0, "codex_cli_session", 0, 100),
            span(2, 1, "turn_1", 10, 20),
            span(3, 1, "turn_2", 60, 70),
            span(4, 1, "turn_3", 70, 80),
        ];
        let uses = TimeUse::from_trace(&trace(spans));
        let waited = |second| uses.waited_before(Timestamp::from_second(second).unwrap()).as_secs();
        assert_eq!([10, 15, 60, 70].map(waited), [10, 0, 40, 0]);
    }
}
