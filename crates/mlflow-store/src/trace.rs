//! A trace as it is stored: spans, times, and the keys that MLflow reads.

use crate::ids::{SpanId, TraceId};
use crate::mlflow_keys::{CONTENT, REDACTIONS};
use common::json::value::{Map, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Characters of a preview: the width of MLflow's columns for previews.
pub const PREVIEW_CHARACTERS: usize = 1000;

/// Characters of a program's output that an exception event keeps: enough for most error messages.
pub const LAST_WORDS_CHARACTERS: usize = 1000;

/// A trace for any exporter. Metadata and tags already have MLflow's keys (`mlflow.trace.session` and so on); each
/// exporter decides only where its store keeps them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    pub id: TraceId,
    pub name: String,
    pub state: TraceState,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// At most `PREVIEW_CHARACTERS`, once redacted.
    pub request_preview: Option<String>,
    /// At most `PREVIEW_CHARACTERS`, once redacted.
    pub response_preview: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    /// The root first, every parent before its children.
    pub spans: Vec<Span>,
    /// A collector keeps it as such; MLflow's spans have links to it.
    #[serde(default, skip_serializing_if = "TraceContext::is_empty")]
    pub context: TraceContext,
}

/// The spans of other traces to which a trace belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The span that started Codex: the root is its child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<SpanContext>,
    /// The root of the session's turn before, where each turn has a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<SpanContext>,
    /// The user's tags, until redaction makes them tags of the trace: it removes secrets from them, and keeps them where it
    /// keeps figures only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A span of another trace, as W3C's Trace Context names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanContext {
    pub trace: TraceId,
    pub span: SpanId,
    /// The text of `tracestate`; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
}

impl TraceContext {
    fn is_empty(&self) -> bool {
        *self == TraceContext::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TraceState {
    Ok,
    Error,
    InProgress,
}

#[derive(Clone, Debug, PartialEq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub id: SpanId,
    /// None for the root only.
    pub parent: Option<SpanId>,
    pub name: String,
    #[serde(rename = "type")]
    pub span_type: SpanType,
    pub status: SpanStatus,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub inputs: Value,
    pub outputs: Value,
    pub attributes: Map,
    pub events: Vec<SpanEvent>,
}

/// Those of MLflow's span types that an agent's session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SpanType {
    Agent,
    Llm,
    Tool,
    Chain,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanStatus {
    /// Unknown, or still running.
    Unset,
    Ok,
    Error {
        message: String,
    },
}

/// OpenTelemetry's span event. MLflow's page shows events named `exception`.
#[derive(Clone, Debug, PartialEq, Hash, Serialize, Deserialize)]
pub struct SpanEvent {
    pub name: String,
    pub at: Timestamp,
    pub attributes: Map,
}

/// Why a trace must not be sent. MLflow 3.17 walks the spans without a guard: a span that is its own parent
/// makes it loop until memory is exhausted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("spans make no tree: {0}")]
pub struct BadTree(String);

impl Trace {
    /// Whether it holds metadata only. The target then deletes older content of the same trace.
    pub fn is_metadata_only(&self) -> bool {
        self.root().is_some_and(|root| root.attributes.contains_key(CONTENT))
    }

    /// The spans of other traces to which a span is linked: the root is linked to its caller.
    pub(crate) fn links_of(&self, span: &Span) -> impl Iterator<Item = &SpanContext> {
        self.context.caller.iter().filter(move |_| span.parent.is_none())
    }

    /// The root. None in a part of a trace that lacks it.
    pub fn root(&self) -> Option<&Span> {
        self.spans.iter().find(|span| span.parent.is_none())
    }

    /// As `root`.
    pub fn root_mut(&mut self) -> Option<&mut Span> {
        self.spans.first_mut().filter(|first| first.parent.is_none())
    }

    /// As `check_tree`, for some of a trace's spans: parents may be missing, so a longer cycle is not found.
    pub fn check_part(&self) -> Result<(), BadTree> {
        self.parents().map(drop)
    }

