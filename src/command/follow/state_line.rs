//! The state of a session in one line: its id, what its last turn does, tokens, cost and time.

use super::live_session::View;
use crate::command::text_layout::{Colours, GOOD, NAME, QUIET};
use crate::command::tree::{duration, is_running, running_for, status, totals};
use codex_session::thread::ThreadId;
use console::measure_text_width;
use jiff::Timestamp;
use mlflow_store::trace::{Span, SpanType};

/// Between two facts.
const JOINT: &str = " · ";

/// A turn of the session itself, not of a sub-agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'v> {
    pub(super) number: usize,
    /// Its beginning and its end.
    pub(super) times: (Timestamp, Timestamp),
    /// The root span in a session with one turn.
    pub(super) span: &'v Span,
}

pub(super) fn turns(view: &View) -> Vec<Turn<'_>> {
    let Some(root) = view.trace.spans.first() else { return Vec::new() };
    let turn = |span: &'_ Span| {
        Some((span.name.strip_prefix("turn_")?.parse::<usize>().ok()?, span.parent? == root.id))
    };
    let spans = view.trace.spans.iter().filter(|span| span.span_type == SpanType::Agent);
    let turns: Vec<Turn> = spans
        .filter_map(|span| match turn(span)? {
            (number, true) => Some(Turn { number, times: (span.started_at, span.ended_at), span }),
            _ => None,
        })
        .collect();
    if turns.is_empty() { vec![Turn { number: 1, times: view.first_turn, span: root }] } else { turns }
}

/// The facts, the most important first. `now` is None when the session is over.
pub(super) fn facts(
    thread: Option<&ThreadId>,
    view: Option<&View>,
    now: Option<Timestamp>,
    colours: Colours,
) -> Vec<String> {
    let id = colours.paint(NAME, thread.map_or("a launch", ThreadId::as_str));
    let (Some(view), Some(root)) = (view, view.and_then(|view| view.trace.spans.first())) else {
        let state = if now.is_some() { "waits for its first prompt" } else { "has no turn" };
        return vec![format!("{id}  {}", colours.paint(QUIET, state))];
    };
    let turns = turns(view);
    let last = turns.last();
    let state = match (now, last) {
        (Some(now), Some(turn)) if is_running(turn.span) => {
            colours.paint(GOOD, &running_for(turn.times.0, now))
        }
        _ => status(&view.trace, root, colours),
    };
    let turn = match last {
        Some(Turn { number: number @ 2.., .. }) => {
            format!("{}  ", colours.paint(QUIET, &format!("turn {number}")))
        }
        _ => String::new(),
    };
    let lasted = duration(root.started_at, now.unwrap_or(root.ended_at));
    let rest = totals(&view.trace).into_iter().chain([lasted]).map(|fact| colours.paint(QUIET, &fact));
    std::iter::once(format!("{id}  {turn}{state}")).chain(rest).collect()
}

/// In one line, or in as many as the width needs.
pub(super) fn lines(facts: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        let width = measure_text_width(JOINT) + measure_text_width(fact);
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + width <= columns => {
                line.push_str(JOINT);
                line.push_str(fact);
            }
            _ => lines.push(fact.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_share_a_line_where_the_width_allows_it() {
        let facts = ["id  running 1 s", "\u{1b}[2m12 in, 3 out\u{1b}[0m", "漢字"].map(str::to_owned);
        let table = [
            (80, vec![facts.join(JOINT)]),
            (32, vec![facts[..2].join(JOINT), facts[2].clone()]),
            (31, vec![facts[..2].join(JOINT), facts[2].clone()]),
            (29, vec![facts[0].clone(), facts[1..].join(JOINT)]),
            (1, facts.to_vec()),
        ];
        for (columns, expected) in table {
            assert_eq!(lines(&facts, columns), expected, "{columns}");
        }
    }
}
