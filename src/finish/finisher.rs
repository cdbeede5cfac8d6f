//! The work after Codex's end in a process of its own, while the user has the prompt back.

use super::assemble::assemble_or_report;
use super::context::Context;
use super::delivery::{Busy, deliver_after_launch};
use super::notices;
use super::open_turns::{OpenLaunch, OpenTurn};
use super::recover::recover;
use super::summary;
use super::tracer_process::DONE;
use crate::base::log::quietly;
use crate::claim::claims::misses_a_prompt;
use crate::claim::launch_record::Launch;
use codex_session::rollout::file_changes::Changes;
use codex_session::session::Tail;
use launch::detached;
use launch::process::Process;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A large trace over a slow network takes minutes, and a server may come back. After this limit the next launch
/// continues, so that no invisible process stays forever.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long the finisher waits for turns that still run: a night. The next launch completes what takes longer.
const OPEN_TURNS: Duration = Duration::from_secs(12 * 60 * 60);

/// Pauses between looks for a logged prompt that no session file holds, in milliseconds. 6 s in all are enough on a
/// busy machine.
const LATE_PROMPTS: [u64; 6] = [100, 200, 400, 800, 1600, 3200];

/// How long after a turn's end its trace is made. A command may outlive its turn by a moment, and Codex writes the end
/// in several lines.
const LINGER: Duration = Duration::from_millis(250);

/// The pace where no event comes: a rollout outside of Codex's home, a writer without a descriptor.
const PACE: Duration = Duration::from_secs(2);

/// A finisher that hangs in a system call (a disk that does not answer) ends after this much more.
const OVERDUE: Duration = Duration::from_secs(60);

/// Makes and delivers the traces of a launch that is over, and those of launches that died; follows turns that still
/// run. `begun` is None where another process does the launch's work. A job waits no longer than `until`.
pub(crate) fn finish(begun: Option<OpenLaunch>, until: Option<Instant>, context: &mut Context) {
    detached::end_within(LIMIT + OVERDUE);
    let launch = begun.as_ref().map(|begun| begun.launch.clone());
    let (mut open, mut problem) = (Vec::new(), None);
    if let Some(begun) = begun {
        await_prompts(&begun.launch, context);
        match complete(begun, context) {
            Ok(own) => open.extend(own),
            Err(why) => problem = why,
        }
    }
    let recovered = quietly(|| recover(context, Duration::ZERO));
    open.extend(recovered.map(|recovered| recovered.open).into_iter().flatten());
    let (until, busy) = match until {
        Some(until) => (until, Busy::IsWaitedFor),
        None => (Instant::now() + LIMIT, Busy::IsFine),
    };
    report(until, busy, problem, launch.as_ref(), context);
    detached::report(DONE);
    detached::stop_reporting();
    if !open.is_empty() {
        detached::end_within(OPEN_TURNS + LIMIT + OVERDUE);
        follow(open, Instant::now() + OPEN_TURNS, context);
    }
}

/// Assembles a launch, and removes its record unless turns still run. The error is what the user reads.
fn complete(mut launch: OpenLaunch, context: &Context) -> Result<Option<OpenLaunch>, Option<String>> {
    launch.turns = assemble_or_report(&launch.launch, context)?;
    if launch.turns.is_empty() {
        let _ = fs::remove_file(&launch.record);
        return Ok(None);
    }
    Ok(Some(launch))
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

/// Delivers the spool. The user reads `problem`, or what stays behind.
fn report(until: Instant, busy: Busy, problem: Option<String>, launch: Option<&Launch>, context: &Context) {
    let waiting = quietly(|| deliver_after_launch(until, busy, context)).flatten();
    let sentence = problem.or(waiting);
    if let Some(launch) = launch {
        summary::write(context, launch, sentence.as_deref());
    }
    notices::leave(&context.paths, sentence.as_deref());
}

/// An open turn that is watched.
struct Followed {
    writer: Process,
    tail: Tail,
    /// Readable when the writer ends.
    ending: Option<OwnedFd>,
}

impl Followed {
    fn new(turn: OpenTurn) -> Followed {
        Followed { tail: Tail::new(&turn.rollout), ending: turn.writer.ending(), writer: turn.writer }
    }

    /// Whether nothing will be added to it.
    fn is_over(&mut self) -> bool {
        // In this order: lines that precede the writer's end are read.
        let is_alive = self.writer.is_alive();
        // The file may be archived or deleted by now.
        let is_there = self.tail.read().is_ok();
        !is_alive || !is_there || self.tail.is_at_rest()
    }
}

/// Completes and delivers the traces of launches when a turn or its writer ends, until no turn runs.
fn follow(launches: Vec<OpenLaunch>, until: Instant, context: &mut Context) {
    let mut changes = Changes::begin(context.home().path());
    let followed = |mut launch: OpenLaunch| {
        let turns: Vec<_> = launch.turns.drain(..).map(Followed::new).collect();
        (launch, turns)
    };
    let mut launches: Vec<_> = launches.into_iter().map(followed).collect();
    while !launches.is_empty() && Instant::now() < until {
        let over = launches.iter_mut().position(|(_, turns)| turns.iter_mut().any(Followed::is_over));
        let Some(over) = over else {
            wait(&mut changes, launches.iter().flat_map(|(_, turns)| turns));
            continue;
        };
        std::thread::sleep(LINGER);
        let (launch, _) = launches.remove(over);
        let ended = launch.launch.clone();
        context.reread_settings();
        let completed = complete(launch, context);
        let _ = quietly(|| report(Instant::now() + LIMIT, Busy::IsFine, None, Some(&ended), context));
        // After a failure the next launch tries again.
        launches.extend(completed.ok().flatten().map(followed));
    }
}

/// Until a file changes or a writer ends.
fn wait<'f>(changes: &mut Changes, turns: impl Iterator<Item = &'f Followed>) {
    let endings = turns.filter_map(|turn| turn.ending.as_ref()).map(AsFd::as_fd);
    changes.wait(endings, PACE);
    changes.take();
}
