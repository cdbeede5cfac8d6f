//! Traces that a target took and no longer has. A receipt records what was sent, not whether it is still
//! there.

use crate::exporter::Result;
use crate::ids::TraceId;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Allowed difference between a server's clock and this machine's.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);

/// A trace that a target took, from its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTrace {
    pub trace: TraceId,
    pub experiment_id: String,
    pub at: Timestamp,
}

/// Each trace that the target no longer has, with the state of its experiment.
pub type Lost = BTreeMap<TraceId, ExperimentState>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExperimentState {
    Present,
    /// Removed, or its id now belongs to a later experiment, as in a database that was created again.
    Gone,
}

/// Those of `sent` that are not present. `made` is when an experiment was created; None if it is missing or deleted.
pub(super) fn find(
    sent: &[SentTrace],
    is_present: impl Fn(TraceId) -> Result<bool>,
    made: impl Fn(&str) -> Result<Option<Timestamp>>,
) -> Result<Lost> {
    let mut known: HashMap<&str, Option<Timestamp>> = HashMap::new();
    let mut lost = Lost::new();
    for one in sent {
        if is_present(one.trace)? {
            continue;
        }
        let at = match known.get(&*one.experiment_id) {
            Some(at) => *at,
            None => *known.entry(&one.experiment_id).or_insert(made(&one.experiment_id)?),
        };
        let is_same = at.is_some_and(|at| at.duration_since(one.at) <= CLOCKS_APART);
        lost.insert(one.trace, if is_same { ExperimentState::Present } else { ExperimentState::Gone });
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_traces_experiment_counts_as_gone_if_its_id_belongs_to_a_later_one() {
        // The experiment's id is the second of its creation.
        let sent = |number: u8, made: &str| SentTrace {
            trace: TraceId([number; 16]),
            experiment_id: made.into(),
            at: Timestamp::from_second(10_000).unwrap(),
        };
        let all = [sent(1, "gone"), sent(2, "gone"), sent(3, "9000"), sent(4, "10300"), sent(5, "10301")];
        let made = |id: &str| Ok(id.parse().ok().and_then(|second| Timestamp::from_second(second).ok()));
        let lost: Vec<_> =
            find(&all, |trace| Ok(trace == TraceId([1; 16])), made).unwrap().into_iter().collect();
        let expected = [
            (2, ExperimentState::Gone),
            (3, ExperimentState::Present),
            (4, ExperimentState::Present),
            (5, ExperimentState::Gone),
        ];
        assert_eq!(lost, expected.map(|(number, home)| (TraceId([number; 16]), home)));
    }
}
