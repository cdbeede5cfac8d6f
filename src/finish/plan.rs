//! Which process does a launch's work after Codex's end, and for how long: a pure decision.

use crate::settings::wait::Wait;
use std::time::Duration;

/// How long the launcher works for a user when no finisher can be started.
pub(super) const WITHOUT_FINISHER: (Duration, Reason) = (Duration::from_secs(3), Reason::NoFinisher);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinishPlan {
    /// There is no session, and other launches left no work.
    Nothing,
    /// A finisher does the work. The launcher waits for its notice no longer than this after Codex's end.
    Finisher(Duration),
    /// The launcher does the work, for at most this long.
    InPlace((Duration, Reason)),
}

/// Why the launcher does the work itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A job waits: the limit counts from Codex's end.
    Job,
    /// No finisher can do it: the limit counts from now.
    NoFinisher,
}

/// Whether another process can do the launch's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// The launch record holds all that the launcher knows.
    OnDisk,
    /// The launch record could not be written.
    InMemory,
}

impl FinishPlan {
    /// `has_work`: the launch has sessions, or other launches left work.
    pub(super) fn choose(wait: Wait, safety: Safety, has_work: bool) -> FinishPlan {
        match (wait, safety, has_work) {
            (Wait::InPlace(limit), _, _) => FinishPlan::InPlace((limit, Reason::Job)),
            (Wait::Detached(_), Safety::InMemory, _) => FinishPlan::InPlace(WITHOUT_FINISHER),
            (Wait::Detached(_), Safety::OnDisk, false) => FinishPlan::Nothing,
            (Wait::Detached(patience), Safety::OnDisk, true) => FinishPlan::Finisher(patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finisher_works_only_for_a_user_and_only_with_a_complete_launch_record() {
        let (short, long) = (Duration::from_millis(35), Duration::from_secs(30));
        let in_place = FinishPlan::InPlace((long, Reason::Job));
        let table = [
            (Wait::Detached(short), Safety::OnDisk, true, FinishPlan::Finisher(short)),
            (Wait::Detached(short), Safety::OnDisk, false, FinishPlan::Nothing),
            (Wait::Detached(short), Safety::InMemory, true, FinishPlan::InPlace(WITHOUT_FINISHER)),
            (Wait::Detached(short), Safety::InMemory, false, FinishPlan::InPlace(WITHOUT_FINISHER)),
            (Wait::InPlace(long), Safety::OnDisk, true, in_place),
            (Wait::InPlace(long), Safety::OnDisk, false, in_place),
            (Wait::InPlace(long), Safety::InMemory, true, in_place),
            (Wait::InPlace(long), Safety::InMemory, false, in_place),
        ];
        for (wait, safety, has_work, expected) in table {
            assert_eq!(
                FinishPlan::choose(wait, safety, has_work),
                expected,
                "{wait:?} {safety:?} {has_work}"
            );
        }
    }
}
