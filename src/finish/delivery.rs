//! From the spool to the targets, and what the user reads of it.

use super::context::Context;
use super::continuation::{ArchivedOutcome, continue_archived};
use super::lanes::Lanes;
use crate::base::notice;
use crate::queue::drain::{Archived, DeliveryRequest, DrainError, DrainStep, Drained, Waiting};
use crate::queue::spool::Spool;
use crate::queue::spool::entry::Entry;
use crate::queue::straight;
use crate::queue::thread_history::MOST_PARTS;
use crate::queue::{receipts, spool};
use jiff::Timestamp;
use mlflow_store::exporter::Patience;
use mlflow_store::target::{Experiment, Target};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Entries that wait for longer are reported. Two weeks, so that a holiday is not reported.
const LONG_DAYS: u64 = 14;

/// How long a finisher waits for another delivery to end, which most likely takes its traces along.
const FINISHERS_PATIENCE: Duration = Duration::from_secs(30);

/// What it means that another process delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// It takes every trace that it finds.
    IsFine,
    /// The machine may be gone before the other process is done.
    IsWaitedFor,
}

/// Delivers for a launch: what the user reads if something stays behind.
pub(super) fn deliver_after_launch(until: Instant, busy: Busy, context: &Context) -> Option<String> {
    let left = until.saturating_duration_since(Instant::now());
    let patience = match busy {
        // The other process may be about to end, so it is waited for.
        Busy::IsFine => left.min(FINISHERS_PATIENCE),
        Busy::IsWaitedFor => left,
    };
    let kept = |reason: &str| notice::kept_on_disk(spool(&context.paths).paths().len(), reason);
    match deliver(&DeliveryRequest { patience, ..DeliveryRequest::of_launch(left) }, context) {
        Ok(drained) if drained.is_elsewhere && busy == Busy::IsWaitedFor => {
            Some(kept("another codex-traced is delivering"))
        }
        Ok(drained) => sentence(&drained, Timestamp::now()),
        Err(error) => Some(kept(&error.to_string())),
    }
}

/// As `queue::straight::deliver_straight`, with the settings of now.
pub fn deliver_straight(
    entries: &[Entry],
    is_asked_to_end: &dyn Fn() -> bool,
    context: &Context,
) -> Vec<bool> {
    let access = context.access();
    let connect = |target: &Target, experiment: &Experiment| {
        let patience = Patience { until: None, is_asked_to_end, retrying: &|_, _| {} };
        mlflow_store::exporter(target, experiment, &access, patience)
    };
    let (spool, receipts) = (spool(&context.paths), receipts(&context.paths));
    straight::deliver_straight(entries, &spool, &receipts, is_asked_to_end, connect)
}

/// Delivers what the spool holds. The log names what stays, and why.
pub fn deliver(request: &DeliveryRequest, context: &Context) -> Result<Drained, DrainError> {
    if spool(&context.paths).paths().is_empty() {
        return Ok(Drained::default());
    }
    let access = context.access();
    let until = request.budget.map(|budget| Instant::now() + budget);
    let (spool, receipts) = (spool(&context.paths), receipts(&context.paths));
    let lanes = Lanes { spool: &spool, receipts: &receipts, access: &access, until };
    let once = |progress: &dyn Fn(&DrainStep)| {
        let budget = until.map(|until| until.saturating_duration_since(Instant::now()));
        lanes.drain(&DeliveryRequest { budget, progress, ..*request })
    };
    let mut drained = once(request.progress);
    // The trace that continues an archived one may be archived itself.
    for _ in 0..MOST_PARTS {
        let Ok(so_far) = &mut drained else { break };
        let archived = std::mem::take(&mut so_far.archived);
        if archived.is_empty() {
            break;
        }
        if let Err(error) = deliver_continuations(archived, so_far, once, request.progress, context) {
            drained = Err(error);
        }
    }
    match &drained {
        Ok(drained) => log_what_stays(drained, Timestamp::now()),
        Err(error) => tracing::warn!("nothing was delivered: {error}"),
    }
    drained
}

