//! What a place took of a trace, so that the next delivery sends only what is new.

use crate::config::target::Target;
use crate::trace::ids::SpanId;
use crate::trace::model::Span;
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
}

impl Receipt {
    /// A receipt for all of these spans.
    pub fn of(target: Target, experiment_id: String, delivered_at: Timestamp, spans: &[Span]) -> Receipt {
        let spans = spans.iter().map(|span| (span.id, digest(span))).collect();
        Receipt { target, experiment_id, delivered_at, spans }
    }

    /// Whether exactly this was sent of the span.
    pub fn holds(&self, span: &Span) -> bool {
        self.spans.get(&span.id).is_some_and(|sent| *sent == digest(span))
    }
}

/// The first 8 bytes of the SHA-256 of the span's JSON: enough to tell one version of a span from the next.
fn digest(span: &Span) -> String {
    let json = serde_json::to_vec(span).expect("values with text keys always serialize");
    Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
