//! The finisher: a process of its own that does a launch's work while the user has the prompt back.

use super::context::Context;
use super::follower::Follower;
use super::notice_file::leave;
use super::open_turns::OpenLaunch;
use super::recover::recover;
use super::steps::{Busy, Spooled, deliver, spool_launch};
use super::summary;
use crate::base::codex_home::CodexHome;
use crate::base::quiet::quietly;
use crate::base::world::World;
use crate::claim::claims::misses_a_prompt;
use crate::claim::hold::Hold;
use crate::claim::launch_record::{self, Launch};
use launch::detached;
use launch::signals;
use std::ffi::CStr;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the finisher sends to the launcher first. A sentence for the user may follow.
pub(super) const BEGUN: &[u8] = b"begun\n";

/// A large trace over a slow network takes minutes, and a server may come back. After this limit the next launch
/// continues, so that no invisible process stays for ever.
const FINISHER: Duration = Duration::from_secs(15 * 60);

/// How long the finisher waits for turns that still run: a night. The next launch completes what takes longer.
const OPEN_TURNS: Duration = Duration::from_secs(12 * 60 * 60);

/// Pauses between looks for a logged prompt that no session file holds, in milliseconds. 6 s in all are enough on a
/// busy machine.
const LATE_PROMPTS: [u64; 6] = [100, 200, 400, 800, 1600, 3200];

/// A finisher that hangs in a system call (a disk that does not answer) ends after this much more.
const OVERDUE: Duration = Duration::from_secs(60);

/// The finisher's name in process lists.
pub(super) const NAME: &CStr = c"codex-traced";

/// `codex-traced mlflow finish <launch>`. Internal; started by the launcher.
pub fn finisher(launch: &str, world: &World) {
    detached::settle(NAME, FINISHER + OVERDUE);
    signals::fail_writes_instead_of_dying();
    detached::report(BEGUN);
    let Some(home) = CodexHome::from_world(world) else { return };
    let mut context = Context::new(world, &home);
    crate::base::log::begin(context.paths.log());
    let until = Instant::now() + FINISHER;
    let record = launch_record::path_of(&context.paths.launches(), launch);
    // While this process has the hold, no other one does the same work.
    let begun = Hold::take(&record).and_then(|hold| Some((hold, launch_record::load(&record)?)));
    let (launch, (problem, own)) = match begun {
        Some((hold, launch)) => (Some(launch.clone()), begin(launch, record, hold, &context)),
        None => (None, (None, None)),
    };
    let mut open: Vec<OpenLaunch> = own.into_iter().collect();
    let recovered = quietly(|| recover(&context, Duration::ZERO));
    open.extend(recovered.map(|recovered| recovered.open).into_iter().flatten());
    let waiting = quietly(|| deliver(until, Busy::IsFine, &context)).flatten();
    let sentence = problem.or(waiting);
    if let Some(launch) = &launch {
        let _ = quietly(|| summary::write(&context, launch, sentence.as_deref()));
    }
    leave(&context.paths, sentence.as_deref());
    detached::stop_reporting();
    if open.is_empty() {
        return;
    }
    detached::end_within(OPEN_TURNS + FINISHER + OVERDUE);
    Follower::new(&mut context, open).run(Instant::now() + OPEN_TURNS, |context, launch| {
        let sentence = deliver(Instant::now() + FINISHER, Busy::IsFine, context);
        let _ = quietly(|| summary::write(context, launch, sentence.as_deref()));
        leave(&context.paths, sentence.as_deref());
    });
}

/// Codex's daemon may write a prompt after the interface that sent it has ended. A prompt that the user took back is
/// never written.
fn await_prompts(launch: &Launch, context: &Context) {
    for pause in LATE_PROMPTS {
        if quietly(|| misses_a_prompt(launch, &context.paths)) != Some(true) {
            return;
        }
        std::thread::sleep(Duration::from_millis(pause));
    }
}

/// The finisher's own launch: what the user reads, and the turns that still run.
fn begin(
    launch: Launch,
    record: PathBuf,
    hold: Hold,
    context: &Context,
) -> (Option<String>, Option<OpenLaunch>) {
    await_prompts(&launch, context);
    match spool_launch(&launch, context) {
        Spooled::All => {
            let _ = fs::remove_file(&record);
            (None, None)
        }
        Spooled::SoFar(turns) => (None, Some(OpenLaunch::new(launch, record, turns, hold))),
        Spooled::Not(problem) => (problem, None),
    }
}
