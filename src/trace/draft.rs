//! Spans of a trace under construction.
//!
//! A trace that is built again has only outlines of spans that cannot have changed. So an update costs what changed, not
//! what the session has grown to.

use super::attributes::COUNTS;
use common::json::value::{Map, Value};
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// A span, or the outline of one: what the spans around it depend on.
pub(super) struct Draft {
    span: Span,
    is_outline: bool,
}

impl Draft {
    /// Name, status, inputs, outputs and events are left out. `counts`: those attributes that are added up.
    pub(super) fn outline(
        (id, parent): (SpanId, SpanId),
        span_type: SpanType,
        (started_at, ended_at): (Timestamp, Timestamp),
        counts: Map,
    ) -> Draft {
        let span = Span {
            id,
            parent: Some(parent),
            name: String::new(),
            span_type,
            status: SpanStatus::Unset,
            started_at,
            ended_at,
            inputs: Value::Null,
            outputs: Value::Null,
            attributes: counts,
            events: Vec::new(),
        };
        Draft { span, is_outline: true }
    }

    /// For changes of several fields at once.
    pub(super) fn span_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

impl From<Span> for Draft {
    fn from(span: Span) -> Draft {
        Draft { span, is_outline: false }
    }
}

impl Deref for Draft {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

/// A trace without the spans that are as they were in the build before.
#[derive(Debug)]
pub struct PartialTrace {
    /// Its spans are those that were built.
    pub trace: Trace,
    /// The outlines of all others.
    pub unchanged: Vec<(SpanId, OutlinePrint)>,
}

/// A hash of a span's parent, times and token counts. Other spans may change them when the span's own step or turn does not
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlinePrint(u64);

impl OutlinePrint {
    pub fn of(span: &Span) -> OutlinePrint {
        let mut hasher = DefaultHasher::new();
        (span.parent, span.started_at, span.ended_at).hash(&mut hasher);
        COUNTS.map(|count| span.attributes.get(count)).hash(&mut hasher);
        OutlinePrint(hasher.finish())
    }
}

impl PartialTrace {
    /// `trace`: without spans.
    pub(super) fn new(trace: Trace, drafts: Vec<Draft>) -> PartialTrace {
        let mut unchanged = Vec::new();
        let built = |Draft { span, is_outline }| {
            if is_outline {
                unchanged.push((span.id, OutlinePrint::of(&span)));
            }
            (!is_outline).then_some(span)
        };
        // The spans keep the memory of the drafts.
        let spans = drafts.into_iter().filter_map(built).collect();
        PartialTrace { trace: Trace { spans, ..trace }, unchanged }
    }

    pub fn is_whole(&self) -> bool {
        self.unchanged.is_empty()
    }

    /// How many spans the trace has.
    pub fn span_count(&self) -> usize {
        self.trace.spans.len() + self.unchanged.len()
    }
}
