//! Which session to follow: the one that the user names, or the newest that runs.

use crate::base::paths::Paths;
use crate::claim::claims::threads_so_far;
use crate::claim::launches::under_way;
use crate::command::{CommandError, trace_argument};
use crate::finish::gather::writer_of;
use crate::queue::thread_history::{recent_threads, taken};
use crate::trace::ids::trace_of_thread;
use codex_session::rollout::files::{SessionFiles, root_of};
use codex_session::rollout::path::{self, files_below, is_rollout};
use codex_session::session::Writer;
use codex_session::thread::ThreadId;
use mlflow_store::ids::TraceId;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Session files that are asked for their writer: those that were written last.
const NEWEST_FILES: usize = 20;

/// Threads whose traces are compared with an id that names no thread: that of a turn, or of a continuation.
const KNOWN_THREADS: usize = 10_000;

/// The session to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A thread of Codex's home.
    Thread(ThreadId),
    /// A session file that the user names; it may be a copy elsewhere.
    File(ThreadId, PathBuf),
}

/// The newest session that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    Session(ThreadId),
    /// A launch runs and has no session yet: its interface waits for the first prompt.
    Awaited,
    None,
}

impl Subject {
    pub(super) fn thread(&self) -> &ThreadId {
        match self {
            Subject::Thread(thread) | Subject::File(thread, _) => thread,
        }
    }

    /// By a trace id, a session id, or the path of a session file.
    pub(super) fn named(what: &OsStr, paths: &Paths) -> Result<Subject, CommandError> {
        let file = Path::new(what);
        if file.is_file() {
            let mut walk = SessionFiles::default();
            walk.add_file(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let thread = walk.files.pop().map(|file| file.thread).ok_or_else(|| {
                format!(
                    "{} names no session\n  hint: `codex-traced mlflow show FILE` prints it",
                    file.display()
                )
            })?;
            return Ok(Subject::File(thread, file.to_path_buf()));
        }
        let text = what.to_string_lossy();
        let (trace, thread) = trace_argument::by_id(&text, paths).ok_or_else(|| {
            format!("{text} is neither a trace id (tr-…), a session id, nor a file\n  hint: `codex-traced mlflow show --follow` follows the newest session that runs")
        })?;
        let thread = thread.or_else(|| thread_of(trace, paths));
        let thread = thread.filter(|thread| path::find(paths.home().path(), thread).is_some());
        thread.map(Subject::Thread).ok_or_else(|| {
            format!("there is no session file of {text}\n  hint: name the file, if it is elsewhere")
        })
    }
}

/// The thread of a trace: its own id, or, for the trace of a turn, the thread that was traced with it.
fn thread_of(trace: TraceId, paths: &Paths) -> Option<ThreadId> {
    let hex = trace.to_string().trim_start_matches("tr-").to_owned();
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| hex.get(group).unwrap_or_default());
    let own =
        ThreadId::parse(&groups.join("-")).filter(|thread| path::find(paths.home().path(), thread).is_some());
    let is_of = |thread: &ThreadId| {
        trace_of_thread(thread.as_str()) == trace
            || taken(thread, paths).iter().any(|(_, sent)| sent.trace == trace)
    };
    own.or_else(|| recent_threads(paths, KNOWN_THREADS).into_iter().find(is_of))
}

/// Of the sessions that launches under way claim, the one whose file was written last; without one, the session file
/// of another Codex that was written last and has a writer.
pub(super) fn newest(paths: &Paths) -> Newest {
    let home = paths.home();
    let launches = under_way(&paths.launches());
    let claimed: BTreeSet<ThreadId> =
        launches.iter().flat_map(|launch| threads_so_far(launch, paths)).collect();
    let written = |thread: &ThreadId| modified(&path::find(home.path(), thread)?);
    let claimed = claimed.into_iter().filter_map(|thread| Some((written(&thread)?, thread)));
    if let Some((_, thread)) = claimed.max() {
        return Newest::Session(thread);
    }
    let files = files_below([home.sessions()]).map(|entry| entry.path()).filter(|path| is_rollout(path));
    let mut files: Vec<(SystemTime, PathBuf)> =
        files.filter_map(|path| Some((modified(&path)?, path))).collect();
    files.sort_by_key(|(at, _)| Reverse(*at));
    let threads = files.iter().take(NEWEST_FILES).filter_map(|(_, path)| ThreadId::from_rollout_name(path));
    let mut roots = threads.map(|thread| root_of(&thread, home.path()));
    match roots.find(|thread| writer_of(thread, home) == Writer::Alive) {
        Some(thread) => Newest::Session(thread),
        None if launches.is_empty() => Newest::None,
        None => Newest::Awaited,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}