    /// Each span's parent. Ids must be unique and not zero, and no span may be its own parent.
    fn parents(&self) -> Result<HashMap<SpanId, Option<SpanId>>, BadTree> {
        let bad = |text: String| Err(BadTree(text));
        let mut parents = HashMap::with_capacity(self.spans.len());
        for Span { id, parent, .. } in &self.spans {
            if *id == SpanId([0; 8]) {
                return bad("a span's id is zero".to_owned());
            }
            if *parent == Some(*id) {
                return bad(format!("span {id} is its own parent"));
            }
            if parents.insert(*id, *parent).is_some() {
                return bad(format!("span {id} occurs twice"));
            }
        }
        Ok(parents)
    }

    /// Ids must be unique and not zero, every parent must exist, and no span may be its own ancestor.
    pub fn check_tree(&self) -> Result<(), BadTree> {
        let bad = |text: String| Err(BadTree(text));
        let parents = self.parents()?;
        // The walk that first reached each span; a walk that meets itself has found a cycle.
        let mut walks: HashMap<SpanId, SpanId> = HashMap::with_capacity(self.spans.len());
        for span in &self.spans {
            let mut at = span.id;
            while let Some(parent) = parents.get(&at).copied().flatten() {
                walks.insert(at, span.id);
                if !parents.contains_key(&parent) {
                    return bad(format!("the parent of span {at} is missing"));
                }
                match walks.get(&parent) {
                    Some(walk) if *walk == span.id => {
                        return bad(format!("span {parent} is its own ancestor"));
                    }
                    Some(_) => break,
                    None => at = parent,
                }
            }
        }
        Ok(())
    }

    /// Removed secrets per rule; empty where no rule found anything.
    pub fn redactions(&self) -> BTreeMap<String, u64> {
        self.metadata.get(REDACTIONS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }
}

impl TraceState {
    /// In progress for any name but MLflow's of an end.
    pub fn from_name(name: &str) -> TraceState {
        match name {
            "OK" => TraceState::Ok,
            "ERROR" => TraceState::Error,
            _ => TraceState::InProgress,
        }
    }

    /// As MLflow spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            TraceState::Ok => "OK",
            TraceState::Error => "ERROR",
            TraceState::InProgress => "IN_PROGRESS",
        }
    }
}

impl SpanType {
    /// Whether OpenTelemetry's span kind is CLIENT, because the span waits for another service. Others are INTERNAL.
    pub fn is_client(self) -> bool {
        self == SpanType::Llm
    }

    /// As MLflow spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpanType::Agent => "AGENT",
            SpanType::Llm => "LLM",
            SpanType::Tool => "TOOL",
            SpanType::Chain => "CHAIN",
        }
    }
}

impl SpanStatus {
    /// MLflow's short name, for columns; the span's JSON has the long names.
    pub fn as_str(&self) -> &'static str {
        match self {
            SpanStatus::Unset => "UNSET",
            SpanStatus::Ok => "OK",
            SpanStatus::Error { .. } => "ERROR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::trace;

    #[test]
    fn only_a_tree_passes() {
        let id = |number: u8| SpanId([0, 0, 0, 0, 0, 0, 0, number]);
        type Edges<'a> = &'a [(u8, Option<u8>)];
        let cases: &[(Edges, Option<&str>)] = &[
            (&[], None),
            (&[(1, None)], None),
            (&[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(2))], None),
            (&[(3, Some(2)), (2, Some(1)), (4, Some(3)), (1, None)], None),
            (&[(0, None)], Some("a span's id is zero")),
            (&[(1, None), (1, None)], Some("span 0000000000000001 occurs twice")),
            (&[(1, Some(1))], Some("span 0000000000000001 is its own parent")),
            (&[(1, None), (2, Some(9))], Some("the parent of span 0000000000000002 is missing")),
            (&[(1, None), (2, Some(3)), (3, Some(2))], Some("span 0000000000000002 is its own ancestor")),
            (
                &[(1, None), (5, Some(2)), (2, Some(3)), (3, Some(4)), (4, Some(2))],
                Some("span 0000000000000002 is its own ancestor"),
            ),
        ];
        for (tree, expected) in cases {
            let mut trace = trace();
            let any = trace.spans.remove(0);
            let span = |(number, parent): &(u8, Option<u8>)| Span {
                id: id(*number),
                parent: parent.map(id),
                ..any.clone()
            };
            trace.spans = tree.iter().map(span).collect();
            let expected = expected.map_or(Ok(()), |reason| Err(BadTree(reason.to_owned())));
            assert_eq!(trace.check_tree(), expected, "{tree:?}");
        }
    }
}
