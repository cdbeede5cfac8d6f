//! A trace as people name it: by its id, by its session's, by its session's file.

use super::Failure;
use crate::codex::thread::ThreadId;
use crate::rollout::files::Walk;
use crate::trace::ids::TraceId;
use std::ffi::OsStr;
use std::path::Path;

/// The trace's id; it need not be anywhere.
pub(super) fn trace(what: &OsStr) -> Result<TraceId, Failure> {
    let text = what.to_string_lossy();
    let of_thread = |thread: &ThreadId| TraceId::of_thread(thread.as_str());
    if let Some(id) = text.parse().ok().or_else(|| Some(of_thread(&ThreadId::parse(&text)?))) {
        return Ok(id);
    }
    let mut walk = Walk::default();
    let _ = walk.file(Path::new(what));
    let id = walk.files.first().map(|file| of_thread(&file.thread));
    id.ok_or_else(|| {
        format!("{text} is neither a trace id (tr-…), a session id, nor a session file\n  hint: `codex-traced mlflow show` shows the newest trace")
    })
}
