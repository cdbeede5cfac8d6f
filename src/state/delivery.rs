//! From the spool to the targets: as a launch does it by itself, and as somebody asks for it.

use super::archived::{GoesOn, MOST_PARTS};
use super::{State, StateError};
use crate::config::access::Access;
use crate::config::target::{Experiment, Target};
use crate::env::World;
use crate::export::deliver::{Archived, DrainError, Drained, Eagerness, Limits, Step, Waiting, drain};
use crate::export::{self, Patience};
use crate::notice;
use crate::spool::Spool;
use crate::spool::policy::{LONG, Lane};
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long somebody who asked for it waits for others who are at work.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a delivery was asked for.
struct Asked<'a> {
    budget: Option<Duration>,
    /// How long to wait for another delivery to end.
    patience: Duration,
    eagerness: Eagerness,
    /// Whether somebody wants it to end.
    is_over: &'a dyn Fn() -> bool,
    /// Told why a request is tried again, and how soon.
    retrying: &'a dyn Fn(&str, Duration),
}

/// Drains the spool, and says so step by step.
type Once<'a> = dyn Fn(&dyn Fn(&Step)) -> Result<Drained, DrainError> + 'a;

impl State {
    /// Delivers what the spool holds, as a launch does by itself, within a budget; the log says what stays and
    /// why. `patience` is how long to wait for another delivery to end.
    pub fn deliver(
        &self,
        world: &World,
        budget: Duration,
        patience: Duration,
    ) -> Result<Drained, DrainError> {
        let eagerness = Eagerness::Patient;
        let asked =
            Asked { budget: Some(budget), patience, eagerness, is_over: &|| false, retrying: &silent };
        self.drain(world, &asked, &|_| {})
    }

    /// Delivers what the spool holds because somebody asked for it, and watches.
    pub fn deliver_now(
        &self,
        world: &World,
        told: &dyn Fn(&Step),
        retrying: &dyn Fn(&str, Duration),
    ) -> Result<Drained, DrainError> {
        let eagerness = Eagerness::Asked;
        let asked = Asked { budget: None, patience: PATIENCE, eagerness, is_over: &|| false, retrying };
        self.drain(world, &asked, told)
    }

    /// As `deliver`, for somebody who watches and may want it to end.
    pub fn deliver_within(
        &self,
        world: &World,
        budget: Duration,
        is_over: &dyn Fn() -> bool,
        told: &dyn Fn(&Step),
    ) -> Result<Drained, DrainError> {
        let (budget, eagerness) = (Some(budget), Eagerness::Patient);
        let asked = Asked { budget, patience: PATIENCE, eagerness, is_over, retrying: &silent };
        self.drain(world, &asked, told)
    }

    /// As `deliver_now`, for somebody who may change their mind.
    pub fn deliver_until(
        &self,
        world: &World,
        is_over: &dyn Fn() -> bool,
        told: &dyn Fn(&Step),
    ) -> Result<Drained, DrainError> {
        let eagerness = Eagerness::Asked;
        let asked = Asked { budget: None, patience: PATIENCE, eagerness, is_over, retrying: &silent };
        self.drain(world, &asked, told)
    }

    /// What was set aside waits again, and no target is left alone any more. Tells how many came back.
    pub fn bring_back(&self) -> Result<usize, StateError> {
        let spool = self.spool();
        let failed = |error| StateError::Spool(self.folder.join("spool"), error);
        let mut locks = Vec::new();
        for lane in [Lane::Local, Lane::Remote] {
            let lock = spool.lock(lane, PATIENCE).map_err(|error| failed(error.into()))?;
            locks.push(lock.ok_or(StateError::Busy)?);
            spool.rests(lane).forget().map_err(|error| failed(error.into()))?;
        }
        let set_aside = spool.set_aside();
        for path in &set_aside {
            spool.bring_back(path).map_err(failed)?;
        }
        Ok(set_aside.len())
    }

    fn drain(&self, world: &World, asked: &Asked, told: &dyn Fn(&Step)) -> Result<Drained, DrainError> {
        let Asked { budget, patience, eagerness, is_over, retrying } = *asked;
        let spool = self.spool();
        if spool.paths().is_empty() {
            return Ok(Drained::default());
        }
        let access = Access::of(world);
        let until = budget.map(|budget| Instant::now() + budget);
        let once = |told: &dyn Fn(&Step)| {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limits = Limits {
                patience,
                budget: left,
                is_asked_to_end: is_over,
                eagerness,
                now: &Timestamp::now,
                luck: &luck,
                told,
            };
            let patience = Patience { until, is_asked_to_end: is_over, retrying };
            let connect = |target: &Target, experiment: &Experiment| {
                export::mlflow::exporter(target, experiment, &access, patience)
            };
            drain(&spool, &self.receipts(), &limits, connect)
        };
        let mut drained = once(told);
        // What continues an archived trace may be archived itself by now.
        for _ in 0..MOST_PARTS {
            let Ok(so_far) = &mut drained else { break };
            let archived = std::mem::take(&mut so_far.archived);
            if archived.is_empty() {
                break;
            }
            match self.continued(archived, so_far, world, &once, told) {
                Ok(()) => {}
                Err(error) => drained = Err(error),
            }
        }
        match &drained {
            Ok(drained) => log_what_stays(drained, Timestamp::now()),
            Err(error) => tracing::warn!("nothing was delivered: {error}"),
        }
        drained
    }

