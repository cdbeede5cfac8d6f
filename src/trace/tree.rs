//! The tree of a trace's spans: times, order, and sums of tokens.

use super::attributes::COUNTS;
use super::draft::Draft;
use super::ids::span_of_key;
use common::json::text::Text;
use common::json::value::Value;
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::SpanType;
use std::collections::HashMap;

/// Fixes times and order, and adds up tokens. Input: the root first, every parent before its children.
///
/// - A parent starts no later than its first child; its own start may be inferred.
/// - The root covers all spans. Other parents may end before a child that they do not wait for, such as a sub-agent
///   or a background command.
/// - Siblings are in order of their start, each directly before its descendants.
/// - No span starts before `floor`, the creation of the session: an earlier time comes from a clock set back.
pub(super) fn settled(mut spans: Vec<Draft>, floor: Timestamp, last: Option<Timestamp>) -> Vec<Draft> {
    make_unique(&mut spans);
    for span in spans.iter_mut().map(Draft::span_mut) {
        span.started_at = span.started_at.max(floor);
        span.ended_at = span.ended_at.max(span.started_at);
        span.events.iter_mut().for_each(|event| event.at = event.at.max(span.started_at));
    }
    let places: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (span.id, at)).collect();
    let parent_of = |span: &Draft| span.parent.and_then(|parent| places.get(&parent).copied());
    let parents: Vec<Option<usize>> = spans.iter().map(parent_of).collect();
    for at in (1..spans.len()).rev() {
        if let Some(parent) = parents[at].filter(|parent| *parent < at) {
            spans[parent].started_at = spans[parent].started_at.min(spans[at].started_at);
        }
    }
    let ended_at = spans.iter().map(|span| span.ended_at).chain(last).max();
    if let (Some(root), Some(ended_at)) = (spans.first_mut(), ended_at) {
        root.ended_at = ended_at;
        root.events.iter_mut().for_each(|event| event.at = ended_at);
    }
    add_up(&mut spans, &parents);
    in_order(spans, &parents)
}

/// Gives the second of two spans with one id another id, always the same. A rewound thread may hold a call twice.
fn make_unique(spans: &mut [Draft]) {
    let mut latest: HashMap<SpanId, (SpanId, usize)> = HashMap::with_capacity(spans.len());
    for span in spans {
        if let Some((parent, _)) = span.parent.and_then(|parent| latest.get(&parent)) {
            span.parent = Some(*parent);
        }
        let (times, first) = latest.get(&span.id).map_or((1, span.id), |(_, times)| (times + 1, span.id));
        if times > 1 {
            span.id = span_of_key(&first.to_string(), &times.to_string());
        }
        latest.insert(first, (span.id, times));
    }
}

fn in_order(spans: Vec<Draft>, parents: &[Option<usize>]) -> Vec<Draft> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for (at, parent) in parents.iter().enumerate().skip(1) {
        // A span without its parent becomes a child of the root.
        children[parent.filter(|parent| *parent < at).unwrap_or(0)].push(at);
    }
    for siblings in &mut children {
        siblings.sort_by_key(|at| spans[*at].started_at);
    }
    let mut order = Vec::with_capacity(spans.len());
    let mut next = if spans.is_empty() { Vec::new() } else { vec![0] };
    while let Some(at) = next.pop() {
        order.push(at);
        next.extend(children[at].iter().rev());
    }
    if order.is_sorted() {
        // The usual case: avoids moving thousands of spans.
        return spans;
    }
    let mut spans: Vec<Option<Draft>> = spans.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| spans[at].take()).collect()
}

/// Gives each agent span the tokens of all responses below it, including those of sub-agents.
///
/// MLflow's own token attribute stays on the responses only: MLflow 3.6 to 3.14 sum it over every span.
fn add_up(spans: &mut [Draft], parents: &[Option<usize>]) {
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
        if let (Some(parent), Some(sum)) = (parents[at].filter(|parent| *parent < at), sums[at]) {
            let all: &mut [u64; 2] = sums[parent].get_or_insert_default();
            (0..2).for_each(|count| all[count] = all[count].saturating_add(sum[count]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json::value::Map;
    use mlflow_store::trace::{Span, SpanStatus};

    fn span(id: u8, parent: Option<u8>, from: i64, to: i64) -> Draft {
        let at = |second| Timestamp::from_second(second).unwrap();
        let span = Span {
            id: SpanId([id; 8]),
            parent: parent.map(|parent| SpanId([parent; 8])),
            name: id.to_string(),
            span_type: SpanType::Agent,
            status: SpanStatus::Ok,
            started_at: at(from),
            ended_at: at(to),
            inputs: Value::Null,
            outputs: Value::Null,
            attributes: Map::new(),
            events: Vec::new(),
        };
        span.into()
    }

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn nothing_begins_before_the_session_and_nothing_ends_before_it_begins() {
        let spans = vec![span(1, None, 10, 20), span(2, Some(1), 3, 4), span(3, Some(2), 5, 12)];
        let floor = Timestamp::from_second(10).unwrap();
        assert_eq!(
            names_and_times(&settled(spans, floor, None)),
            [("1", 10, 20), ("2", 10, 10), ("3", 10, 12)]
        );
    }

    fn names_and_times(spans: &[Draft]) -> Vec<(&str, i64, i64)> {
        let seconds = |span: &Draft| (span.started_at.as_second(), span.ended_at.as_second());
        spans.iter().map(|span| (&*span.name, seconds(span).0, seconds(span).1)).collect()
    }

    #[test]
    fn parents_start_with_their_first_child_and_only_the_root_ends_with_the_last() {
        let spans = vec![
            span(1, None, 10, 20),
            span(2, Some(1), 12, 14),
            span(3, Some(1), 11, 12),
            span(4, Some(2), 5, 90),
            span(5, Some(4), 6, 7),
        ];
        let expected = [("1", 5, 90), ("2", 5, 14), ("4", 5, 90), ("5", 6, 7), ("3", 11, 12)];
        assert_eq!(names_and_times(&settled(spans, EPOCH, None)), expected);
    }

    #[test]
    fn an_id_that_occurs_twice_becomes_two_with_their_own_children() {
        let twice = || {
            vec![
                span(1, None, 0, 9),
                span(2, Some(1), 1, 9),
                span(3, Some(2), 2, 9),
                span(2, Some(1), 3, 9),
                span(4, Some(2), 4, 9),
            ]
        };
        let settled = settled(twice(), EPOCH, None);
        assert_eq!(settled.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["1", "2", "3", "2", "4"]);
        assert_eq!(settled[2].parent, Some(SpanId([2; 8])));
        assert_ne!(settled[3].id, SpanId([2; 8]));
        assert_eq!(settled[4].parent, Some(settled[3].id));
        assert_eq!(settled[3].id, super::settled(twice(), EPOCH, None)[3].id);
    }

    #[test]
    fn the_root_lasts_until_the_last_line() {
        let last = Timestamp::from_second(50).ok();
        assert_eq!(names_and_times(&settled(vec![span(1, None, 10, 20)], EPOCH, last)), [("1", 10, 50)]);
        assert!(settled(Vec::new(), EPOCH, last).is_empty());
    }
}
