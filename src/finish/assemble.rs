//! From a launch to traces in the spool: claim, gather and reduce, build, redact, put.

use super::context::Context;
use super::gather::{self, written_files_of};
use super::open_turns::{OpenTurn, open_turns};
use super::session_traces::{AssembleError, TraceForm, session_traces};
use crate::base::log::quietly;
use crate::base::notice;
use crate::claim::claims::claims_of;
use crate::claim::launch_record::{Destination, Launch};
use crate::claim::thread_record::{LaunchEntry, ThreadRecord};
use crate::claim::unclaimed;
use crate::claim::verdict::Claim;
use crate::queue::put::{PutError, destination_of, put_written};
use crate::queue::receipts;
use crate::queue::thread_history::{first_destination, granularity_of};
use crate::redact::Redacted;
use crate::settings::modes::{Content, Granularity};
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::session::family::Family;
use codex_session::thread::ThreadId;
use mlflow_store::target::Target;
use mlflow_store::trace::TraceState;
use std::io;
use std::path::PathBuf;

/// The traces of a thread for each of its targets, the first one first; and its turns that still run.
struct ThreadTraces {
    by_destination: Vec<(Destination, Vec<Redacted>)>,
    open: Vec<OpenTurn>,
}

impl ThreadTraces {
    fn has_running(&self) -> bool {
        let mut traces = self.by_destination.iter().flat_map(|(_, traces)| traces);
        traces.any(|trace| trace.state == TraceState::InProgress)
    }
}

/// As [`assemble`]. The error is what the user reads; the launch record stays, and the next launch tries again.
pub(super) fn assemble_or_report(
    launch: &Launch,
    context: &Context,
) -> Result<Vec<OpenTurn>, Option<String>> {
    let assembled = quietly(|| assemble(launch, context)).ok_or(None)?;
    assembled.map_err(|error| {
        tracing::error!("cannot keep the trace: {error}");
        Some(notice::not_made(&error))
    })
}

