//! What a target has of a trace: by the receipt, and by the target's answer.

use super::presence::{Answers, Presence};
use crate::queue::receipts::{Receipts, StoredReceipt};
use crate::queue::spool::entry::Rank;
use crate::queue::spool::policy::is_overtaken;
use mlflow_store::target::Target;
use mlflow_store::trace::Trace;

/// In the order of how much is missing; the least is what must be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncState {
    New,
    /// The target took it and has it no more.
    Lost,
    Updated,
    /// The target took exactly this, or a later form, and does not answer whether it is still there.
    Unasked,
    /// The target has exactly this, or a later form.
    Unchanged,
}

impl SyncState {
    pub fn new(trace: &Trace, target: &Target, receipts: &Receipts, answers: &Answers) -> SyncState {
        let (kept, presence) = (receipts.get(trace.id, target), answers.of(trace.id, target));
        decide(trace, kept.as_ref(), presence, answers.is_all_wanted)
    }

    pub fn must_be_sent(self) -> bool {
        matches!(self, SyncState::New | SyncState::Lost | SyncState::Updated)
    }
}

fn decide(trace: &Trace, kept: Option<&StoredReceipt>, presence: Presence, is_all_wanted: bool) -> SyncState {
    let Some(kept) = kept else { return SyncState::New };
    // An older form never replaces a later one.
    let is_overtaken = is_overtaken(Rank::from_trace(trace), Some(kept.rank));
    match presence {
        Presence::Lost(_) => SyncState::Lost,
        // Later turns are in another trace.
        _ if kept.receipt.archived => SyncState::Unchanged,
        _ if !is_overtaken && (is_all_wanted || !kept.receipt.holds_all(trace)) => SyncState::Updated,
        Presence::Unknown => SyncState::Unasked,
        Presence::There => SyncState::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json::value::Map;
    use common::json::value::Value;
    use jiff::Timestamp;
    use mlflow_store::ids::{SpanId, TraceId};
    use mlflow_store::lost::ExperimentState;
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
            (trace(10, "a"), None, there, SyncState::New),
            (trace(10, "a"), Some(kept(&whole)), there, SyncState::Unchanged),
            (trace(10, "b"), Some(kept(&whole)), there, SyncState::Updated),
            (trace(11, "a"), Some(kept(&whole)), there, SyncState::Updated),
            (trace(9, "a"), Some(kept(&whole)), there, SyncState::Unchanged),
            (trace(10, "a"), Some(kept(&of_spans)), there, SyncState::Updated),
            (trace(10, "a"), Some(kept(&whole)), lost, SyncState::Lost),
            (trace(9, "a"), Some(kept(&whole)), lost, SyncState::Lost),
            (trace(10, "b"), Some(kept(&whole)), lost, SyncState::Lost),
            (trace(10, "a"), Some(kept(&whole)), Presence::Unknown, SyncState::Unasked),
            (trace(9, "a"), Some(kept(&whole)), Presence::Unknown, SyncState::Unasked),
            (trace(11, "a"), Some(kept(&whole)), Presence::Unknown, SyncState::Updated),
        ];
        for (trace, kept, seen, expected) in table {
            let state = decide(&trace, kept.as_ref(), seen, false);
            assert_eq!(state, expected, "{} {} {seen:?}", trace.ended_at, trace.name);
        }
        let again = |ended, seen| decide(&trace(ended, "a"), Some(&kept(&whole)), seen, true);
        assert_eq!(again(10, there), SyncState::Updated);
        assert_eq!(again(9, there), SyncState::Unchanged, "an older form replaces nothing");
        assert_eq!(again(9, lost), SyncState::Lost);
    }
}