/// Delivers the later turns of sessions whose traces are archived. `once` drains the spool again.
fn deliver_continuations(
    archived: Vec<Archived>,
    so_far: &mut Drained,
    once: impl Fn(&dyn Fn(&DrainStep)) -> Result<Drained, DrainError>,
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
                failed.borrow_mut().insert((step.trace, step.target.clone()), reason.to_owned());
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
            ArchivedOutcome::As(trace) => {
                let reason = failed.get(&(trace, one.target.clone()));
                report(reason.map_or(Ok(()), |reason| Err(reason)));
            }
            ArchivedOutcome::Nothing => report(Ok(())),
            ArchivedOutcome::SetAside(aside) => {
                report(Err(&one.reason));
                so_far.set_aside.extend(aside);
            }
        }
    }
    Ok(())
}

/// One line for each reason.
fn log_what_stays(drained: &Drained, now: Timestamp) {
    let mut by_reason: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for waiting in &drained.waiting {
        by_reason.entry(&waiting.reason).or_default().push(&waiting.path);
    }
    for (reason, paths) in by_reason {
        match paths[..] {
            [only] => tracing::warn!("{} stays in the spool: {reason}", name_of(only)),
            _ => tracing::warn!("{} traces stay in the spool: {reason}", paths.len()),
        }
    }
    for aside in &drained.set_aside {
        tracing::error!("{} is set aside: {}", name_of(&aside.path), aside.reason);
    }
    let old = count_old(drained, now);
    if old > 0 {
        tracing::warn!("{old} of them wait for more than {LONG_DAYS} days");
    }
}

/// What a user reads after a delivery.
fn sentence(drained: &Drained, now: Timestamp) -> Option<String> {
    let Some(last) = drained.waiting.last() else {
        let last = drained.set_aside.last()?;
        return Some(notice::set_aside(drained.set_aside.len(), &last.reason));
    };
    let (count, reason) = (drained.waiting.len(), &last.reason);
    Some(match count_old(drained, now) {
        0 => notice::kept_on_disk(count, reason),
        old => notice::kept_for_long(count, old, LONG_DAYS, reason),
    })
}

/// How many wait for so long that the user must learn it.
fn count_old(drained: &Drained, now: Timestamp) -> usize {
    let long = Duration::from_secs(LONG_DAYS * 24 * 60 * 60);
    let put = drained.waiting.iter().filter_map(|waiting| Spool::put_at(&waiting.path));
    put.filter(|at| now.duration_since(*at).unsigned_abs() > long && *at < now).count()
}

fn name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::drain::Waiting;

    #[test]
    fn a_user_reads_what_waits_and_what_waits_for_too_long() {
        let put = |second: i64| Waiting {
            path: format!("/spool/{:020}-tr-07070707070707070707070707070707.json", second * 1_000_000_000)
                .into(),
            reason: "away".into(),
        };
        let day = 86_400;
        let now = Timestamp::from_second(100 * day).unwrap();
        let read = |waiting: Vec<Waiting>, set_aside: Vec<Waiting>| -> Option<String> {
            let drained = Drained { waiting, set_aside, ..Drained::default() };
            Some(sentence(&drained, now)?.lines().next().unwrap_or_default().to_owned())
        };
        assert_eq!(read(vec![], vec![]), None);
        let young = "trace kept on disk (1 waiting): away";
        assert_eq!(read(vec![put(86 * day)], vec![]).as_deref(), Some(young));
        // A clock that went back makes nothing old.
        assert_eq!(read(vec![put(200 * day)], vec![]).as_deref(), Some(young));
        let old = "trace kept on disk (2 waiting, 1 of them for more than 14 days): away";
        assert_eq!(read(vec![put(86 * day - 1), put(99 * day)], vec![]).as_deref(), Some(old));
        assert_eq!(read(vec![], vec![put(0)]).as_deref(), Some("a trace was set aside: away"));
    }
}
