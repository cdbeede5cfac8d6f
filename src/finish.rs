//! After Codex has ended: its sessions to where they are looked at, without holding anybody up.
//!
//! On a terminal a process of its own does the work, the finisher, and the launcher listens to it for a moment
//! only. Elsewhere the launcher does the same work itself, within a limit. The launch's notes lie on disk by
//! then, so the work may be cut off anywhere: the next launch finds them, or the trace in the spool.

mod finisher;
mod vigil;

pub use finisher::finisher;

use crate::claim::evidence::Sight;
use crate::claim::journal::{self, Journal, Launch};
use crate::claim::watch::Watch;
use crate::cli;
use crate::config::settings::Settings;
use crate::config::wait::{Rank, Wait};
use crate::env::World;
use crate::launch::Ended;
use crate::launch::detached::{Detached, Heard};
use crate::launch::exit::ChildExit;
use crate::launch::signals::SignalPipe;
use crate::launch::watchdog::{self, Cut};
use crate::notice::{self, Notices};
use crate::state::{OpenTurn, State, Work, delivery};
use crate::summary;
use jiff::Timestamp;
use std::ffi::OsString;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The finisher's first word. What follows, if anything does, is a sentence for the person.
const BEGUN: &[u8] = b"begun\n";

/// How long a finisher waits for another delivery to end, which most likely takes its traces along.
const FINISHERS_PATIENCE: Duration = Duration::from_secs(30);

/// How much longer than its limit a delivery may take to end by itself: then it says where it stood.
const GRACE: Duration = Duration::from_millis(250);

/// How long a person may wait where there can be no finisher.
const WITHOUT_FINISHER: Duration = Duration::from_secs(3);

/// The launcher's part.
pub fn after(world: &World, state: &State, settings: &Settings, mut watch: Watch, ended: &Ended) {
    ended.signals.forget();
    watch.launch.exit = Some(ended.exit);
    let mut problems = settings.problems.clone();
    problems.extend(state.redaction_problems());
    let told = Wait::told(&world.variables).unwrap_or_else(|bad| {
        problems.push(bad.to_string());
        None
    });
    let wait = Wait::choose(told, &world.terminals, &world.variables, Rank::ours(world.parent));
    let notices = Notices::choose(world);
    for problem in problems.iter().filter(|_| has_sessions(&watch.launch)) {
        tracing::warn!("{problem}");
        notices.say(problem);
    }
    if has_sessions(&watch.launch)
        && let Some(introduction) = state.introduce(&settings.target.value)
    {
        notices.say(&introduction);
    }
    let safety = note(state, &mut watch);
    let place = match wait {
        Wait::Detached(patience) => {
            let until = ended.at + patience;
            if safety == Safety::OnDisk && detach(state, &watch, notices, until, &ended.signals).is_some() {
                return;
            }
            Place { until: Instant::now() + WITHOUT_FINISHER, limit: WITHOUT_FINISHER, notices }
        }
        Wait::InPlace(limit) => Place { until: ended.at + limit, limit, notices: Notices::of_job(world) },
    };
    in_place(world, state, watch, safety, &place, ended);
}

/// Whether the launch's work could be done by somebody else as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Safety {
    OnDisk,
    /// Its notes could not be written: what we know, nobody else does.
    InMemory,
}

/// All that is known of the launch in its notes; a launch without a session needs none.
fn note(state: &State, watch: &mut Watch) -> Safety {
    let launch = &watch.launch;
    if !has_sessions(launch) {
        watch.journal.take().map(Journal::end);
        return Safety::OnDisk;
    }
    if watch.journal.is_none() {
        watch.journal = Journal::begin_late(&state.launches(), launch).ok();
    }
    let noted = watch.journal.as_mut().and_then(|journal| {
        let _ = journal.complete(launch);
        journal::load(journal.path())
    });
    if noted.as_ref() == Some(launch) { Safety::OnDisk } else { Safety::InMemory }
}

/// Whether there may be something of it to trace.
fn has_sessions(launch: &Launch) -> bool {
    !(launch.claims.is_empty() && launch.logged.is_empty()) || launch.sight() == Sight::Blind
}

