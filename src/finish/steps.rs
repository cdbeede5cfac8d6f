//! The steps that launcher and finisher share: a launch into the spool, the spool to the targets.

use super::assemble::{Assembled, assemble};
use super::context::Context;
use super::delivery::deliver as deliver_spool;
use super::delivery_report::sentences;
use super::open_turns::OpenTurn;
use crate::base::notice;
use crate::base::quiet::quietly;
use crate::claim::launch_record::Launch;
use crate::queue::deliver::DeliveryRequest;
use crate::queue::spool;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// How long a finisher waits for another delivery to end, which most likely takes its traces along.
const FINISHERS_PATIENCE: Duration = Duration::from_secs(30);

/// What came of putting a launch's traces into the spool.
pub(super) enum Spooled {
    All,
    /// These turns still run.
    SoFar(Vec<OpenTurn>),
    /// What the user reads. The launch record stays: the next launch tries again.
    Not(Option<String>),
}

pub(super) fn spool_launch(launch: &Launch, context: &Context) -> Spooled {
    match quietly(|| assemble(launch, context)) {
        Some(Ok(Assembled::Done)) => Spooled::All,
        Some(Ok(Assembled::Open(open))) => Spooled::SoFar(open),
        None => Spooled::Not(None),
        Some(Err(error)) => {
            tracing::error!("cannot keep the trace: {error}");
            Spooled::Not(Some(notice::not_made(&error)))
        }
    }
}

/// What it means that another process delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// It takes every trace that it finds.
    IsFine,
    /// The machine may be gone before the other process is done.
    IsWaitedFor,
}

/// What the user reads if something stays behind.
pub(super) fn deliver(until: Instant, busy: Busy, context: &Context) -> Option<String> {
    let left = until.saturating_duration_since(Instant::now());
    let patience = match busy {
        // The other process may be about to end, so it is waited for.
        Busy::IsFine => left.min(FINISHERS_PATIENCE),
        Busy::IsWaitedFor => left,
    };
    let kept = |reason: &str| notice::kept_on_disk(spool(&context.paths).paths().len(), reason);
    match deliver_spool(&DeliveryRequest { patience, ..DeliveryRequest::of_launch(left) }, context) {
        Ok(drained) if drained.is_elsewhere && busy == Busy::IsWaitedFor => {
            Some(kept("another codex-traced is delivering"))
        }
        Ok(drained) => sentences(&drained, Timestamp::now()).into_iter().next(),
        Err(error) => Some(kept(&error.to_string())),
    }
}
