//! After Codex has ended: its sessions to where they are looked at, without holding anybody up.
//!
//! On a terminal a process of its own does the work, the finisher, and the launcher listens to it for a moment
//! only. Elsewhere the launcher does the same work itself, within a limit. The launch's notes lie on disk by
//! then, so the work may be cut off anywhere: the next launch finds them, or the trace in the spool.

use crate::claim::hold::Hold;
use crate::claim::journal::{self, Journal, Launch};
use crate::claim::watch::Watch;
use crate::cli;
use crate::codex::home::CodexHome;
use crate::config::settings::Settings;
use crate::config::wait::{Rank, Wait};
use crate::env::World;
use crate::launch::Ended;
use crate::launch::detached::{self, Detached, Heard};
use crate::launch::exit::ChildExit;
use crate::launch::signals::{self, SignalPipe};
use crate::launch::watchdog::{self, Cut};
use crate::notice::{self, Notices};
use crate::state::{State, Work, delivery};
use crate::summary;
use jiff::Timestamp;
use std::ffi::OsString;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The finisher's first word. What follows, if anything does, is a sentence for the person.
const BEGUN: &[u8] = b"begun\n";

/// A large trace over a slow network takes minutes; a server that is down may be back. But a process that
/// nobody sees must not stay for ever: the next launch goes on with what is left.
const FINISHER: Duration = Duration::from_secs(15 * 60);

/// How long a finisher waits for another delivery to end, which most likely takes its traces along.
const FINISHERS_PATIENCE: Duration = Duration::from_secs(30);

/// A finisher that hangs where nothing is asked of the clock (a disk that does not answer) ends all the same.
const OVERDUE: Duration = Duration::from_secs(60);

/// How much longer than its limit a delivery may take to end by itself: then it says where it stood.
const GRACE: Duration = Duration::from_millis(250);

/// How long a person may wait where there can be no finisher.
const WITHOUT_FINISHER: Duration = Duration::from_secs(3);

/// The launcher's part.
pub fn after(world: &World, state: &State, settings: &Settings, mut watch: Watch, ended: &Ended) {
    ended.signals.forget();
    let mut problems = settings.problems.clone();
    problems.extend(state.redaction_problems());
    let told = Wait::told(&world.variables).unwrap_or_else(|bad| {
        problems.push(bad.to_string());
        None
    });
    let wait = Wait::choose(told, &world.terminals, &world.variables, Rank::ours());
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
    watch.launch.exit = Some(ended.exit);
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
        watch.journal = Journal::of_ended(&state.launches(), launch).ok();
    }
    let noted = watch.journal.as_mut().and_then(|journal| {
        let _ = journal.complete(launch);
        journal::load(journal.path())
    });
    if noted.as_ref() == Some(launch) { Safety::OnDisk } else { Safety::InMemory }
}

fn has_sessions(launch: &Launch) -> bool {
    !(launch.claims.is_empty() && launch.logged.is_empty())
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
    let mut spool = || spool(state, world, &launch, || drop(watch.journal.take().map(Journal::end)));
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

/// The finisher's part: `codex-traced mlflow finish <launch>`, which nobody need know of.
pub fn finisher(launch: &str, world: &World) {
    detached::settle(FINISHER + OVERDUE);
    signals::fail_writes_instead_of_dying();
    detached::say(BEGUN);
    let Some(home) = CodexHome::of(world) else { return };
    let state = State::of(&home);
    crate::log::begin(state.log());
    let until = Instant::now() + FINISHER;
    let notes = journal::path_of(&state.launches(), launch);
    // While we hold them no other launch begins the same work.
    let hold = Hold::take(&notes);
    let launch = hold.as_ref().and_then(|_| journal::load(&notes));
    let problem = launch.as_ref().and_then(|launch| {
        spool(&state, world, launch, || {
            let _ = fs::remove_file(&notes);
        })
    });
    let _ = quietly(|| state.recover(world));
    drop(hold);
    let waiting = quietly(|| deliver(&state, world, until, Busy::IsFine)).flatten();
    let sentence = problem.or(waiting);
    if let Some(launch) = &launch {
        let _ = quietly(|| summary::write(world, &state, launch, sentence.as_deref()));
    }
    match sentence {
        Some(sentence) => {
            // First: whoever listens removes it once it is told.
            if let Err(error) = crate::disk::write_private(&state.untold(), sentence.as_bytes()) {
                tracing::warn!("cannot leave a notice for the next launch: {error}");
            }
            detached::say(sentence.as_bytes());
        }
        None if state.spool().paths().is_empty() => _ = fs::remove_file(state.untold()),
        None => {}
    }
    detached::fall_silent();
}

/// Puts the launch's traces into the spool; `end_notes` once they are there. What to tell if they are not.
fn spool(state: &State, world: &World, launch: &Launch, end_notes: impl FnOnce()) -> Option<String> {
    match quietly(|| state.spool_launch(launch, world)) {
        Some(Ok(Work::Done)) => end_notes(),
        Some(Ok(Work::GoesOn)) | None => {}
        // The notes stay: the next launch tries again.
        Some(Err(error)) => {
            tracing::error!("cannot keep the trace: {error}");
            return Some(notice::not_made(&error));
        }
    }
    None
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
