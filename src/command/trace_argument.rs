//! How an argument names a trace: by its id, by its session's id, or by its session file.

use super::CommandError;
use crate::base::paths::Paths;
use crate::queue::receipts;
use crate::trace::ids::{trace_of_thread, trace_of_turn};
use codex_session::rollout::files::SessionFiles;
use codex_session::thread::ThreadId;
use mlflow_store::ids::TraceId;
use std::ffi::OsStr;
use std::path::Path;

/// The trace's id, and the session's id if the argument names the session. The trace may not exist.
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
