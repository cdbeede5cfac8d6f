//! One launch: locate Codex, launch it, observe its claims. `finish` does the work after its end.
//!
//! Before Codex ends, nothing here may change what Codex reads, writes or returns. After that, nothing may change how
//! the launcher ends. Every failure becomes a line in the log.

use crate::base::log::quietly;
use crate::base::paths::{CodexHome, Paths};
use crate::base::world::World;
use crate::base::{log, notice};
use crate::claim::launch_record::{Destination, Launch, LaunchRecord};
use crate::claim::observer::Observer;
use crate::codex::command_line::CommandLine;
use crate::codex::interface_log::{self, InterfaceLog};
use crate::codex::locate::{self, LocateError};
use crate::codex::npm::DirectStart;
use crate::finish;
use crate::finish::context::Context;
use crate::finish::followed_launch::FollowedLaunch;
use crate::settings::{Settings, Tracing};
use common::disk::make_private_folder;
use jiff::Timestamp;
use launch::exit::ChildExit;
use launch::mode::{Interface, LaunchMode, PtySetting};
use launch::orphan::Orphan;
use launch::process::Process;
use launch::program::{Program, StartState};
use launch::{self, signals};

/// Runs Codex and traces what it writes. Returns the end of the process, as Codex ended.
pub fn run(world: &World) -> ChildExit {
    // A panic of the launcher goes to the log, because the terminal belongs to Codex.
    log::take_panics();
    let programs = match Programs::find(world) {
        Ok(programs) => programs,
        Err(error) => {
            notice::print(&error);
            return ChildExit::Code(error.exit_code());
        }
    };
    signals::fail_writes_instead_of_dying();
    if let Some(prepared) = quietly(|| prepare(world)).flatten()
        && let Some(exit) = traced(world, programs.started(), prepared)
    {
        return exit;
    }
    // An interface that is not traced is as without codex-traced: Node.js puts the terminal right after it.
    let may_write_session = CommandLine::parse(&world.args, world.cwd.as_deref()).may_write_session;
    let program = if may_write_session { &programs.found } else { programs.started() };
    let error = program.replace_process();
    notice::print(&error);
    ChildExit::Code(error.exit_code())
}

/// What to run.
struct Programs {
    /// The `codex` that was found.
    found: Program,
    /// The native program behind it, where it is npm's launcher.
    direct: Option<Program>,
}

impl Programs {
    fn find(world: &World) -> Result<Programs, LocateError> {
        let depth = locate::next_depth(world)?;
        let file = locate::locate(world)?;
        let direct = DirectStart::find(&file, world);
        let found = Program {
            file,
            // As a shell calls what it finds on PATH.
            name: "codex".into(),
            args: world.args.clone(),
            added_variables: vec![(locate::DEPTH, depth.to_string().into())],
            removed_variables: Vec::new(),
            state: StartState::AsEntered,
            orphan: Orphan::LivesOn,
        };
        let direct = direct.map(|DirectStart { program, added, removed }| Program {
            // As npm's launcher calls it.
            name: program.clone().into(),
            file: program,
            added_variables: found.added_variables.iter().cloned().chain(added).collect(),
            removed_variables: removed,
            state: StartState::AsFromNode,
            ..found.clone()
        });
        Ok(Programs { found, direct })
    }

    fn started(&self) -> &Program {
        self.direct.as_ref().unwrap_or(&self.found)
    }
}

struct Prepared<'w> {
    log: Option<InterfaceLog>,
    context: Context<'w>,
    /// As they were at the launch's start.
    settings: Settings,
    followed: FollowedLaunch,
}

/// None when there is nothing to trace: then Codex replaces this process.
fn prepare(world: &World) -> Option<Prepared<'_>> {
    let command_line = CommandLine::parse(&world.args, world.cwd.as_deref());
    if !command_line.may_write_session {
        return None;
    }
    let home = CodexHome::from_world(world)?;
    let settings = Settings::read(world, &home);
    let paths = Paths::new(&home);
    log::begin(paths.log());
    if settings.tracing.value == Tracing::Off {
        settings.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        return None;
    }
    let destination = Destination::from_settings(&settings);
    let launch = Launch {
        granularity: settings.granularity.value,
        content: settings.content.value,
        context: settings.launch.clone(),
        further: settings.further.clone(),
        ..Launch::new(Process::current(), Timestamp::now(), destination, command_line.request)
    };
    // Codex opens its log as it starts, in a folder that is there. A home that Codex has yet to make has none.
    let wants_log = launch.request.interface == Interface::FullScreen
        && home.path().is_dir()
        && make_private_folder(&paths.launches()).is_ok();
    let log =
        wants_log.then(|| InterfaceLog::choose(&world.variables, &paths.launches(), &launch.id)).flatten();
    let observer = Observer::new(&home, paths.launches(), launch, log.clone());
    let is_live = settings.is_live();
    let followed = FollowedLaunch::new(observer, is_live);
    Some(Prepared { followed, context: Context::new(world, &home), settings, log })
}

/// None when Codex never ran under the launcher: then it replaces this process, or fails as it does alone.
fn traced(world: &World, program: &Program, mut prepared: Prepared) -> Option<ChildExit> {
    let mut traced = program.clone();
    let request = &prepared.followed.observer.launch.request;
    // A client that kills its server starts the next one, and a port or a socket has room for one.
    if request.is_server {
        traced.orphan = Orphan::IsKilled;
    }
    let mode = launch_mode(world, request.interface);
    if let Some(InterfaceLog::Launchers(path)) = &prepared.log {
        traced
            .added_variables
            .extend([(interface_log::RECORD, "1".into()), (interface_log::PATH, path.clone().into())]);
    }
    match launch::run(mode, &traced, c"codex-witness", &mut prepared.followed) {
        Ok(ended) => {
            let Prepared { context, settings, followed, .. } = prepared;
            quietly(|| finish::after(&context, &settings, followed, &ended));
            Some(ended.exit)
        }
        Err(error) => {
            tracing::info!("{error}");
            prepared.followed.observer.record.take().map(LaunchRecord::remove);
            None
        }
    }
}

fn launch_mode(world: &World, interface: Interface) -> LaunchMode {
    LaunchMode::choose(
        &world.terminals,
        interface,
        PtySetting::from_text(world.variables.text("CODEX_TRACED_PTY")),
    )
}
