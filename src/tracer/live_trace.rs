//! A trace that grows: which of its spans changed since the last update, and which its target has.
//!
//! Each update builds the trace as at Codex's end, without spans that cannot have changed. It compares the build with
//! fingerprints of the one before: the spans themselves would take several times the memory of the session. Only what
//! differs is redacted and sent.

use crate::queue::receipts::StoredReceipt;
use crate::queue::spool::entry::Rank;
use crate::redact::{Redacted, RedactionMemory, Redactor};
use crate::settings::modes::Content;
use crate::trace::draft::{OutlinePrint, PartialTrace};
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::receipt::{Receipt, span_digest};
use mlflow_store::target::Target;
use mlflow_store::trace::{BadTree, Span, Trace, TraceState};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The shortest time between two updates of the information and the root span.
const INFO: Duration = Duration::from_secs(3);

/// Bytes of the root span for which `INFO` grows by a second: the root holds every prompt and answer, and what is
/// written per second must not grow with the session.
const ROOT_BYTES_PER_SECOND: usize = 64 << 10;

/// State, prompt and answer.
type Shown = (TraceState, Option<String>, Option<String>);

#[derive(Default)]
pub struct LiveTrace {
    /// The fingerprints of the spans of the last build, before redaction.
    built: HashMap<SpanId, Print>,
    content: Content,
    memory: RedactionMemory,
    /// The digest of each span that the target has.
    sent: BTreeMap<SpanId, String>,
    /// Spans whose last form did not arrive.
    unsent: BTreeSet<SpanId>,
    /// The digests of what is under way.
    under_way: Vec<(SpanId, String)>,
    /// State and previews of the last information sent: they change when a turn begins or ends.
    shown: Option<Shown>,
    info_due: Option<Instant>,
    experiment_id: Option<String>,
    rank: Option<Rank>,
    /// The target takes whole traces only.
    pub takes_wholes_only: bool,
}

