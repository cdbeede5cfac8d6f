//! What a place took of a trace, so that the next delivery sends only what is new.

use crate::config::target::Target;
use crate::trace::ids::SpanId;
use crate::trace::model::{Span, Trace};
use crate::trace::redact;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub target: Target,
    /// The experiment that the trace was put into.
    pub experiment_id: String,
    pub delivered_at: Timestamp,
    /// Each span that is there, and the digest of what was sent of it.
    pub spans: BTreeMap<SpanId, String>,
    /// The digest of all that is no span. None in receipts of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// How many secrets were taken out of it, by rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<String, u64>,
    /// The place has moved the trace away and takes no more of it: what it lacks is in another trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
}

impl Receipt {
    /// A receipt for all of these spans.
    pub fn of(target: Target, experiment_id: String, delivered_at: Timestamp, spans: &[Span]) -> Receipt {
        let spans = spans.iter().map(|span| (span.id, digest(span))).collect();
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
    pub fn of_trace(
        target: Target,
        experiment_id: String,
        delivered_at: Timestamp,
        trace: &Trace,
    ) -> Receipt {
        let spans = Receipt::of(target, experiment_id, delivered_at, &trace.spans);
        Receipt { info: Some(info_digest(trace)), redactions: redact::counts_of(trace), ..spans }
    }

    /// Whether exactly this trace was sent.
    pub fn holds_all(&self, trace: &Trace) -> bool {
        self.info.as_ref().is_some_and(|sent| *sent == info_digest(trace))
            && self.spans.len() == trace.spans.len()
            && trace.spans.iter().all(|span| self.holds(span))
    }

    /// Whether exactly this was sent of the span.
    pub fn holds(&self, span: &Span) -> bool {
        self.spans.get(&span.id).is_some_and(|sent| *sent == digest(span))
    }
}

fn digest(span: &Span) -> String {
    digest_of(span)
}

fn info_digest(trace: &Trace) -> String {
    let Trace { id, name, state, started_at, ended_at, .. } = trace;
    let Trace { request_preview, response_preview, metadata, tags, .. } = trace;
    digest_of(&(id, name, state, started_at, ended_at, request_preview, response_preview, metadata, tags))
}

/// The first 8 bytes of the SHA-256 of the JSON: enough to tell one version of a thing from the next.
fn digest_of(what: &impl Serialize) -> String {
    let json = serde_json::to_vec(what).expect("values with text keys always serialize");
    Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