    /// Delivers the later turns of sessions whose traces are archived.
    fn continued(
        &self,
        archived: Vec<Archived>,
        so_far: &mut Drained,
        world: &World,
        once: &Once,
        told: &dyn Fn(&Step),
    ) -> Result<(), DrainError> {
        let mut goes_on = Vec::new();
        for one in archived {
            so_far.waiting.retain(|waiting| !one.paths.contains(&waiting.path));
            match self.go_on(&one, world) {
                Ok(outcome) => goes_on.push((one, outcome)),
                Err(error) => {
                    let reason = format!("{} (and cannot be continued: {error})", one.reason);
                    let wait = |path: &PathBuf| Waiting { path: path.clone(), reason: reason.clone() };
                    so_far.waiting.extend(one.paths.iter().map(wait));
                }
            }
        }
        let failed = RefCell::new(HashMap::new());
        if goes_on.iter().any(|(_, outcome)| matches!(outcome, GoesOn::As(_))) {
            let more = once(&|step: &Step| {
                if let Err(reason) = step.outcome {
                    failed.borrow_mut().insert(step.trace, reason.to_owned());
                }
                told(step);
            })?;
            so_far.delivered.extend(more.delivered);
            so_far.set_aside.extend(more.set_aside);
            so_far.archived.extend(more.archived);
            so_far.waiting = more.waiting;
            so_far.is_elsewhere |= more.is_elsewhere;
        }
        let of = goes_on.len();
        for (number, (one, outcome)) in (1..).zip(goes_on) {
            let failed = failed.borrow();
            let told_of =
                |outcome| told(&Step { number, of, trace: one.trace, target: &one.target, outcome });
            match outcome {
                GoesOn::As(trace) => told_of(failed.get(&trace).map_or(Ok(()), |reason| Err(reason))),
                GoesOn::Nowhere => told_of(Ok(())),
                GoesOn::SetAside(aside) => {
                    told_of(Err(&one.reason));
                    so_far.set_aside.extend(aside);
                }
            }
        }
        Ok(())
    }
}

fn silent(_: &str, _: Duration) {}

/// A reason that many share is said once.
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
    let old = drained.waiting.iter().filter(|waiting| is_old(&waiting.path, now)).count();
    if old > 0 {
        tracing::warn!("{old} of them wait for more than {} days", LONG.as_secs() / 86_400);
    }
}

/// What to say to a person after a delivery.
pub fn sentences(drained: &Drained, now: Timestamp) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(last) = drained.waiting.last() {
        let old = drained.waiting.iter().filter(|waiting| is_old(&waiting.path, now)).count();
        said.push(match old {
            0 => notice::kept_on_disk(drained.waiting.len(), &last.reason),
            old => notice::kept_for_long(drained.waiting.len(), old, LONG.as_secs() / 86_400, &last.reason),
        });
    }
    if let Some(last) = drained.set_aside.last() {
        said.push(notice::set_aside(drained.set_aside.len(), &last.reason));
    }
    said
}

/// Whether somebody should be told that it still waits.
pub fn is_old(entry: &Path, now: Timestamp) -> bool {
    Spool::put_at(entry).is_some_and(|at| now.duration_since(at).unsigned_abs() > LONG && at < now)
}

/// Between 0 and 1, another one for each process and each call.
fn luck() -> f64 {
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}

fn name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::deliver::Waiting;

    #[test]
    fn a_person_is_told_what_waits_and_what_waits_for_too_long() {
        let put = |second: i64| Waiting {
            path: format!("/spool/{:020}-tr-07070707070707070707070707070707.json", second * 1_000_000_000)
                .into(),
            reason: "away".into(),
        };
        let day = 86_400;
        let now = Timestamp::from_second(100 * day).unwrap();
        let said = |waiting: Vec<Waiting>, set_aside: Vec<Waiting>| -> Vec<String> {
            let drained = Drained { waiting, set_aside, ..Drained::default() };
            let first = |sentence: String| sentence.lines().next().unwrap_or_default().to_owned();
            sentences(&drained, now).into_iter().map(first).collect()
        };
        assert_eq!(said(vec![], vec![]), [""; 0]);
        let young = "trace kept on disk (1 waiting): away";
        assert_eq!(said(vec![put(86 * day)], vec![]), [young]);
        // A clock that went back makes nothing old.
        assert_eq!(said(vec![put(200 * day)], vec![]), [young]);
        let old = "trace kept on disk (2 waiting, 1 of them for more than 14 days): away";
        assert_eq!(said(vec![put(86 * day - 1), put(99 * day)], vec![]), [old]);
        assert_eq!(said(vec![], vec![put(0)]), ["a trace was set aside: away"]);
    }
}
