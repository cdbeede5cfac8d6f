//! A trace that grows: which of its spans changed since the last update, and which its target has.
//!
//! Each update builds the trace anew, as after Codex's end, but for spans that cannot have changed, and compares it with
//! the build before, of which it keeps fingerprints: the spans themselves would take several times the memory of the
//! session. Only what differs is redacted and sent.

use crate::queue::receipts::StoredReceipt;
use crate::queue::spool::entry::Rank;
use crate::redact::{Redacted, RedactionMemory, Redactor};
use crate::settings::modes::Content;
use crate::trace::draft::{PartialTrace, Place};
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::receipt::{Receipt, span_digest};
use mlflow_store::target::Target;
use mlflow_store::trace::{BadTree, Span, Trace, TraceState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The shortest time between two updates of the information and the root span.
const INFO: Duration = Duration::from_secs(3);

/// Bytes of the root span for which `INFO` grows by a second: the root holds every prompt and answer, and what is
/// written per second must not grow with the session.
const ROOT_BYTES_PER_SECOND: usize = 64 << 10;

#[derive(Default)]
pub struct LiveTrace {
    /// The fingerprints of the spans of the last build, before redaction.
    built: HashMap<SpanId, Print>,
    content: Content,
    memory: RedactionMemory,
    /// A secret became known: all spans are to be redacted again.
    has_learned: bool,
    /// The digest of each span that the target has.
    sent: BTreeMap<SpanId, String>,
    /// Spans whose last form did not arrive.
    unsent: BTreeSet<SpanId>,
    /// The digests of what is under way.
    under_way: Vec<(SpanId, String)>,
    /// State and previews of the last information sent: they change when a turn begins or ends.
    shown: Option<(TraceState, Option<String>, Option<String>)>,
    info_due: Option<Instant>,
    experiment_id: Option<String>,
    rank: Option<Rank>,
    /// The target takes whole traces only.
    pub takes_wholes_only: bool,
}

/// What to send.
#[derive(Debug)]
pub enum Changes {
    None,
    /// Only the root has changed; it waits until then.
    Root(Instant),
    /// The whole trace: the target got none of it from this process, or takes no parts.
    Whole(Redacted),
    /// All information of the trace, and the spans to send; the root only when it is due.
    Part(Redacted),
}

impl LiveTrace {
    /// `receipt`: what the target took from earlier launches.
    pub fn new(receipt: Option<Receipt>) -> LiveTrace {
        let sent = receipt.map(|receipt| receipt.spans).unwrap_or_default();
        LiveTrace { sent, ..LiveTrace::default() }
    }

    /// What changed since the last call. Call it when nothing is under way. `whole` builds all spans, for the case that
    /// `built` leaves out some that are needed.
    pub fn changes(
        &mut self,
        built: PartialTrace,
        whole: &dyn Fn() -> Option<PartialTrace>,
        (content, redactor): (Content, &Redactor),
        now: Instant,
    ) -> Result<Changes, BadTree> {
        let is_whole = self.takes_wholes_only || self.built.is_empty() || content != self.content;
        let needs_all = is_whole || self.has_learned || !self.unsent.is_empty();
        let is_same = |(id, place): &(SpanId, Place)| self.built.get(id).is_some_and(|it| it.place == *place);
        let is_enough = built.is_whole() || (!needs_all && built.unchanged.iter().all(is_same));
        let Some(built) = Some(built).filter(|_| is_enough).or_else(whole) else { return Ok(Changes::None) };
        built.check_tree()?;
        let count = built.span_count();
        let PartialTrace { trace: built, unchanged } = built;
        let shown = (built.state, built.request_preview.clone(), built.response_preview.clone());
        let is_root_due =
            is_whole || self.shown.as_ref() != Some(&shown) || self.info_due.is_none_or(|due| due <= now);
        let prints: HashMap<SpanId, Print> =
            built.spans.iter().map(|span| (span.id, Print::of(span))).collect();
        let has_changed =
            |span: &Span| self.unsent.contains(&span.id) || self.built.get(&span.id) != prints.get(&span.id);
        let changed: Vec<&Span> = built.spans.iter().filter(|span| has_changed(span)).collect();
        if changed.is_empty() {
            return Ok(Changes::None);
        }
        if changed.iter().all(|span| span.parent.is_none()) && !is_root_due {
            return Ok(Changes::Root(self.info_due.unwrap_or(now)));
        }
        let is_wanted = |span: &Span| match span.parent {
            None => is_root_due,
            Some(_) => is_whole || has_changed(span),
        };
        let spans = built.spans.iter().filter(|span| is_wanted(span)).cloned().collect();
        let mut part = self.redact(Trace { spans, ..info_of(&built) }, content, redactor);
        self.has_learned |= self.memory.has_learned() && !is_whole;
        if self.has_learned {
            // Spans that were sent before may repeat the secret.
            if !unchanged.is_empty() {
                let all = whole().map(|built| self.changes(built, whole, (content, redactor), now));
                return all.unwrap_or(Ok(Changes::None));
            }
            part = self.redact(built.clone(), content, redactor);
            self.has_learned = false;
        }
        self.rank = Some(Rank { ended_at: built.ended_at, spans: count });
        self.content = content;
        // A root that was not sent stays as it was sent last.
        let root = (!is_root_due).then(|| built.spans.first().map(|root| root.id)).flatten();
        let root = root.and_then(|id| self.built.remove_entry(&id));
        if unchanged.is_empty() {
            self.built = prints;
        } else {
            self.built.extend(prints);
        }
        self.built.extend(root);
        if is_root_due {
            self.shown = Some(shown);
            let bytes = part.root().map_or(0, |root| serde_json::to_vec(root).map_or(0, |json| json.len()));
            let further = Duration::from_secs((bytes / ROOT_BYTES_PER_SECOND) as u64);
            self.info_due = Some(now + INFO + further);
        }
        let digests = part.spans.iter().map(|span| (span.id, span_digest(span)));
        self.under_way = digests.filter(|(id, digest)| self.sent.get(id) != Some(digest)).collect();
        self.unsent.clear();
        if is_whole {
            return Ok(Changes::Whole(part));
        }
        let new: BTreeSet<SpanId> = self.under_way.iter().map(|(id, _)| *id).collect();
        let part = part.with_spans(|span| new.contains(&span.id));
        Ok(Changes::Part(part))
    }

    fn redact(&mut self, part: Trace, content: Content, redactor: &Redactor) -> Redacted {
        redactor.redact_part(part, content, &mut self.memory)
    }

    /// The target took what was under way.
    pub fn arrived(&mut self, experiment_id: String) {
        self.sent.extend(self.under_way.drain(..));
        self.experiment_id = Some(experiment_id);
    }

    /// The target did not take what was under way, as far as is known.
    pub fn failed(&mut self) {
        self.unsent.extend(self.under_way.drain(..).map(|(id, _)| id));
        (self.shown, self.info_due) = (None, None);
    }

    /// The target takes no parts of this trace, or has lost it: the next update is whole.
    pub fn start_again(&mut self) {
        self.failed();
        (self.built, self.sent) = (HashMap::new(), BTreeMap::new());
    }

    /// The rules for secrets have changed.
    pub fn redact_again(&mut self) {
        (self.built, self.memory) = (HashMap::new(), RedactionMemory::default());
        self.has_learned = false;
    }

    /// What the target has, for exporters.
    pub fn sent(&self, target: &Target, now: Timestamp) -> Receipt {
        let experiment_id = self.experiment_id.clone().unwrap_or_default();
        let empty = Receipt::from_spans(target.clone(), experiment_id, now, &[]);
        Receipt { spans: self.sent.clone(), ..empty }
    }

    /// None while the target has taken nothing from this process.
    pub fn receipt(&self, target: &Target, now: Timestamp) -> Option<StoredReceipt> {
        self.experiment_id.as_ref()?;
        // Codex may rewrite a session with fewer lines: no form that ends as late is older than this one.
        let rank = Rank { spans: 0, ..self.rank? };
        Some(StoredReceipt { receipt: self.sent(target, now), rank, bytes: 0 })
    }
}

/// Differs where spans differ, but for one pair in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    place: Place,
    span: u64,
}

impl Print {
    fn of(span: &Span) -> Print {
        let mut hasher = DefaultHasher::new();
        span.hash(&mut hasher);
        Print { place: Place::of(span), span: hasher.finish() }
    }
}

/// The trace without its spans.
fn info_of(trace: &Trace) -> Trace {
    let Trace { id, name, state, started_at, ended_at, .. } = trace;
    let Trace { request_preview, response_preview, metadata, tags, .. } = trace;
    Trace {
        id: *id,
        name: name.clone(),
        state: *state,
        started_at: *started_at,
        ended_at: *ended_at,
        request_preview: request_preview.clone(),
        response_preview: response_preview.clone(),
        metadata: metadata.clone(),
        tags: tags.clone(),
        spans: Vec::new(),
    }
}
