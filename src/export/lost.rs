//! What a place no longer has of what it took: a receipt says what was sent, not what became of it there.

use super::ExportError;
use crate::trace::ids::TraceId;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How far a server's clock may be off ours.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);

/// A trace that a place took, as its receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub trace: TraceId,
    pub experiment_id: String,
    pub at: Timestamp,
}

/// Each trace that is gone, and what became of its experiment.
pub type Lost = BTreeMap<TraceId, Home>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Stands,
    /// Removed; or the id is another experiment's, as in a database that was made anew.
    Gone,
}

/// A place that can be asked.
pub(super) trait Place {
    /// Those of them that are there.
    fn present(&mut self, sent: &[Sent]) -> Result<HashSet<TraceId>, ExportError>;
    /// When the experiment was made, if people can see it there.
    fn made(&mut self, experiment_id: &str) -> Result<Option<Timestamp>, ExportError>;
}

pub(super) fn of(sent: &[Sent], place: &mut impl Place) -> Result<Lost, ExportError> {
    let present = place.present(sent)?;
    let mut made: HashMap<&str, Option<Timestamp>> = HashMap::new();
    let mut lost = Lost::new();
    for one in sent.iter().filter(|one| !present.contains(&one.trace)) {
        let at = match made.get(&*one.experiment_id) {
            Some(at) => *at,
            None => *made.entry(&one.experiment_id).or_insert(place.made(&one.experiment_id)?),
        };
        let is_same = at.is_some_and(|at| at.duration_since(one.at) <= CLOCKS_APART);
        lost.insert(one.trace, if is_same { Home::Stands } else { Home::Gone });
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shelf;

    impl Place for Shelf {
        fn present(&mut self, _: &[Sent]) -> Result<HashSet<TraceId>, ExportError> {
            Ok([TraceId([1; 16])].into())
        }

        fn made(&mut self, experiment_id: &str) -> Result<Option<Timestamp>, ExportError> {
            Ok(experiment_id.parse().ok().and_then(|second| Timestamp::from_second(second).ok()))
        }
    }

    #[test]
    fn a_lost_traces_experiment_is_gone_too_where_its_id_is_that_of_a_later_one() {
        // The experiment's id says when it was made.
        let sent = |number: u8, made: &str| Sent {
            trace: TraceId([number; 16]),
            experiment_id: made.into(),
            at: Timestamp::from_second(10_000).unwrap(),
        };
        let all = [sent(1, "gone"), sent(2, "gone"), sent(3, "9000"), sent(4, "10300"), sent(5, "10301")];
        let lost: Vec<_> = of(&all, &mut Shelf).unwrap().into_iter().collect();
        let expected = [(2, Home::Gone), (3, Home::Stands), (4, Home::Stands), (5, Home::Gone)];
        assert_eq!(lost, expected.map(|(number, home)| (TraceId([number; 16]), home)));
    }
}
