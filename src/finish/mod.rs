//! After Codex's end: its sessions become traces, and traces reach their targets.
//!
//! For a user on a terminal a finisher, a process of its own, does the work, and the next launch prints its notice. For a
//! job the launcher does the same work itself, within a limit. The launch record is on disk before
//! the work begins. So the work may be interrupted anywhere: the next launch finds the record, or the trace in the
//! spool.

pub mod assemble;
pub mod context;
mod continuation;
pub mod delivery;
pub mod finisher;
pub mod followed_launch;
pub mod gather;
pub mod imported;
mod in_launcher;
mod lanes;
mod notices;
pub mod open_turns;
mod plan;
pub(crate) mod price_files;
pub(crate) mod price_updates;
pub mod recover;
pub mod removal;
pub mod session_traces;
mod summary;
pub mod tracer_process;

use crate::base::notice::{self, Notices};
use crate::claim::launch_record::{self, Launch, LaunchRecord};
use crate::claim::observer::Observer;
use crate::claim::verdict::Coverage;
use crate::queue::spool;
use crate::redact;
use crate::settings::Settings;
use crate::settings::file::ConfigFile;
use crate::settings::wait::{ProcessRole, Wait, Waiting};
use common::disk;
use context::Context;
use followed_launch::FollowedLaunch;
use launch::Ended;
use launch::companion::Companion;
use launch::memory::Memory;
use launch::streams;
use plan::{FinishPlan, Reason, Safety, TracerState, WITHOUT_FINISHER};
use std::time::Duration;
use tracer_process::{TracerProcess, TracerWork};

/// What the launcher does after Codex's end. `settings` are those of the launch's start; the context reads them again,
/// because the user may have changed rules or credentials since.
pub fn after(context: &Context, settings: &Settings, followed: FollowedLaunch, ended: &Ended) {
    let FollowedLaunch { mut observer, tracer, .. } = followed;
    ended.signals.discard();
    observer.launch.exit = Some(ended.exit);
    let notices = Notices::choose(context.world);
    let wait = wait_of(context, settings, &observer.launch, notices);
    let safety = complete_record(context, &mut observer);
    let has_work = has_sessions(&observer.launch) || has_leftovers(context, &observer.launch.id);
    let tracer = tracer.and_then(|mut tracer| (!tracer.has_ended()).then_some(tracer));
    let state = if tracer.is_some() { TracerState::Running } else { TracerState::None };
    match (FinishPlan::choose(wait, safety, has_work, state), tracer) {
        (FinishPlan::Tracer, Some(mut tracer)) => {
            tracer.end(None);
            notices::print_left(&context.paths, notices);
        }
        (FinishPlan::AwaitTracer(limit), Some(mut tracer)) => {
            tracer.end(Some(limit));
            if await_tracer(context, &observer.launch, tracer, limit, ended) == TracerWork::Died {
                in_launcher::run(context, observer, safety, (limit, Reason::Job), ended);
            }
        }
        (FinishPlan::Finisher, _) => {
            match TracerProcess::start(&observer.launch.id, Memory::Large, observer.wakes()) {
                Ok(_finisher) => notices::print_left(&context.paths, notices),
                Err(error) => {
                    tracing::warn!("cannot start a process to finish the launch: {error}");
                    in_launcher::run(context, observer, safety, WITHOUT_FINISHER, ended);
                }
            }
        }
        (FinishPlan::InPlace(limit), _) => in_launcher::run(context, observer, safety, limit, ended),
        (FinishPlan::Nothing | FinishPlan::Tracer | FinishPlan::AwaitTracer(_), _) => {}
    }
}

/// For a job: waits for the tracer's delivery, and prints what is left.
fn await_tracer(
    context: &Context,
    launch: &Launch,
    tracer: TracerProcess,
    limit: Duration,
    ended: &Ended,
) -> TracerWork {
    let notices = Notices::for_job(context.world);
    let work = tracer.wait(ended.at + limit + in_launcher::GRACE, &ended.signals);
    match &work {
        TracerWork::Done(sentence) => {
            if let Some(sentence) = sentence {
                notices.print(sentence);
                notices::remove_printed(&context.paths, notices);
            }
        }
        TracerWork::GoesOn => {
            let is_late = ended.at.elapsed() >= limit;
            let why = notice::cut_off(is_late.then_some(limit));
            notices.print(&why);
            summary::write(context, launch, Some(&why));
        }
        TracerWork::Died => tracing::warn!("the tracer ended before its work was done"),
    }
    work
}

/// How long to wait for the delivery. On the way the launcher gives up stderr if it prints nothing, and the user reads
/// what is wrong with the settings and the introduction of a new target; both only after a session.
fn wait_of(context: &Context, settings: &Settings, launch: &Launch, notices: Notices) -> Wait {
    let world = context.world;
    let mut problems = settings.problems.clone();
    let asked = Wait::requested(&world.variables).unwrap_or_else(|bad| {
        problems.push(bad.to_string());
        None
    });
    let waiting = if launch.request.is_server { Waiting::Client } else { Waiting::User };
    let role = ProcessRole::current(world.parent);
    let wait = Wait::choose(asked, &world.terminals, &world.variables, role, waiting);
    if notices_of(wait, context) == Notices::Silent {
        // Before any file is read: a disk may not answer.
        streams::give_up_stderr();
    }
    // Only this file is read again here: the working folder's disk may not answer any more, and a user waits.
    problems.extend(redact::problems(&ConfigFile::read(&context.home().config()).0));
    if has_sessions(launch) {
        problems.extend(price_files::problems(context.home(), &settings.file));
        for problem in &problems {
            tracing::warn!("{problem}");
            notices.print(problem);
        }
        if let Some(introduction) = notices::introduce(&settings.target.value, &context.paths) {
            notices.print(&introduction);
        }
    }
    wait
}

/// What the launcher may still print, until its end.
fn notices_of(wait: Wait, context: &Context) -> Notices {
    match wait {
        Wait::Detached => Notices::choose(context.world),
        Wait::InPlace(_) => Notices::for_job(context.world),
    }
}

/// Writes all that is known of the launch into its record; a launch without a session needs none.
fn complete_record(context: &Context, observer: &mut Observer) -> Safety {
    let launch = &observer.launch;
    if !has_sessions(launch) {
        observer.record.take().map(LaunchRecord::remove);
        return Safety::OnDisk;
    }
    if observer.record.is_none() {
        observer.record = LaunchRecord::create(&context.paths.launches(), launch).ok();
    }
    let noted = observer.record.as_mut().and_then(|record| {
        let _ = record.complete(launch);
        launch_record::load(record.path())
    });
    if noted.as_ref() == Some(launch) { Safety::OnDisk } else { Safety::InMemory }
}

/// Whether the launch may have written a session.
fn has_sessions(launch: &Launch) -> bool {
    !(launch.claims.is_empty() && launch.logged.is_empty()) || launch.coverage() == Coverage::Partial
}

/// Whether launches other than this one left work.
fn has_leftovers(context: &Context, launch: &str) -> bool {
    let mut names = disk::entries(&context.paths.launches()).map(|entry| entry.file_name());
    names.any(|name| !name.as_encoded_bytes().starts_with(launch.as_bytes()))
        || !spool(&context.paths).paths().is_empty()
}
