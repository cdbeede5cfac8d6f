//! The finisher: a process of its own that does a launch's work when the person has the prompt back.

use super::vigil::Vigil;
use super::{BEGUN, Busy, Spooled, deliver, quietly, spool};
use crate::claim::hold::Hold;
use crate::claim::journal::{self, Launch};
use crate::codex::home::CodexHome;
use crate::env::World;
use crate::launch::detached;
use crate::launch::signals;
use crate::state::State;
use crate::state::recover::Going;
use crate::summary;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A large trace over a slow network takes minutes; a server that is down may be back. But a process that
/// nobody sees must not stay for ever: the next launch goes on with what is left.
const FINISHER: Duration = Duration::from_secs(15 * 60);

/// How long turns may go on that were left running: a night. The next launch completes what takes longer.
const VIGIL: Duration = Duration::from_secs(12 * 60 * 60);

/// When to look again for prompts that stand nowhere yet, in milliseconds: 6 s in all, on a busy machine.
const LATE_PROMPTS: [u64; 6] = [100, 200, 400, 800, 1600, 3200];

/// A finisher that hangs where nothing is asked of the clock (a disk that does not answer) ends all the same.
const OVERDUE: Duration = Duration::from_secs(60);

/// `codex-traced mlflow finish <launch>`, which nobody need know of.
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
    let begun = Hold::take(&notes).and_then(|hold| Some((hold, journal::load(&notes)?)));
    let (launch, (problem, ours)) = match begun {
        Some((hold, launch)) => (Some(launch.clone()), begin(&state, world, launch, notes, hold)),
        None => (None, (None, None)),
    };
    let mut going_on: Vec<Going> = ours.into_iter().collect();
    going_on
        .extend(quietly(|| state.recover(world)).map(|recovered| recovered.going_on).into_iter().flatten());
    let waiting = quietly(|| deliver(&state, world, until, Busy::IsFine)).flatten();
    let sentence = problem.or(waiting);
    if let Some(launch) = &launch {
        let _ = quietly(|| summary::write(world, &state, launch, sentence.as_deref()));
    }
    leave(&state, sentence.as_deref());
    detached::fall_silent();
    if !going_on.is_empty() {
        detached::end_within(VIGIL + FINISHER + OVERDUE);
        Vigil::over(&state, world, going_on).keep(Instant::now() + VIGIL, |state, launch| {
            let sentence = deliver(state, world, Instant::now() + FINISHER, Busy::IsFine);
            let _ = quietly(|| summary::write(world, state, launch, sentence.as_deref()));
            leave(state, sentence.as_deref());
        });
    }
}

/// A prompt that was sent at the last moment may be written by Codex's daemon after its interface has ended; one that
/// was taken back never is.
fn await_prompts(state: &State, launch: &Launch) {
    for pause in LATE_PROMPTS {
        if quietly(|| state.misses_a_prompt(launch)) != Some(true) {
            return;
        }
        std::thread::sleep(Duration::from_millis(pause));
    }
}

/// The launch's own work: what to tell, and what goes on.
fn begin(
    state: &State,
    world: &World,
    launch: Launch,
    notes: PathBuf,
    hold: Hold,
) -> (Option<String>, Option<Going>) {
    await_prompts(state, &launch);
    match spool(state, world, &launch) {
        Spooled::All => {
            let _ = fs::remove_file(&notes);
            (None, None)
        }
        Spooled::SoFar(open) => (None, Some(Going::of(launch, notes, open, hold))),
        Spooled::Not(problem) => (problem, None),
    }
}

/// To whoever listens, and where the next launch finds it.
fn leave(state: &State, sentence: Option<&str>) {
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
}