/// Puts the traces of every thread that the launch wrote into the spool. A thread that fails holds no other back; the
/// first failure is returned. Else the turns that still run in Codex's daemon: their traces hold what was written so
/// far.
pub fn assemble(launch: &Launch, context: &Context) -> Result<Vec<OpenTurn>, AssembleError> {
    let verdict = claims_of(launch, &context.paths);
    unclaimed::keep(&context.paths.unclaimed(), launch, &verdict.unclear);
    let (mut open, mut failed) = (Vec::new(), None);
    for claim in verdict.claims {
        match assemble_thread(&claim, launch, context) {
            Ok(turns) => open.extend(turns),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(open), Err)
}

/// The turns of the thread that still run.
fn assemble_thread(
    claim: &Claim,
    launch: &Launch,
    context: &Context,
) -> Result<Vec<OpenTurn>, AssembleError> {
    let mut made = thread_traces(claim, launch, context)?;
    if made.as_ref().is_some_and(|made| made.open.is_empty() && made.has_running()) {
        // The writer has ended since its files were read.
        made = thread_traces(claim, launch, context)?;
    }
    let Some(ThreadTraces { by_destination, open }) = made else { return Ok(Vec::new()) };
    let (thread, paths) = (&claim.thread, &context.paths);
    destination_of(thread, &launch.destination, launch.roles(), paths);
    for (destination, traces) in by_destination {
        put_written(traces, thread, &destination, paths, context.world)?;
    }
    Ok(open)
}

/// None when the thread has nothing to show; the log has the reason.
fn thread_traces(
    claim: &Claim,
    launch: &Launch,
    context: &Context,
) -> Result<Option<ThreadTraces>, AssembleError> {
    let mut shelf = ThreadFiles::new(context.home().path());
    let files = written_files_of(&claim.thread, context.home(), &mut shelf, launch.started_at);
    let Some(files) = files else { return Ok(None) };
    let read = gather::from_disk(context.home());
    let Some(written) = written_thread(claim, launch, &files, &mut shelf, &read, context)? else {
        tracing::warn!("thread {} is a sub-agent whose root thread left no rollout: no trace", claim.thread);
        return Ok(None);
    };
    let WrittenThread { family, rollout, record, granularity } = &written;
    if record.is_left_out {
        tracing::info!("thread {} is not traced: sampling left it out", claim.thread);
        return Ok(None);
    }
    let first = first_destination(record, &claim.thread, &receipts(&context.paths), launch.roles());
    let first = first.unwrap_or_else(|| launch.destination.clone());
    let traces_for = |target: &Target, content: Content| {
        let form = TraceForm::choose(*granularity, target, family, context);
        session_traces(family, record, rollout, form, content, context)
    };
    let mut by_destination = vec![(
        first.clone(),
        traces_for(&first.target, record.content.max(launch.roles().content_for(&first.target)))?,
    )];
    for further in launch.further.iter().filter(|further| further.target != first.target) {
        let traces = traces_for(&further.target, record.content.max(further.content))?;
        by_destination.push((Destination::from_further(further), traces));
    }
    let is_empty = by_destination.iter().all(|(_, traces)| traces.is_empty());
    // A turn that runs has no trace yet in a target that keeps each span once.
    let is_waiting = first.target.is_append_only() && !family.members.is_empty();
    let open = if is_empty && !is_waiting { Vec::new() } else { open_turns(family, rollout, context.home()) };
    Ok(Some(ThreadTraces { by_destination, open }))
}

/// A thread that a launch wrote: its sessions, and how they become traces.
pub(crate) struct WrittenThread {
    pub family: Family,
    /// The session file to which Codex appends.
    pub rollout: PathBuf,
    pub record: ThreadRecord,
    pub granularity: Granularity,
}

/// The thread record has this launch afterwards. None for a sub-agent without a root thread.
pub(crate) fn written_thread(
    claim: &Claim,
    launch: &Launch,
    files: &Parts,
    shelf: &mut ThreadFiles,
    read: gather::Read,
    context: &Context,
) -> Result<Option<WrittenThread>, AssembleError> {
    let thread = &claim.thread;
    let own = gather::session_of(thread, files, read);
    let own = own.map_err(|(path, error)| AssembleError::Rollout(path, error))?;
    let Some(own) = own.filter(|(session, _)| session.meta.parent().is_none()) else { return Ok(None) };
    let record = remember(claim, launch, context)?;
    let (family, rollout) = gather::family(own, shelf, read);
    let granularity =
        granularity_of(&record, thread, launch.granularity, &receipts(&context.paths), launch.roles());
    Ok(Some(WrittenThread { family, rollout, record, granularity }))
}

/// The thread record, with this launch in it.
fn remember(claim: &Claim, launch: &Launch, context: &Context) -> Result<ThreadRecord, AssembleError> {
    let (thread, paths) = (&claim.thread, &context.paths);
    let this = LaunchEntry {
        launch_id: launch.id.clone(),
        attribution: claim.attribution,
        started_at: launch.started_at,
        exit: launch.exit,
        context: launch.context.clone(),
    };
    let is_taken = launch.context.sampling.takes(thread.as_str());
    let change = |record: &mut ThreadRecord| {
        record.granularity =
            Some(granularity_of(record, thread, launch.granularity, &receipts(paths), launch.roles()));
        record.content = record.content.max(launch.content);
        // What was traced before goes on.
        let first = first_destination(record, thread, &receipts(paths), launch.roles());
        record.is_left_out = !is_taken && first.is_none();
        record.add(this.clone());
    };
    match ThreadRecord::update(&paths.threads(), thread, change) {
        Ok(record) => Ok(record),
        // A later version may have written it: a new record in its place would lose it.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            tracing::warn!("the record of thread {thread} cannot be read, and is left as it is: {error}");
            // It may ask for metadata only.
            let content = Content::Metadata;
            Ok(ThreadRecord { launches: vec![this], content, ..ThreadRecord::default() })
        }
        Err(error) => Err(PutError(paths.threads(), error.into()).into()),
    }
}

/// The traces of a launch in their newest form, and where each goes.
pub fn traces_of(launch: &Launch, context: &Context) -> Vec<(ThreadId, Destination, Redacted)> {
    let paths = &context.paths;
    let of = |claim: Claim| {
        let made = thread_traces(&claim, launch, context).ok().flatten();
        let all = made.map(|made| made.by_destination).unwrap_or_default();
        let each = all.into_iter().flat_map(|(destination, traces)| {
            traces.into_iter().map(move |trace| (destination.clone(), trace))
        });
        each.map(move |(destination, trace)| (claim.thread.clone(), destination, trace))
    };
    claims_of(launch, paths).claims.into_iter().flat_map(of).collect()
}
