//! The one place where a session becomes traces that may leave the machine: without secrets, and with no more than
//! its folders and its settings allow.

use super::context::Context;
use crate::base::paths::CodexHome;
use crate::claim::thread_record::ThreadRecord;
use crate::queue::put::PutError;
use crate::queue::receipts;
use crate::queue::receipts::Receipts;
use crate::queue::spool::SpoolError;
use crate::queue::thread_history::MOST_PARTS;
use crate::redact::{Redacted, Redactor, SmallImages};
use crate::settings::folder_policy::FolderPolicy;
use crate::settings::launch_context::LaunchContext;
use crate::settings::modes::{Content, Granularity};
use crate::trace::build::{TraceSource, rebuild_family, rebuild_turns};
use crate::trace::continuation::{Continuation, first_missing_turn, rebuild_continuation};
use crate::trace::draft::PartialTrace;
use crate::trace::ids::{trace_of_continuation, trace_of_thread};
use crate::trace::launch_facts::{LaunchContexts, link_turns};
use codex_session::rollout::path;
use codex_session::session::family::Family;
use codex_session::thread::ThreadId;
use common::disk;
use mlflow_store::target::Target;
use mlflow_store::trace::TraceState;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Why a session became no trace.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("cannot read {0}: {1}")]
    Rollout(PathBuf, io::Error),
    #[error("cannot keep the salt of placeholders in {0}: {reason}", reason = disk::reason(.1))]
    Salt(PathBuf, io::Error),
    #[error(transparent)]
    Put(#[from] PutError),
}

impl AssembleError {
    /// A delivery frees the room that the trace needs.
    pub fn wants_room(&self) -> bool {
        matches!(self, AssembleError::Put(PutError(_, SpoolError::Full { .. })))
    }
}

/// Traces before redaction, which must not leave the machine, and how much of them may.
pub(crate) struct BuiltTraces {
    pub traces: Vec<PartialTrace>,
    pub content: Content,
}

/// One trace of the whole session, or one of each turn; none where the session has no prompt, or where a folder
/// switches tracing off.
pub(super) fn session_traces(
    family: &Family,
    record: &ThreadRecord,
    rollout: &Path,
    form: TraceForm,
    content: Content,
    context: &Context,
) -> Result<Vec<Redacted>, AssembleError> {
    let Some(built) = built_traces((family, None), record, rollout, form, content, context) else {
        return Ok(Vec::new());
    };
    let redactor = redactor(context)?;
    let redacted = built.traces.into_iter().map(|it| redactor.redact(it.trace, built.content));
    if built.content == Content::Metadata || !context.settings().shows_images {
        return Ok(redacted.collect());
    }
    let shown = images_of(family, rollout, context.home());
    Ok(redacted.map(|trace| trace.with_images(&shown)).collect())
}

pub(crate) fn redactor<'c>(context: &'c Context) -> Result<&'c Redactor, AssembleError> {
    context.redactor().map_err(|error| AssembleError::Salt(context.paths.salt(), error))
}

/// Which traces a session becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TraceForm {
    Session,
    /// Only its later turns: the target has archived the trace of the others.
    Continuation(Continuation),
    Turns,
    /// As `Turns`, for a target that keeps each span once: without turns that still run, each linked to the turn before.
    EndedTurns,
}

impl TraceForm {
    pub(crate) fn choose(
        granularity: Granularity,
        target: &Target,
        family: &Family,
        context: &Context,
    ) -> TraceForm {
        match granularity {
            _ if target.is_append_only() => TraceForm::EndedTurns,
            Granularity::Turn => TraceForm::Turns,
            Granularity::Session => {
                let part = part_of(family, target, &receipts(&context.paths));
                part.map_or(TraceForm::Session, TraceForm::Continuation)
            }
        }
    }
}

