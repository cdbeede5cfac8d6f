//! From the spool to the targets.

use super::context::Context;
use super::continuation::{ArchivedOutcome, continue_archived};
use super::delivery_report::log_what_stays;
use crate::queue::deliver::{Archived, DeliveryRequest, DrainError, DrainStep, Drained, Waiting, drain};
use crate::queue::history::MOST_PARTS;
use crate::queue::spool::SpoolError;
use crate::queue::spool::policy::Lane;
use crate::queue::{PATIENCE, receipts, spool};
use jiff::Timestamp;
use mlflow_store::target::{Experiment, Target};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// Delivers what the spool holds. The log names what stays, and why.
pub fn deliver(request: &DeliveryRequest, context: &Context) -> Result<Drained, DrainError> {
    if spool(&context.paths).paths().is_empty() {
        return Ok(Drained::default());
    }
    let access = context.access();
    let until = request.budget.map(|budget| Instant::now() + budget);
    let once = |progress: &dyn Fn(&DrainStep)| {
        let budget = until.map(|until| until.saturating_duration_since(Instant::now()));
        let request = DeliveryRequest { budget, progress, ..*request };
        let patience = request.exporter_patience();
        let connect = |target: &Target, experiment: &Experiment| {
            mlflow_store::exporter(target, experiment, &access, patience)
        };
        drain(&spool(&context.paths), &receipts(&context.paths), &request, connect)
    };
    let mut drained = once(request.progress);
    // The trace that continues an archived one may be archived itself.
    for _ in 0..MOST_PARTS {
        let Ok(so_far) = &mut drained else { break };
        let archived = std::mem::take(&mut so_far.archived);
        if archived.is_empty() {
            break;
        }
        if let Err(error) = deliver_continuations(archived, so_far, &once, request.progress, context) {
            drained = Err(error);
        }
    }
    match &drained {
        Ok(drained) => log_what_stays(drained, Timestamp::now()),
        Err(error) => tracing::warn!("nothing was delivered: {error}"),
    }
    drained
}

/// Drains the spool once more.
type Once<'a> = dyn Fn(&dyn Fn(&DrainStep)) -> Result<Drained, DrainError> + 'a;

/// Delivers the later turns of sessions whose traces are archived.
fn deliver_continuations(
    archived: Vec<Archived>,
    so_far: &mut Drained,
    once: &Once,
    progress: &dyn Fn(&DrainStep),
    context: &Context,
) -> Result<(), DrainError> {
    let mut continued = Vec::new();
    for one in archived {
        so_far.waiting.retain(|waiting| !one.paths.contains(&waiting.path));
        match continue_archived(&one, context) {
            Ok(outcome) => continued.push((one, outcome)),
            Err(error) => {
                let reason = format!("{} (and cannot be continued: {error})", one.reason);
                let wait = |path: &PathBuf| Waiting { path: path.clone(), reason: reason.clone() };
                so_far.waiting.extend(one.paths.iter().map(wait));
            }
        }
    }
    let failed = RefCell::new(HashMap::new());
    if continued.iter().any(|(_, outcome)| matches!(outcome, ArchivedOutcome::As(_))) {
        let more = once(&|step: &DrainStep| {
            if let Err(reason) = step.outcome {
                failed.borrow_mut().insert(step.trace, reason.to_owned());
            }
            progress(step);
        })?;
        so_far.delivered.extend(more.delivered);
        so_far.set_aside.extend(more.set_aside);
        so_far.archived.extend(more.archived);
        so_far.waiting = more.waiting;
        so_far.is_elsewhere |= more.is_elsewhere;
    }
    let of = continued.len();
    for (number, (one, outcome)) in (1..).zip(continued) {
        let failed = failed.borrow();
        let report =
            |outcome| progress(&DrainStep { number, of, trace: one.trace, target: &one.target, outcome });
        match outcome {
            ArchivedOutcome::As(trace) => report(failed.get(&trace).map_or(Ok(()), |reason| Err(reason))),
            ArchivedOutcome::Nothing => report(Ok(())),
            ArchivedOutcome::SetAside(aside) => {
                report(Err(&one.reason));
                so_far.set_aside.extend(aside);
            }
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    #[error("cannot write to {0}: {1}")]
    Spool(PathBuf, SpoolError),
    #[error("another codex-traced is delivering")]
    Busy,
}

/// Returns the quarantine to the spool and ends every pause of a target. The number of traces that came back.
pub fn retry_quarantined(context: &Context) -> Result<usize, RetryError> {
    let spool = spool(&context.paths);
    let failed = |error| RetryError::Spool(context.paths.spool(), error);
    let mut locks = Vec::new();
    for lane in [Lane::Local, Lane::Remote] {
        let lock = spool.lock(lane, PATIENCE).map_err(|error| failed(error.into()))?;
        locks.push(lock.ok_or(RetryError::Busy)?);
        spool.backoff(lane).forget().map_err(|error| failed(error.into()))?;
    }
    let set_aside = spool.quarantined();
    for path in &set_aside {
        spool.bring_back(path).map_err(failed)?;
    }
    Ok(set_aside.len())
}
