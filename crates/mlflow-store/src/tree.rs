//! Checks that the spans of a trace form a tree that MLflow can walk.

use crate::ids::SpanId;
use crate::trace::Span;
use std::collections::HashMap;

/// Why a trace must not be sent. MLflow 3.17 walks the spans without a guard: a span that is its own parent
/// makes it loop until memory is exhausted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    #[error("a span's id is zero")]
    ZeroId,
    #[error("span {0} occurs twice")]
    Twice(SpanId),
    #[error("span {0} is its own parent")]
    OwnParent(SpanId),
    #[error("the parent of span {0} is missing")]
    NoParent(SpanId),
    #[error("span {0} is its own ancestor")]
    Cycle(SpanId),
}

/// Ids must be unique and not zero, every parent must exist, and no span may be its own ancestor.
pub fn check(spans: &[Span]) -> Result<(), BadTree> {
    let mut parents = HashMap::with_capacity(spans.len());
    for span in spans {
        if span.id == SpanId([0; 8]) {
            return Err(BadTree::ZeroId);
        }
        if span.parent == Some(span.id) {
            return Err(BadTree::OwnParent(span.id));
        }
        if parents.insert(span.id, span.parent).is_some() {
            return Err(BadTree::Twice(span.id));
        }
    }
    // The walk that first reached each span; a walk that meets itself has found a cycle.
    let mut walks: HashMap<SpanId, SpanId> = HashMap::with_capacity(spans.len());
    for span in spans {
        let mut at = span.id;
        while let Some(parent) = parents.get(&at).copied().flatten() {
            walks.insert(at, span.id);
            if !parents.contains_key(&parent) {
                return Err(BadTree::NoParent(at));
            }
            match walks.get(&parent) {
                Some(walk) if *walk == span.id => return Err(BadTree::Cycle(parent)),
                Some(_) => break,
                None => at = parent,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{SpanStatus, SpanType};
    use common::json::value::Map;
    use common::json::value::Value;
    use jiff::Timestamp;

    fn id(number: u8) -> SpanId {
        SpanId([0, 0, 0, 0, 0, 0, 0, number])
    }

    fn spans(tree: &[(u8, Option<u8>)]) -> Vec<Span> {
        tree.iter()
            .map(|(number, parent)| Span {
                id: id(*number),
                parent: parent.map(id),
                name: String::new(),
                span_type: SpanType::Chain,
                status: SpanStatus::Unset,
                started_at: Timestamp::UNIX_EPOCH,
                ended_at: Timestamp::UNIX_EPOCH,
                inputs: Value::Null,
                outputs: Value::Null,
                attributes: Map::new(),
                events: Vec::new(),
            })
            .collect()
    }

    #[test]
    fn only_a_tree_passes() {
        type Edges<'a> = &'a [(u8, Option<u8>)];
        let cases: &[(Edges, Result<(), BadTree>)] = &[
            (&[], Ok(())),
            (&[(1, None)], Ok(())),
            (&[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(2))], Ok(())),
            (&[(3, Some(2)), (2, Some(1)), (4, Some(3)), (1, None)], Ok(())),
            (&[(0, None)], Err(BadTree::ZeroId)),
            (&[(1, None), (1, None)], Err(BadTree::Twice(id(1)))),
            (&[(1, Some(1))], Err(BadTree::OwnParent(id(1)))),
            (&[(1, None), (2, Some(9))], Err(BadTree::NoParent(id(2)))),
            (&[(1, None), (2, Some(3)), (3, Some(2))], Err(BadTree::Cycle(id(2)))),
            (
                &[(1, None), (5, Some(2)), (2, Some(3)), (3, Some(4)), (4, Some(2))],
                Err(BadTree::Cycle(id(2))),
            ),
        ];
        for (tree, expected) in cases {
            assert_eq!(&check(&spans(tree)), expected, "{tree:?}");
        }
    }
}
