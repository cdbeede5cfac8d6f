//! The spans of a session as lines of a log: each one once, when it has ended.

use super::live_session::View;
use super::state_line::turns;
use crate::command::tree::{self, TreeStyle, is_running};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// What a line shows. A session's first turn is its root span until a second one begins, so a turn is known by its
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ended {
    Turn(usize),
    Span(SpanId),
}

/// Remembers what was printed.
#[derive(Debug, Default)]
pub(super) struct EndedSpans {
    printed: HashSet<Ended>,
}

impl EndedSpans {
    /// The lines of the spans that ended since the last call, in the order of their ends. The root span has none: its
    /// end is the end of the session.
    pub(super) fn take(&mut self, view: &View, style: TreeStyle) -> Vec<String> {
        let turns = turns(view);
        let ancestry = Ancestry::new(&view.trace);
        let is_turn: HashSet<SpanId> = turns.iter().map(|turn| turn.span.id).collect();
        let of_turn = turns.iter().map(|turn| (Ended::Turn(turn.number), turn.times, turn.span));
        let others =
            view.trace.spans.iter().filter(|span| span.parent.is_some() && !is_turn.contains(&span.id));
        let others = others.map(|span| (Ended::Span(span.id), (span.started_at, span.ended_at), span));
        let mut new: Vec<_> = of_turn
            .chain(others)
            .filter(|(ended, _, span)| !self.printed.contains(ended) && !ancestry.is_open(span))
            .collect();
        // What is within a span comes before it.
        new.sort_by_key(|(ended, times, span)| {
            (times.1, matches!(ended, Ended::Turn(_)), Reverse(ancestry.above(span).count()))
        });
        self.printed.extend(new.iter().map(|(ended, ..)| *ended));
        let line = |(ended, times, span): (Ended, (Timestamp, Timestamp), &Span)| {
            let name = match ended {
                Ended::Turn(number) => format!("turn_{number}"),
                Ended::Span(_) => ancestry.path(span, &is_turn),
            };
            let at = clock(times.1, &TimeZone::system());
            format!("{at}  {}", tree::line_with_times(&name, times, span, style))
        };
        new.into_iter().map(line).collect()
    }
}

/// The time of day, in the user's time zone.
pub(super) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// The spans above a span.
struct Ancestry<'t> {
    spans: HashMap<SpanId, &'t Span>,
    /// The last response below each parent.
    last_responses: HashMap<SpanId, SpanId>,
}

impl<'t> Ancestry<'t> {
    fn new(trace: &'t Trace) -> Ancestry<'t> {
        let responses = trace.spans.iter().filter(|span| span.span_type == SpanType::Llm);
        Ancestry {
            spans: trace.spans.iter().map(|span| (span.id, span)).collect(),
            last_responses: responses.filter_map(|span| Some((span.parent?, span.id))).collect(),
        }
    }

    /// From the parent upward. The trace has no circle.
    fn above(&self, span: &Span) -> impl Iterator<Item = &'t Span> {
        let parent = |span: &Span| self.spans.get(&span.parent?).copied();
        std::iter::successors(parent(span), move |span| parent(span))
    }

    /// Whether it may still change: a turn or call that runs, or the last response of a turn that runs while it has no
    /// usage.
    fn is_open(&self, span: &Span) -> bool {
        let is_last = || span.parent.and_then(|parent| self.last_responses.get(&parent)) == Some(&span.id);
        let is_response = span.span_type == SpanType::Llm && span.status == SpanStatus::Unset;
        is_running(span) || (is_response && is_last() && self.above(span).next().is_some_and(is_running))
    }

