//! A trace as it is stored: spans, times, and the keys that MLflow reads.

use crate::ids::{SpanId, TraceId};
use crate::keys::{CONTENT, REDACTIONS};
use common::json::value::{Map, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TraceState {
    Ok,
    Error,
    InProgress,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SpanType {
    Agent,
    Llm,
    Tool,
    Chain,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    pub name: String,
    pub at: Timestamp,
    pub attributes: Map,
}

impl Trace {
    /// Whether it holds metadata only. The target then deletes older content of the same trace.
    pub fn is_metadata_only(&self) -> bool {
        self.spans.first().is_some_and(|root| root.attributes.contains_key(CONTENT))
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