/// None where a folder switches tracing off. `before`: as for `rebuild_family`.
pub(crate) fn built_traces(
    (family, before): (&Family, Option<&Family>),
    record: &ThreadRecord,
    rollout: &Path,
    form: TraceForm,
    content: Content,
    context: &Context,
) -> Option<BuiltTraces> {
    let content = allowed(family, content, context.home())?;
    let source = TraceSource { rollout, user: context.user(), prices: context.prices() };
    let mut traces: Vec<PartialTrace> = match form {
        TraceForm::Session => rebuild_family(family, before, record, source).into_iter().collect(),
        TraceForm::Continuation(part) => {
            rebuild_continuation(family, before, part, record, source).into_iter().collect()
        }
        TraceForm::Turns | TraceForm::EndedTurns => rebuild_turns(family, before, record, source),
    };
    let of_settings =
        LaunchContext { tags: context.settings().launch.tags.clone(), ..LaunchContext::default() };
    let launches = LaunchContexts { family, record, otherwise: &of_settings };
    launches.add_to(&mut traces, matches!(form, TraceForm::Turns | TraceForm::EndedTurns), content);
    if matches!(form, TraceForm::EndedTurns) {
        link_turns(&mut traces);
        traces.retain(|turn| turn.trace.state != TraceState::InProgress);
    }
    Some(BuiltTraces { traces, content })
}

/// How much of a session its folders and settings allow; None where a folder switches tracing off.
fn allowed(family: &Family, asked: Content, home: &CodexHome) -> Option<Content> {
    allowed_in(&folders_of(family), asked, home)
        .inspect_err(|file| {
            let thread = family.members.first().map_or("", |root| &root.session.meta.id);
            tracing::info!("thread {thread} is not traced: {} switches tracing off", file.display());
        })
        .ok()
}

/// A session that was resumed elsewhere, and sub-agents, have several folders.
pub(crate) fn folders_of(family: &Family) -> BTreeSet<PathBuf> {
    family.members.iter().flat_map(|member| &member.session.folders).map(PathBuf::from).collect()
}

/// The strictest mode of these folders and `asked`. Err: the file that switches tracing off. A link may lead to a folder
/// with rules.
pub(crate) fn allowed_in(
    named: &BTreeSet<PathBuf>,
    asked: Content,
    home: &CodexHome,
) -> Result<Content, PathBuf> {
    let mut content = asked;
    let real = named.iter().filter_map(|folder| folder.canonicalize().ok());
    for folder in real.chain(named.iter().cloned()).collect::<BTreeSet<_>>() {
        let rules = FolderPolicy::read(&folder, home);
        if let Some(file) = rules.off {
            return Err(file);
        }
        content = content.max(rules.content());
    }
    Ok(content)
}

/// The part of the session that is current; None for the session's own trace, where that is not archived, or holds
/// all turns.
fn part_of(family: &Family, target: &Target, receipts: &Receipts) -> Option<Continuation> {
    let session = &family.members.first()?.session;
    let (mut part, mut id) = (None, trace_of_thread(&session.meta.id));
    for number in 1..=MOST_PARTS {
        let Some(kept) = receipts.get(id, target).filter(|kept| kept.receipt.archived) else { break };
        let begin = part.map_or(0, |part: Continuation| part.from);
        let has = |span| kept.receipt.spans.contains_key(&span);
        let from = first_missing_turn(family, begin, &has, kept.rank.ended_at);
        if from >= session.turns.len() {
            break;
        }
        part = Some(Continuation { number, from, continues: id });
        id = trace_of_continuation(&session.meta.id, number);
    }
    part
}

/// Read from the files a second time: a session in memory has no images, because few users ask for them.
fn images_of(family: &Family, rollout: &Path, home: &CodexHome) -> SmallImages {
    let mut images = SmallImages::default();
    images.add_from(rollout);
    let others = family.members.iter().skip(1).filter_map(|member| ThreadId::parse(&member.session.meta.id));
    for file in others.filter_map(|thread| path::find(home.path(), &thread)) {
        images.add_from(&file);
    }
    images
}