    /// Its name, after those of the sub-agents and reviews that it is within.
    fn path(&self, span: &Span, turns: &HashSet<SpanId>) -> String {
        let is_agent = |above: &&Span| {
            above.span_type == SpanType::Agent && above.parent.is_some() && !turns.contains(&above.id)
        };
        let mut names: Vec<&str> = self.above(span).filter(is_agent).map(|above| &*above.name).collect();
        names.reverse();
        names.push(&span.name);
        names.join(" › ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use crate::command::text_layout::Colours;
    use common::json::value::{Map, Value};
    use mlflow_store::ids::TraceId;
    use mlflow_store::trace::TraceState;
    use std::path::PathBuf;

    const RUNS: SpanStatus = SpanStatus::Unset;

    /// `id` and `parent` are numbers; the times are seconds after 10:00.
    fn span(id: u8, parent: u8, name: &str, status: SpanStatus, to: i64) -> Span {
        let at = |second: i64| Timestamp::from_second(36_000 + second).unwrap();
        let span_type = match name.split('_').next() {
            Some("llm") => SpanType::Llm,
            Some("tool") => SpanType::Tool,
            _ => SpanType::Agent,
        };
        Span {
            id: SpanId([id; 8]),
            parent: (parent > 0).then_some(SpanId([parent; 8])),
            name: name.to_owned(),
            span_type,
            status,
            started_at: at(0),
            ended_at: at(to),
            inputs: Value::Null,
            outputs: Value::Null,
            attributes: Map::new(),
            events: Vec::new(),
        }
    }

    fn view(spans: Vec<Span>) -> View {
        let (started_at, ended_at) = (spans[0].started_at, spans[0].ended_at);
        let trace = Trace {
            id: TraceId([1; 16]),
            name: String::new(),
            state: TraceState::InProgress,
            started_at,
            ended_at,
            request_preview: None,
            response_preview: None,
            context: Default::default(),
            metadata: [].into(),
            tags: [].into(),
            spans,
        };
        View { trace, first_turn: (started_at, ended_at), rollout: PathBuf::new() }
    }

    #[test]
    fn each_span_has_one_line_when_it_has_ended() {
        let style = TreeStyle::of_a_stored_trace(Colours::choose(&World::default()));
        let mut ended = EndedSpans::default();
        let mut take = |spans: Vec<Span>| {
            let lines = ended.take(&view(spans), style);
            lines
                .iter()
                .map(|line| line.split("  ").nth(1).unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        let ok = || SpanStatus::Ok;
        // A response without a usage may go on while it is the last one of a turn that runs.
        let one = |status: SpanStatus, tool: SpanStatus| {
            vec![
                span(1, 0, "root", status, 9),
                span(2, 1, "llm_call_1", RUNS, 1),
                span(3, 1, "tool_a", tool, 3),
            ]
        };
        assert_eq!(take(one(RUNS, RUNS)), [""; 0]);
        let next = |tool: SpanStatus| [one(RUNS, tool), vec![span(4, 1, "llm_call_2", ok(), 2)]].concat();
        assert_eq!(take(next(RUNS)), ["llm_call_1", "llm_call_2"]);
        assert_eq!(take(next(ok())), ["tool_a"]);
        assert_eq!(take(next(ok())), [""; 0]);
        let done = [one(ok(), ok()), vec![span(4, 1, "llm_call_2", ok(), 2)]].concat();
        assert_eq!(take(done), ["turn_1"], "the root span is the only turn");
        // The second turn begins: the first one gets a span of its own.
        let second = vec![
            span(1, 0, "root", RUNS, 20),
            span(5, 1, "turn_1", ok(), 9),
            span(2, 5, "llm_call_1", ok(), 1),
            span(6, 1, "turn_2", RUNS, 20),
            span(7, 6, "tool_b", ok(), 18),
            span(8, 7, "subagent_c", ok(), 18),
            span(9, 8, "turn_1", ok(), 18),
            span(10, 9, "llm_call_1", ok(), 15),
        ];
        assert_eq!(
            take(second),
            ["subagent_c › turn_1 › llm_call_1", "subagent_c › turn_1", "subagent_c", "tool_b"]
        );
    }

    #[test]
    fn a_line_begins_with_the_time_of_day_where_the_user_is() {
        let at = "2026-11-29T03:04:05.9Z".parse().unwrap();
        assert_eq!(clock(at, &TimeZone::UTC), "03:04:05");
        assert_eq!(clock(at, &TimeZone::fixed(jiff::tz::offset(1))), "04:04:05");
    }
}
