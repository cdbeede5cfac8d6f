//! How an argument names a trace: by its id, by its session's id, or by its session file.

use super::{CommandError, history_index};
use crate::base::paths::Paths;
use crate::finish::context::Context;
use crate::queue::receipts;
use crate::trace::ids::{trace_of_thread, trace_of_turn};
use codex_session::rollout::files::SessionFiles;
use codex_session::rollout::path;
use codex_session::thread::ThreadId;
use mlflow_store::ids::TraceId;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Characters of a part of a session's id, at least.
const SHORTEST: usize = 4;

/// The trace's id, and the session's id if the argument names the session. The trace may not exist. A command that removes
/// takes whole ids only.
pub(super) fn trace(what: &OsStr, paths: &Paths) -> Result<(TraceId, Option<ThreadId>), CommandError> {
    if let Some(named) = by_id(&what.to_string_lossy(), paths) {
        return Ok(named);
    }
    let mut walk = SessionFiles::default();
    let _ = walk.add_file(Path::new(what));
    let named = walk.files.first().map(|file| of_thread(file.thread.clone()));
    named.ok_or_else(|| {
        let text = what.to_string_lossy();
        format!("{text} is neither a trace id (tr-…), a session id, nor a session file\n  hint: `codex-traced mlflow show` shows the newest trace")
    })
}

/// What an argument names that is no file.
pub(super) struct Named {
    pub(super) trace: TraceId,
    pub(super) thread: Option<ThreadId>,
    /// The session's file, where there is one.
    pub(super) file: Option<PathBuf>,
}

/// As `by_id`; also the end of a session's id, as `list` shows it. Errors: several sessions have that end.
pub(super) fn by_name(text: &str, context: &Context) -> Result<Option<Named>, CommandError> {
    let named = by_id(text, &context.paths);
    if let Some((trace, None)) = named {
        return Ok(Some(Named { trace, thread: None, file: None }));
    }
    let in_place = |thread: &ThreadId| path::find(context.home().path(), thread);
    if let Some((trace, Some(thread))) = &named
        && let Some(file) = in_place(thread)
    {
        return Ok(Some(Named { trace: *trace, thread: Some(thread.clone()), file: Some(file) }));
    }
    let without_file = named.map(|(trace, thread)| Named { trace, thread, file: None });
    let is_part = text.len() >= SHORTEST && ThreadId::from_meta(text).is_some();
    if !is_part || !context.home().path().is_dir() {
        return Ok(without_file);
    }
    match history_index::ask(context, |index| index.session_named(text))? {
        Ok(session) => {
            let thread = ThreadId::from_meta(&session.thread);
            Ok(thread.map(|thread| Named {
                trace: trace_of_thread(thread.as_str()),
                thread: Some(thread),
                file: Some(session.path),
            }))
        }
        Err(0) => Ok(without_file),
        Err(count) => Err(format!(
            "{count} sessions have an id that begins or ends with {text}\n  hint: name more of it; `codex-traced mlflow list --json` has whole ids"
        )),
    }
}

/// Reads a trace's id or a session's id. A session id that is no UUID counts only if a receipt of its trace exists.
pub(super) fn by_id(text: &str, paths: &Paths) -> Option<(TraceId, Option<ThreadId>)> {
    if let Ok(trace) = text.parse() {
        return Some((trace, None));
    }
    let is_known = |thread: &ThreadId| {
        let id = thread.as_str();
        let traces = [trace_of_thread(id), trace_of_turn(id, 1)];
        thread.is_uuid() || traces.into_iter().any(|trace| receipts(paths).file_of(trace).exists())
    };
    ThreadId::from_meta(text).filter(is_known).map(of_thread)
}

fn of_thread(thread: ThreadId) -> (TraceId, Option<ThreadId>) {
    (trace_of_thread(thread.as_str()), Some(thread))
}
