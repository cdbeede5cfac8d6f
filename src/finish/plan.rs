//! Which process does a launch's work after Codex's end, and for how long: a pure decision.

use crate::settings::wait::Wait;
use std::time::Duration;

/// How long the launcher works for a user when no finisher can be started.
pub(super) const WITHOUT_FINISHER: (Duration, Reason) = (Duration::from_secs(3), Reason::NoFinisher);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinishPlan {
    /// There is no session, and other launches left no work.
    Nothing,
    /// A finisher does the work. The user has the prompt back at once.
    Finisher,
    /// The tracer that follows the launch does the work. The user has the prompt back at once.
    Tracer,
    /// As `Tracer`; a job waits for the delivery, for at most this long after Codex's end.
    AwaitTracer(Duration),
    /// The launcher does the work, for at most this long.
    InPlace((Duration, Reason)),
}

/// Whether a tracer follows the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TracerState {
    Running,
    None,
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
    pub(super) fn choose(wait: Wait, safety: Safety, has_work: bool, tracer: TracerState) -> FinishPlan {
        match (wait, safety, tracer) {
            (Wait::InPlace(limit), Safety::OnDisk, TracerState::Running) => FinishPlan::AwaitTracer(limit),
            (Wait::InPlace(limit), _, _) => FinishPlan::InPlace((limit, Reason::Job)),
            (Wait::Detached, Safety::InMemory, _) => FinishPlan::InPlace(WITHOUT_FINISHER),
            (Wait::Detached, Safety::OnDisk, TracerState::Running) => FinishPlan::Tracer,
            (Wait::Detached, Safety::OnDisk, TracerState::None) if !has_work => FinishPlan::Nothing,
            (Wait::Detached, Safety::OnDisk, TracerState::None) => FinishPlan::Finisher,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finisher_works_only_for_a_user_and_only_with_a_complete_launch_record() {
        let long = Duration::from_secs(30);
        let in_place = FinishPlan::InPlace((long, Reason::Job));
        use TracerState::{None, Running};
        let table = [
            (Wait::Detached, Safety::OnDisk, true, None, FinishPlan::Finisher),
            (Wait::Detached, Safety::OnDisk, false, None, FinishPlan::Nothing),
            (Wait::Detached, Safety::InMemory, true, None, FinishPlan::InPlace(WITHOUT_FINISHER)),
            (Wait::Detached, Safety::InMemory, false, None, FinishPlan::InPlace(WITHOUT_FINISHER)),
            (Wait::InPlace(long), Safety::OnDisk, true, None, in_place),
            (Wait::InPlace(long), Safety::OnDisk, false, None, in_place),
            (Wait::InPlace(long), Safety::InMemory, true, None, in_place),
            (Wait::InPlace(long), Safety::InMemory, false, None, in_place),
            (Wait::Detached, Safety::OnDisk, true, Running, FinishPlan::Tracer),
            (Wait::Detached, Safety::InMemory, true, Running, FinishPlan::InPlace(WITHOUT_FINISHER)),
            (Wait::InPlace(long), Safety::OnDisk, true, Running, FinishPlan::AwaitTracer(long)),
            (Wait::InPlace(long), Safety::InMemory, true, Running, in_place),
        ];
        for (wait, safety, has_work, tracer, expected) in table {
            assert_eq!(
                FinishPlan::choose(wait, safety, has_work, tracer),
                expected,
                "{wait:?} {safety:?} {has_work} {tracer:?}"
            );
        }
    }
}
