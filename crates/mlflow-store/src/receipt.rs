//! What a target took of a trace, so that the next delivery sends only what is new.

use crate::ids::SpanId;
use crate::target::Target;
use crate::trace::{Span, Trace};
use common::printable::hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub target: Target,
    /// The experiment that holds the trace.
    pub experiment_id: String,
    pub delivered_at: Timestamp,
    /// Each span that the target has, with the digest of what was sent.
    pub spans: BTreeMap<SpanId, String>,
    /// The digest of everything but the spans. None in receipts of older versions, which did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// Number of redacted secrets, by rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<String, u64>,
    /// The target has archived the trace and takes no more of it; the session continues in another trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
}

impl Receipt {
    /// A receipt for all of these spans.
    pub fn from_spans(
        target: Target,
        experiment_id: String,
        delivered_at: Timestamp,
        spans: &[Span],
    ) -> Receipt {
        let spans = spans.iter().map(|span| (span.id, span_digest(span))).collect();
        Receipt {
            target,
            experiment_id,
            delivered_at,
            spans,
            info: None,
            redactions: BTreeMap::new(),
            archived: false,
        }
    }

    /// A receipt for the whole trace.
    pub fn from_trace(
        target: Target,
        experiment_id: String,
        delivered_at: Timestamp,
        trace: &Trace,
    ) -> Receipt {
        let spans = Receipt::from_spans(target, experiment_id, delivered_at, &trace.spans);
        Receipt { info: Some(info_digest(trace)), redactions: trace.redactions(), ..spans }
    }

    /// Whether the target took exactly this trace; a target that keeps each span once: whether it took all of its spans,
    /// in whatever form.
    pub fn holds_all(&self, trace: &Trace) -> bool {
        if self.target.is_append_only() {
            return trace.spans.iter().all(|span| self.spans.contains_key(&span.id));
        }
        self.info.as_ref().is_some_and(|sent| *sent == info_digest(trace))
            && self.spans.len() == trace.spans.len()
            && trace.spans.iter().all(|span| self.holds(span))
    }

    /// Whether the target took the span in exactly this form.
    pub fn holds(&self, span: &Span) -> bool {
        self.spans.get(&span.id).is_some_and(|sent| *sent == span_digest(span))
    }
}

/// As receipts keep it.
pub fn span_digest(span: &Span) -> String {
    digest_of(span)
}

fn info_digest(trace: &Trace) -> String {
    let Trace { id, name, state, started_at, ended_at, .. } = trace;
    let Trace { request_preview, response_preview, metadata, tags, .. } = trace;
    digest_of(&(id, name, state, started_at, ended_at, request_preview, response_preview, metadata, tags))
}

/// The first 8 bytes of the JSON's SHA-256, in hex: enough to detect a change.
fn digest_of(what: &impl Serialize) -> String {
    let json = serde_json::to_vec(what).expect("values with text keys always serialize");
    hex(&Sha256::digest(json)[..8])
}
