//! The story of one launch: locate, launch, claim, read, build, put, deliver, notice.
//!
//! Before Codex has ended nothing here may change what it reads, writes or returns; after that,
//! nothing may change how we end. Whatever fails on the way becomes a line in the log.

use crate::claim::journal::{Destination, Journal, Launch};
use crate::claim::watch::Watch;
use crate::codex::args::{self, Invocation};
use crate::codex::home::CodexHome;
use crate::codex::locate::{self, LocateError};
use crate::codex::tui_log::{self, TuiLog};
use crate::config::settings::{Settings, Tracing};
use crate::env::World;
use crate::launch::exit::ChildExit;
use crate::launch::mode::{Interface, LaunchMode, PtySetting};
use crate::launch::process::Process;
use crate::launch::program::Program;
use crate::launch::{self, Ended, signals};
use crate::notice::{self, Notices};
use crate::state::{State, Work, delivery};
use crate::{command, log};
use jiff::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Does what was asked and tells how to end.
pub fn run(world: &World) -> ChildExit {
    match args::own_command(&world.args) {
        Some(words) => command::run(words, world),
        None => codex(world),
    }
}

fn codex(world: &World) -> ChildExit {
    // A panic of ours is for the log, never for the terminal that is Codex's.
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of ours: {panic}")));
    let program = match find_program(world) {
        Ok(program) => program,
        Err(error) => {
            notice::tell(&error);
            return ChildExit::Code(error.exit_code());
        }
    };
    signals::fail_writes_instead_of_dying();
    if let Some(prepared) = quietly(|| prepare(world)).flatten()
        && let Some(exit) = traced(world, &program, prepared)
    {
        return exit;
    }
    let error = program.replace_us();
    notice::tell(&error);
    ChildExit::Code(error.exit_code())
}

fn find_program(world: &World) -> Result<Program, LocateError> {
    let depth = locate::next_depth(world)?;
    let file = locate::locate(world)?;
    Ok(Program {
        file,
        // As a shell calls what it finds on PATH.
        name: "codex".into(),
        args: world.args.clone(),
        added_variables: vec![(locate::DEPTH, depth.to_string().into())],
    })
}

struct Prepared {
    log: Option<TuiLog>,
    state: State,
    settings: Settings,
    watch: Watch,
}

/// None when there is nothing to trace: then Codex takes our place.
fn prepare(world: &World) -> Option<Prepared> {
    if Invocation::of(&world.args) == Invocation::WritesNoSession {
        return None;
    }
    let home = CodexHome::of(world)?;
    let settings = Settings::read(world, &home);
    let state = State::of(&home);
    log::begin(state.log());
    if settings.tracing.value == Tracing::Off {
        settings.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        return None;
    }
    let destination =
        Destination { target: settings.target.value.clone(), experiment: settings.experiment.value.clone() };
    let launch = Launch::new(Process::ourselves(), Timestamp::now(), destination);
    // A home that Codex has yet to make is not ours to make.
    let journal = home.path().is_dir().then(|| Journal::begin(&state.launches(), &launch));
    let journal = journal.and_then(|begun| {
        begun.inspect_err(|error| tracing::warn!("cannot begin the launch's journal: {error}")).ok()
    });
    // Without a journal nobody would sweep a log that we leave when we die.
    let wants_log = args::is_full_screen(&world.args) && journal.is_some();
    let log = wants_log.then(|| TuiLog::choose(&world.variables, &state.launches(), &launch.id)).flatten();
    Some(Prepared { watch: Watch::begin(&home, launch, journal, log.clone()), state, settings, log })
}

/// None when it never ran: then it shall run without us, or fail without us.
fn traced(world: &World, program: &Program, mut prepared: Prepared) -> Option<ChildExit> {
    let mut traced = program.clone();
    if let Some(TuiLog::Ours(path)) = &prepared.log {
        traced.added_variables.extend([(tui_log::RECORD, "1".into()), (tui_log::PATH, path.clone().into())]);
    }
    match launch::run(launch_mode(world), &traced, &mut prepared.watch) {
        Ok(Ended { exit, signals }) => {
            finish(world, prepared, exit, &|| signals.is_asked_to_end());
            Some(exit)
        }
        Err(error) => {
            tracing::info!("{error}");
            prepared.watch.journal.take().map(Journal::end);
            None
        }
    }
}

fn launch_mode(world: &World) -> LaunchMode {
    let interface = if args::is_full_screen(&world.args) { Interface::FullScreen } else { Interface::Lines };
    LaunchMode::choose(&world.terminals, interface, PtySetting::of(&world.variables))
}

/// Codex has ended: bring its sessions to where they are looked at.
fn finish(world: &World, prepared: Prepared, exit: ChildExit, is_asked_to_end: &dyn Fn() -> bool) {
    let Prepared { state, settings, mut watch, .. } = prepared;
    let notices = Notices::choose(world);
    let has_sessions = !(watch.launch.claims.is_empty() && watch.launch.logged.is_empty());
    for problem in settings.problems.iter().filter(|_| has_sessions) {
        tracing::warn!("{problem}");
        notices.say(problem);
    }
    watch.launch.exit = Some(exit);
    if let Some(journal) = &mut watch.journal {
        let _ = journal.exit(exit);
    }
    match quietly(|| state.spool_launch(&watch.launch, world)) {
        Some(Ok(Work::Done)) => drop(watch.journal.take().map(Journal::end)),
        Some(Ok(Work::GoesOn)) | None => {}
        // The journal stays: the next launch tries again.
        Some(Err(error)) => {
            tracing::error!("cannot keep the trace: {error}");
            notices.say(&format!("no trace of this session yet: {error}"));
        }
    }
    let _ = quietly(|| state.recover(world));
    match quietly(|| state.deliver(world, Some(BUDGET), is_asked_to_end)) {
        Some(Ok(drained)) => {
            delivery::sentences(&drained, Timestamp::now()).iter().for_each(|told| notices.say(told))
        }
        Some(Err(error)) => {
            notices.say(&notice::kept_on_disk(state.spool().paths().len(), &error.to_string()));
        }
        None => {}
    }
}

/// How long a person may wait for traces that others left in the spool.
const BUDGET: Duration = Duration::from_secs(3);

/// Ours must never become Codex's trouble: a panic ends here, in the log.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