/// None when there can be no finisher.
fn detach(
    state: &State,
    watch: &Watch,
    notices: Notices,
    until: Instant,
    signals: &SignalPipe,
) -> Option<()> {
    let launch = &watch.launch;
    if !has_sessions(launch) && !state.has_leftovers(&launch.id) {
        return Some(());
    }
    let words = ["mlflow", cli::FINISH, &launch.id].map(OsString::from);
    let finisher = Detached::start(words.into())
        .inspect_err(|error| tracing::warn!("cannot start a process to finish the launch: {error}"))
        .ok()?;
    match finisher.hear(until, signals) {
        Heard::All(words) => match words.strip_prefix(BEGUN)? {
            [] => {}
            sentence => {
                notices.say(&String::from_utf8_lossy(sentence));
                forget_untold(state, notices);
            }
        },
        Heard::SoFar(_) => tell_untold(state, notices),
    }
    Some(())
}

/// What an earlier finisher learned when nobody listened any more; unless it was put right since.
fn tell_untold(state: &State, notices: Notices) {
    if let Ok(sentence) = fs::read_to_string(state.untold())
        && !state.spool().paths().is_empty()
    {
        notices.say(&sentence);
        forget_untold(state, notices);
    }
}

fn forget_untold(state: &State, notices: Notices) {
    if notices == Notices::Spoken {
        let _ = fs::remove_file(state.untold());
    }
}

struct Place {
    until: Instant,
    limit: Duration,
    notices: Notices,
}

/// The work in the launcher itself.
fn in_place(world: &World, state: &State, mut watch: Watch, safety: Safety, place: &Place, ended: &Ended) {
    let launch = watch.launch.clone();
    let cut_off = |cut| -> ChildExit {
        let why = notice::cut_off(match cut {
            Cut::Time => Some(place.limit),
            Cut::Asked => None,
        });
        place.notices.say(&why);
        let _ = quietly(|| summary::write(world, state, &launch, Some(&why)));
        ended.exit
    };
    let mut spool = || match spool(state, world, &launch) {
        Spooled::All => {
            watch.journal.take().map(Journal::end);
            None
        }
        Spooled::SoFar(_) => None,
        Spooled::Not(problem) => problem,
    };
    // Not to be cut off: nobody could go on with it.
    let spooled = (safety == Safety::InMemory).then(&mut spool);
    let work = || {
        let problem = spooled.unwrap_or_else(spool);
        let _ = quietly(|| state.recover(world));
        let waiting = quietly(|| deliver(state, world, place.until, Busy::IsWaitedFor)).flatten();
        problem.or(waiting)
    };
    let sentence = watchdog::guard(&ended.signals, place.until + GRACE, cut_off, work);
    if let Some(sentence) = &sentence {
        place.notices.say(sentence);
    }
    let _ = quietly(|| summary::write(world, state, &launch, sentence.as_deref()));
}

/// What came of putting the launch's traces into the spool.
enum Spooled {
    All,
    /// As far as they got: these turns still run.
    SoFar(Vec<OpenTurn>),
    /// What to tell. The notes stay: the next launch tries again.
    Not(Option<String>),
}

fn spool(state: &State, world: &World, launch: &Launch) -> Spooled {
    match quietly(|| state.spool_launch(launch, world)) {
        Some(Ok(Work::Done)) => Spooled::All,
        Some(Ok(Work::GoesOn(open))) => Spooled::SoFar(open),
        None => Spooled::Not(None),
        Some(Err(error)) => {
            tracing::error!("cannot keep the trace: {error}");
            Spooled::Not(Some(notice::not_made(&error)))
        }
    }
}

/// What it means that another process delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    /// It takes what it finds, ours too.
    IsFine,
    /// The machine may be gone before it is through.
    IsWaitedFor,
}

/// What to tell if something stays behind.
fn deliver(state: &State, world: &World, until: Instant, busy: Busy) -> Option<String> {
    let left = until.saturating_duration_since(Instant::now());
    let patience = match busy {
        // Nobody waits for a finisher, and whoever delivers may be about to leave.
        Busy::IsFine => left.min(FINISHERS_PATIENCE),
        Busy::IsWaitedFor => left,
    };
    let kept = |reason: &str| notice::kept_on_disk(state.spool().paths().len(), reason);
    match state.deliver(world, left, patience) {
        Ok(drained) if drained.is_elsewhere && busy == Busy::IsWaitedFor => {
            Some(kept("another codex-traced is delivering"))
        }
        Ok(drained) => delivery::sentences(&drained, Timestamp::now()).into_iter().next(),
        Err(error) => Some(kept(&error.to_string())),
    }
}

/// Ours must never become Codex's trouble: a panic ends here, in the log.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