/// Why a build was not compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Tree(#[from] BadTree),
    #[error("the parent of span {0} is missing")]
    Parent(SpanId),
    #[error("it is not traced any more")]
    Gone,
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
    pub fn new(target: &Target, receipt: Option<Receipt>) -> LiveTrace {
        let sent = receipt.map(|receipt| receipt.spans).unwrap_or_default();
        LiveTrace { sent, takes_wholes_only: target.is_append_only(), ..LiveTrace::default() }
    }

    /// What changed since the last call. Call it when nothing is under way. `whole` builds all spans, for the case that
    /// `built` leaves out some that are needed.
    pub fn changes(
        &mut self,
        built: PartialTrace,
        whole: &dyn Fn() -> Option<PartialTrace>,
        (content, redactor): (Content, &Redactor),
        now: Instant,
    ) -> Result<Changes, CompareError> {
        let is_whole = self.is_whole_due(content);
        let mut built =
            if self.is_enough(&built, is_whole) { built } else { whole().ok_or(CompareError::Gone)? };
        self.check(&built)?;
        let is_root_due = is_whole || self.is_root_due(&built.trace, now);
        let prints: HashMap<SpanId, Print> =
            built.trace.spans.iter().map(|span| (span.id, Print::of(span))).collect();
        let has_changed =
            |span: &&Span| self.unsent.contains(&span.id) || self.built.get(&span.id) != prints.get(&span.id);
        let mut changed = built.trace.spans.iter().filter(has_changed).peekable();
        if changed.peek().is_none() {
            return Ok(Changes::None);
        }
        if !is_root_due && changed.all(|span| span.parent.is_none()) {
            return Ok(Changes::Root(self.info_due.unwrap_or(now)));
        }
        let is_wanted = |span: &&Span| match span.parent {
            None => is_root_due,
            Some(_) => is_whole || has_changed(span),
        };
        let spans = built.trace.spans.iter().filter(is_wanted).cloned().collect();
        let mut part = self.redact(Trace { spans, ..info_of(&built.trace) }, content, redactor);
        if self.memory.has_learned() && !is_whole {
            // Spans that were sent before may repeat the secret.
            if !built.is_whole() {
                let Some(all) = whole() else {
                    self.built.clear();
                    return Err(CompareError::Gone);
                };
                built = all;
            }
            part = self.redact(built.trace.clone(), content, redactor);
        }
        self.content = content;
        self.note_build(&built, prints, is_root_due);
        if is_root_due {
            self.note_info(&built.trace, &part, now);
        }
        let digests = part.spans.iter().map(|span| (span.id, span_digest(span)));
        self.under_way = digests.filter(|(id, digest)| self.sent.get(id) != Some(digest)).collect();
        self.unsent.clear();
        if is_whole {
            return Ok(Changes::Whole(part));
        }
        let new: BTreeSet<SpanId> = self.under_way.iter().map(|(id, _)| *id).collect();
        Ok(Changes::Part(part.with_spans(|span| new.contains(&span.id))))
    }

    /// Whether the next update has all spans.
    fn is_whole_due(&self, content: Content) -> bool {
        self.takes_wholes_only || self.built.is_empty() || content != self.content
    }

    /// Whether a build leaves out only spans that are as in the last build, and need not be sent.
    fn is_enough(&self, built: &PartialTrace, is_whole_due: bool) -> bool {
        let is_same = |(id, outline): &(SpanId, OutlinePrint)| {
            self.built.get(id).is_some_and(|it| it.outline == *outline)
        };
        let leaves_out_enough =
            || !is_whole_due && self.unsent.is_empty() && built.unchanged.iter().all(is_same);
        built.is_whole() || leaves_out_enough()
    }

    /// Every parent is known. A whole build is checked as a tree.
    fn check(&self, built: &PartialTrace) -> Result<(), CompareError> {
        if built.is_whole() {
            return Ok(built.trace.check_tree()?);
        }
        let here: HashSet<SpanId> = built.trace.spans.iter().map(|span| span.id).collect();
        let is_known = |id: SpanId| here.contains(&id) || self.built.contains_key(&id);
        let mut spans = built.trace.spans.iter();
        match spans.find(|span| span.parent.is_some_and(|parent| !is_known(parent))) {
            Some(span) => Err(CompareError::Parent(span.id)),
            None => Ok(()),
        }
    }

    fn is_root_due(&self, built: &Trace, now: Instant) -> bool {
        self.shown.as_ref() != Some(&shown_by(built)) || self.info_due.is_none_or(|due| due <= now)
    }

    fn note_build(&mut self, built: &PartialTrace, mut prints: HashMap<SpanId, Print>, is_root_due: bool) {
        self.rank = Some(Rank { ended_at: built.trace.ended_at, spans: built.span_count() });
        if !is_root_due && let Some(root) = built.trace.root() {
            // A root that is not sent stays as it was sent last.
            prints.remove(&root.id);
        }
        if built.is_whole() {
            let now: HashSet<SpanId> = built.trace.spans.iter().map(|span| span.id).collect();
            self.built.retain(|id, _| now.contains(id));
        }
        self.built.extend(prints);
    }

    /// The information of this build goes with the root.
    fn note_info(&mut self, built: &Trace, part: &Redacted, now: Instant) {
        self.shown = Some(shown_by(built));
        let bytes = part.root().map_or(0, |root| serde_json::to_vec(root).map_or(0, |json| json.len()));
        let further = Duration::from_secs((bytes / ROOT_BYTES_PER_SECOND) as u64);
        self.info_due = Some(now + INFO + further);
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
    outline: OutlinePrint,
    span: u64,
}

impl Print {
    fn of(span: &Span) -> Print {
        let mut hasher = DefaultHasher::new();
        span.hash(&mut hasher);
        Print { outline: OutlinePrint::of(span), span: hasher.finish() }
    }
}

fn shown_by(built: &Trace) -> Shown {
    (built.state, built.request_preview.clone(), built.response_preview.clone())
}

/// The trace without its spans.
fn info_of(trace: &Trace) -> Trace {
    let Trace { id, name, state, started_at, ended_at, .. } = trace;
    let Trace { request_preview, response_preview, metadata, tags, context, .. } = trace;
    Trace {
        id: *id,
        name: name.clone(),
        state: *state,
        started_at: *started_at,
        ended_at: *ended_at,
        request_preview: request_preview.clone(),
        response_preview: response_preview.clone(),
        context: context.clone(),
        metadata: metadata.clone(),
        tags: tags.clone(),
        spans: Vec::new(),
    }
}
