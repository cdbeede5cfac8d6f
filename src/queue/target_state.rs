//! What a target has of a trace: by the receipt, which counts only after the target was asked.

use super::receipts::{Receipts, StoredReceipt};
use super::spool::entry::Rank;
use crate::base::world::World;
use mlflow_store::exporter::Patience;
use mlflow_store::ids::TraceId;
use mlflow_store::lost_traces::{ExperimentState, Lost, SentTrace};
use mlflow_store::target::Target;
use mlflow_store::trace::Trace;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer for each trace: some servers answer for one trace at a time.
const OF_EACH: Duration = Duration::from_millis(200);

/// What targets answer about the traces that they took.
#[derive(Debug, Default)]
pub struct Answers {
    lost: HashMap<Target, Lost>,
    /// Targets that cannot be asked now, and why.
    silent: HashMap<Target, String>,
    /// Whether every trace is sent again, present or not.
    pub is_all_wanted: bool,
}

/// Whether a target has a trace that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Lost(ExperimentState),
    /// The target cannot be asked.
    Unknown,
}

impl Answers {
    pub fn of(&self, trace: TraceId, target: &Target) -> Presence {
        match self.lost.get(target).and_then(|lost| lost.get(&trace)) {
            Some(home) => Presence::Lost(*home),
            None if self.silent.contains_key(target) => Presence::Unknown,
            None => Presence::There,
        }
    }

    /// Whether every target that was asked answers, and has the trace if it took it.
    pub fn is_everywhere(&self, trace: TraceId) -> bool {
        self.silent.is_empty() && !self.lost.values().any(|lost| lost.contains_key(&trace))
    }

    /// Why the target cannot be asked.
    pub fn silence(&self, target: &Target) -> Option<&str> {
        self.silent.get(target).map(String::as_str)
    }
}

/// Asks each target once for all that it took of these threads.
pub fn ask(taken: impl IntoIterator<Item = (Target, SentTrace)>, world: &World) -> Answers {
    let mut sent_to: HashMap<Target, Vec<SentTrace>> = HashMap::new();
    for (target, sent) in taken {
        sent_to.entry(target).or_default().push(sent);
    }
    let access = crate::settings::access::read(world);
    let mut answers = Answers::default();
    for (target, sent) in sent_to {
        let count = u32::try_from(sent.len()).unwrap_or(u32::MAX);
        let until = Instant::now() + PATIENCE + OF_EACH.saturating_mul(count);
        let patience = Patience { until: Some(until), is_asked_to_end: &|| false, retrying: &|_, _| {} };
        match mlflow_store::lost(&target, &sent, &access, patience) {
            Ok(lost) => _ = answers.lost.insert(target, lost),
            Err(error) => {
                tracing::info!("{target} cannot be asked what it has: {error}");
                answers.silent.insert(target, error.to_string());
            }
        }
    }
    answers
}

/// In the order of how much is missing; the least is what must be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    New,
    /// The target took it and has it no more.
    Lost,
    Updated,
    /// The target took exactly this, or a later form, and does not answer whether it is still there.
    Unasked,
    /// The target has exactly this, or a later form.
    Unchanged,
}

impl TargetState {
    pub fn new(trace: &Trace, target: &Target, receipts: &Receipts, answers: &Answers) -> TargetState {
        let (kept, presence) = (receipts.get(trace.id, target), answers.of(trace.id, target));
        decide(trace, kept.as_ref(), presence, answers.is_all_wanted)
    }

    pub fn must_be_sent(self) -> bool {
        matches!(self, TargetState::New | TargetState::Lost | TargetState::Updated)
    }
}

fn decide(
    trace: &Trace,
    kept: Option<&StoredReceipt>,
    presence: Presence,
    is_all_wanted: bool,
) -> TargetState {
    let Some(kept) = kept else { return TargetState::New };
    // An older form never replaces a later one.
    let is_overtaken = Rank::from_trace(trace) < kept.rank;
    match presence {
        Presence::Lost(_) => TargetState::Lost,
        // Later turns are in another trace.
        _ if kept.receipt.archived => TargetState::Unchanged,
        _ if !is_overtaken && (is_all_wanted || !kept.receipt.holds_all(trace)) => TargetState::Updated,
        Presence::Unknown => TargetState::Unasked,
        Presence::There => TargetState::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json::value::Map;
    use common::json::value::Value;
    use jiff::Timestamp;
    use mlflow_store::ids::SpanId;
    use mlflow_store::receipt::Receipt;
    use mlflow_store::trace::{Span, SpanStatus, SpanType, TraceState};

    fn trace(ended: i64, name: &str) -> Trace {
        let at = |second| Timestamp::from_second(second).unwrap();
        Trace {
            id: TraceId([7; 16]),
            name: name.into(),
            state: TraceState::Ok,
            started_at: at(0),
            ended_at: at(ended),
            request_preview: None,
            response_preview: None,
            context: Default::default(),
            metadata: [].into(),
            tags: [].into(),
            spans: vec![Span {
                id: SpanId([1; 8]),
                parent: None,
                name: "root".into(),
                span_type: SpanType::Agent,
                status: SpanStatus::Ok,
                started_at: at(0),
                ended_at: at(ended),
                inputs: Value::Null,
                outputs: Value::Null,
                attributes: Map::new(),
                events: Vec::new(),
            }],
        }
    }

    #[test]
    fn only_what_was_sent_in_every_word_or_overtaken_is_unchanged() {
        let sent = trace(10, "a");
        let target = Target::Http("http://a".into());
        let of_spans = Receipt::from_spans(target.clone(), "1".into(), Timestamp::UNIX_EPOCH, &sent.spans);
        let whole = Receipt::from_trace(target, "1".into(), Timestamp::UNIX_EPOCH, &sent);
        let kept = |receipt: &Receipt| StoredReceipt {
            receipt: receipt.clone(),
            rank: Rank::from_trace(&sent),
            bytes: 1,
        };
        let (there, lost) = (Presence::There, Presence::Lost(ExperimentState::Present));
        let table = [
            (trace(10, "a"), None, there, TargetState::New),
            (trace(10, "a"), Some(kept(&whole)), there, TargetState::Unchanged),
            (trace(10, "b"), Some(kept(&whole)), there, TargetState::Updated),
            (trace(11, "a"), Some(kept(&whole)), there, TargetState::Updated),
            (trace(9, "a"), Some(kept(&whole)), there, TargetState::Unchanged),
            (trace(10, "a"), Some(kept(&of_spans)), there, TargetState::Updated),
            (trace(10, "a"), Some(kept(&whole)), lost, TargetState::Lost),
            (trace(9, "a"), Some(kept(&whole)), lost, TargetState::Lost),
            (trace(10, "b"), Some(kept(&whole)), lost, TargetState::Lost),
            (trace(10, "a"), Some(kept(&whole)), Presence::Unknown, TargetState::Unasked),
            (trace(9, "a"), Some(kept(&whole)), Presence::Unknown, TargetState::Unasked),
            (trace(11, "a"), Some(kept(&whole)), Presence::Unknown, TargetState::Updated),
        ];
        for (trace, kept, seen, expected) in table {
            let state = decide(&trace, kept.as_ref(), seen, false);
            assert_eq!(state, expected, "{} {} {seen:?}", trace.ended_at, trace.name);
        }
        let again = |ended, seen| decide(&trace(ended, "a"), Some(&kept(&whole)), seen, true);
        assert_eq!(again(10, there), TargetState::Updated);
        assert_eq!(again(9, there), TargetState::Unchanged, "an older form replaces nothing");
        assert_eq!(again(9, lost), TargetState::Lost);
    }
}
