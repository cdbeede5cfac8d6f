//! How a followed thread came to be: a launch writes it, or another Codex.

use crate::claim::launch_record::{Destination, Launch};
use crate::claim::verdict::Claim;
use crate::finish::assemble::{WrittenThread, written_thread};
use crate::finish::context::Context;
use crate::finish::gather::{self, Read, find_written};
use crate::finish::imported::ImportTerms;
use crate::finish::session_traces::AssembleError;
use crate::queue::put::destination_of;
use crate::settings::modes::{Content, Granularity};
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::thread::ThreadId;
use mlflow_store::target::Target;

#[derive(Clone, Copy)]
pub enum ThreadSource<'a> {
    Launch {
        launch: &'a Launch,
        claim: &'a Claim,
    },
    /// An IDE, the desktop app, a plain `codex`. Both fields count for threads that were never sent.
    Other {
        destination: &'a Destination,
        granularity: Granularity,
    },
}

/// What a thread is read as.
pub(crate) enum ThreadReading {
    /// Nothing is written yet.
    Nothing,
    /// A sub-agent: its root thread has the trace.
    SubAgent,
    Thread(Box<WrittenThread>),
}

impl ThreadSource<'_> {
    pub(super) fn files(
        &self,
        thread: &ThreadId,
        shelf: &mut ThreadFiles,
        context: &Context,
    ) -> Option<Parts> {
        match self {
            ThreadSource::Launch { launch, .. } => {
                find_written(thread, context.home(), shelf, launch.started_at).ok()
            }
            ThreadSource::Other { .. } => {
                Some(shelf.files_of(thread, None)).filter(|files| !files.is_empty())
            }
        }
    }

    pub(super) fn read(
        &self,
        thread: &ThreadId,
        files: &Parts,
        shelf: &mut ThreadFiles,
        read: Read,
        context: &Context,
    ) -> Result<ThreadReading, AssembleError> {
        match self {
            ThreadSource::Launch { launch, claim } => {
                let written = written_thread(claim, launch, files, shelf, read, context)?;
                Ok(written.map_or(ThreadReading::SubAgent, |written| ThreadReading::Thread(written.into())))
            }
            ThreadSource::Other { destination, granularity } => {
                let own = gather::session_of(thread, files, read);
                let own = own.map_err(|(path, error)| AssembleError::Rollout(path, error))?;
                let Some(own) = own else { return Ok(ThreadReading::Nothing) };
                if own.0.meta.parent().is_some() {
                    return Ok(ThreadReading::SubAgent);
                }
                let ImportTerms { record, granularity, .. } =
                    ImportTerms::find(thread, destination, *granularity, context)?;
                let (family, rollout) = gather::family(own, shelf, read);
                Ok(ThreadReading::Thread(WrittenThread { family, rollout, record, granularity }.into()))
            }
        }
    }

    /// The restriction that `targets` names for this target.
    pub(super) fn content_for(&self, target: &Target, context: &Context) -> Content {
        match self {
            ThreadSource::Launch { launch, .. } => launch.roles().content_for(target),
            ThreadSource::Other { .. } => context.settings().roles().content_for(target),
        }
    }

    /// Where the thread's traces go. A launch's thread record keeps it.
    pub(super) fn destination(
        &self,
        thread: &ThreadId,
        context: &Context,
    ) -> Result<Destination, AssembleError> {
        match self {
            ThreadSource::Launch { launch, .. } => {
                Ok(destination_of(thread, &launch.destination, launch.roles(), &context.paths))
            }
            ThreadSource::Other { destination, granularity } => {
                Ok(ImportTerms::find(thread, destination, *granularity, context)?.destination)
            }
        }
    }
}
