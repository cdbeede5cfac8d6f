//! The tracer: a process of its own for one launch. While Codex works it keeps the launch's traces up to date in their
//! targets; at Codex's end it completes and delivers them. A launch that ends early has one that does only the latter.
//!
//! The session files and the launch record are the durable truth. Updates skip the spool; the trace at the end takes
//! it as ever, and replaces what updates wrote. So a tracer may die at any moment: the launcher or a later launch does
//! the same work again.

mod launch_follower;
mod live_sender;
mod live_targets;
mod live_thread;
pub mod live_threads;
pub mod live_trace;
mod pace;
pub mod session_cache;
pub mod thread_source;

use crate::base::log::quietly;
use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::claim::launch_record;
use crate::claim::launches::LaunchLock;
use crate::claim::observer;
use crate::finish::context::Context;
use crate::finish::finisher;
use crate::finish::open_turns::OpenLaunch;
use crate::finish::tracer_process::{BEGUN, NAME};
use launch::{detached, signals};
use launch_follower::LaunchFollower;
use std::time::Instant;

/// `codex-traced mlflow finish <launch>`. Internal; started by the launcher.
pub fn tracer(launch: &str, world: &World) {
    detached::settle(NAME);
    signals::fail_writes_instead_of_dying();
    detached::report(BEGUN);
    let Some(home) = CodexHome::from_world(world) else { return };
    let mut context = Context::new(world, &home);
    crate::base::log::begin(context.paths.log());
    let record = launch_record::path_of(&context.paths.launches(), launch);
    // While this process has the lock, no other one does the same work.
    let mut begun = LaunchLock::take(&record).and_then(|lock| {
        let launch = launch_record::load(&record)?;
        Some(OpenLaunch { launch, record, turns: Vec::new(), lock })
    });
    let mut until = None;
    if let Some(begun) = begun.as_mut().filter(|begun| begun.launch.exit.is_none()) {
        until = follow(begun, &mut context);
        // The user may have changed them since.
        context.reread_settings();
        begun.launch = launch_record::load(&begun.record).unwrap_or_else(|| begun.launch.clone());
        if begun.launch.exit.is_none() {
            // The launcher died, and may not have read all that the interface logged.
            observer::take_log_of(&mut begun.launch, &context.paths.launches());
        }
    }
    finisher::finish(begun, until, &mut context);
}

/// Until Codex's end. Returns until when a job waits for the delivery.
fn follow(begun: &OpenLaunch, context: &mut Context) -> Option<Instant> {
    detached::give_way();
    let followed = quietly(|| {
        LaunchFollower::new(context, begun.record.clone(), begun.launch.clone()).map(LaunchFollower::follow)
    });
    match followed? {
        Ok(until) => until,
        Err(error) => {
            tracing::warn!("the trace is not brought up to date while Codex works: {error}");
            None
        }
    }
}
