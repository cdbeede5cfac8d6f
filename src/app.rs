//! The story of one launch: locate, launch, claim, read, build, put, deliver, notice.
//!
//! Before Codex has ended nothing here may change what it reads, writes or returns; after that,
//! nothing may change how we end. Whatever fails on the way becomes a line in the log.

use crate::claim::journal::{Journal, Launch};
use crate::claim::watch::Watch;
use crate::codex::args::{self, Invocation};
use crate::codex::home::CodexHome;
use crate::codex::locate::{self, LocateError};
use crate::config::settings::{Settings, Tracing};
use crate::env::World;
use crate::launch::mode::{Interface, LaunchMode, PtySetting};
use crate::launch::process::Process;
use crate::launch::program::Program;
use crate::launch::{self, exit::ChildExit};
use crate::notice::{self, Notices};
use crate::state::State;
use crate::{command, log};
use jiff::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    match quietly(|| prepare(world)).flatten() {
        Some(prepared) => traced(world, &program, prepared),
        None => {
            let error = program.replace_us();
            notice::tell(&error);
            ChildExit::Code(error.exit_code())
        }
    }
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
    if settings.tracing.value == Tracing::Off {
        return None;
    }
    let state = State::of(&home);
    log::begin(state.log());
    let launch = Launch::new(Process::ourselves(), Timestamp::now());
    // A home that Codex has yet to make is not ours to make.
    let journal = home.path().is_dir().then(|| Journal::begin(&state.launches(), &launch));
    let journal = journal.and_then(|begun| {
        begun.inspect_err(|error| tracing::warn!("cannot begin the launch's journal: {error}")).ok()
    });
    Some(Prepared { watch: Watch::begin(&home, launch, journal), state, settings })
}

fn traced(world: &World, program: &Program, mut prepared: Prepared) -> ChildExit {
    let exit = match launch::run(launch_mode(world), program, &mut prepared.watch) {
        Ok(exit) => exit,
        Err(error) => {
            notice::tell(&error);
            // It never ran: there is nothing to finish.
            prepared.watch.journal.take().map(Journal::end);
            return ChildExit::Code(error.exit_code());
        }
    };
    let _ = quietly(|| finish(world, prepared, exit));
    exit
}

fn launch_mode(world: &World) -> LaunchMode {
    let interface = if args::is_full_screen(&world.args) { Interface::FullScreen } else { Interface::Lines };
    LaunchMode::choose(&world.terminals, interface, PtySetting::of(&world.variables))
}

/// Codex has ended: bring its sessions to where they are looked at.
fn finish(world: &World, prepared: Prepared, exit: ChildExit) {
    let Prepared { state, settings, mut watch } = prepared;
    let notices = Notices::choose(world);
    let has_sessions = !watch.launch.claims.is_empty();
    for problem in settings.problems.iter().filter(|_| has_sessions) {
        tracing::warn!("{problem}");
        notices.say(problem);
    }
    watch.launch.exit = Some(exit);
    if let Some(journal) = &mut watch.journal {
        let _ = journal.exit(exit);
    }
    match state.spool_launch(&watch.launch, &settings, world) {
        Ok(()) => drop(watch.journal.take().map(Journal::end)),
        // The journal stays: the next launch tries again.
        Err(error) => {
            tracing::error!("cannot keep the trace: {error}");
            notices.say(&format!("no trace of this session yet: {error}"));
        }
    }
    state.recover(&settings, world);
    if let Ok(drained) = state.deliver()
        && let Some(first) = drained.waiting.first()
    {
        notices.say(&notice::kept_on_disk(drained.waiting.len(), &first.reason));
    }
}

/// Ours must never become Codex's trouble: a panic ends here, in the log.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
