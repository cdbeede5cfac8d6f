//! The trace that is exported, with no more than its settings and folders allow.

use crate::claim::thread_record::ThreadRecord;
use crate::command::CommandError;
use crate::command::named_trace::{self, ReadSession};
use crate::finish::context::Context;
use crate::finish::session_traces::{allowed_in, folders_of};
use crate::settings::modes::Content;
use crate::trace::continuation::CONTINUES;
use codex_session::thread::ThreadId;
use mlflow_store::trace::Trace;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// As `show` finds it. A session whose trace is in no local store is read from its file.
pub(super) fn find(what: &OsStr, context: &Context) -> Result<Trace, CommandError> {
    if Path::new(what).is_file() {
        return of_file(Path::new(what), context);
    }
    match (named_trace::find(Some(what), context), named_trace::file_of(what, context)?) {
        // A session whose trace MLflow archived: the newest trace has its later turns only.
        (Ok((trace, _)), Some(file)) if trace.metadata.contains_key(CONTINUES) => of_file(&file, context),
        (Ok((trace, _)), _) => stored(trace, context),
        (Err(_), Some(file)) => of_file(&file, context),
        (Err(why), None) => Err(why),
    }
}

fn of_file(path: &Path, context: &Context) -> Result<Trace, CommandError> {
    let session = ReadSession::from_file(path, context)?;
    let content = allowed(&folders_of(&session.family), &session.record, context)?;
    session.trace(path, content, context)
}

/// The settings and the rules for secrets may be stricter than they were when the trace was made.
fn stored(trace: Trace, context: &Context) -> Result<Trace, CommandError> {
    let thread = trace.metadata.get("mlflow.trace.session").and_then(|id| ThreadId::from_meta(id));
    let record = thread.and_then(|thread| ThreadRecord::load(&context.paths.threads(), &thread).ok());
    let folder = trace.metadata.get("mlflow.trace.working_directory").map(PathBuf::from);
    let in_calls =
        trace.spans.iter().filter_map(|span| span.attributes.get("cwd")?.as_str().map(PathBuf::from));
    let folders = folder.into_iter().chain(in_calls).collect();
    match allowed(&folders, &record.unwrap_or_default(), context)? {
        // Nothing is left that a rule would find.
        _ if trace.is_metadata_only() => Ok(trace),
        content => Ok(context.redactor_for_output().redact_again(trace, content).into()),
    }
}

fn allowed(
    folders: &BTreeSet<PathBuf>,
    record: &ThreadRecord,
    context: &Context,
) -> Result<Content, CommandError> {
    let asked = context.settings().content.value.max(record.content);
    allowed_in(folders, asked, context.home()).map_err(|file| {
        format!(
            "{} switches tracing off for the session's folder, so it is not exported\n  hint: `codex-traced mlflow show FILE` shows its session file here",
            file.display()
        )
    })
}
