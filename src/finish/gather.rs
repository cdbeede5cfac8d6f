//! From a thread to its session: all files of the thread, and the sub-agents that it started.

use crate::base::paths::CodexHome;
use crate::claim;
use codex_session::rollout::codex_index;
use codex_session::rollout::thread_files::{Parts, ThreadFiles, rollout_of};
use codex_session::session::family::{Family, working_times};
use codex_session::session::model::Session;
use codex_session::session::{self, Writer, family};
use codex_session::thread::ThreadId;
use common::disk::file_system::FileSystem;
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The kernel's clock for file times ticks at least every 10 ms.
const LOCAL_SLACK: Duration = Duration::from_millis(20);

/// How far the clock of a file server may be behind that of this machine.
const NETWORK_SLACK: Duration = Duration::from_secs(60);

/// Reads a session file, with its thread if a process may still write to it. A caller with sessions in memory passes
/// another function than `from_disk`.
pub type Read<'a> = &'a dyn Fn(&Path, Option<&ThreadId>) -> io::Result<Session>;

/// Reads whole files. A turn without an end runs only while its thread has a writer.
pub fn from_disk(home: &CodexHome) -> impl Fn(&Path, Option<&ThreadId>) -> io::Result<Session> {
    // In this order: what precedes the writer's end is read.
    |path, thread| {
        let writer = thread.map_or(Writer::Gone, |thread| writer_of(thread, home));
        session::read(path, writer)
    }
}

/// Why a launch has no files of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    NoFile,
    /// The thread was opened, and nothing was added to it.
    Unchanged,
}

/// The thread's files, if a launch may have written to one of them since it began. In a copied home Codex's index may
/// lead to a file elsewhere: it is taken when none in its usual place was written to.
pub(crate) fn find_written(
    thread: &ThreadId,
    home: &CodexHome,
    shelf: &mut ThreadFiles,
    since: Timestamp,
) -> Result<Parts, Unwritten> {
    let in_place = shelf.files_of(thread, Some(since));
    if in_place.iter().flatten().any(|path| is_written_since(path, since)) {
        return Ok(in_place);
    }
    let indexed = codex_index::rollout_of(home.path(), thread).filter(|path| is_written_since(path, since));
    match indexed {
        Some(file) => Ok(vec![vec![file]]),
        None if in_place.is_empty() => Err(Unwritten::NoFile),
        None => Err(Unwritten::Unchanged),
    }
}

/// As `find_written`; the log has the reason for None.
pub(super) fn written_files_of(
    thread: &ThreadId,
    home: &CodexHome,
    shelf: &mut ThreadFiles,
    since: Timestamp,
) -> Option<Parts> {
    let found = find_written(thread, home, shelf, since);
    match found {
        Err(Unwritten::Unchanged) => {
            tracing::info!("thread {thread} was opened and nothing was written to it: no trace");
        }
        // Without the folder, Codex was to keep no session (`--ephemeral` in a new home).
        Err(Unwritten::NoFile) if home.sessions().is_dir() => {
            tracing::warn!("thread {thread} left no rollout (it was never written, or is gone): no trace");
        }
        _ => {}
    }
    found.ok()
}

fn is_written_since(path: &Path, since: Timestamp) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    let slack = match FileSystem::from_path(path) {
        FileSystem::Local => LOCAL_SLACK,
        FileSystem::Network => NETWORK_SLACK,
    };
    modified.is_ok_and(|at| at + slack >= SystemTime::from(since))
}

/// Whether a process may still write to the thread, as far as locks and open files show.
pub fn writer_of(thread: &ThreadId, home: &CodexHome) -> Writer {
    if claim::writer_of(home, thread).is_some() { Writer::Alive } else { Writer::Gone }
}

/// The session of these files, and the last of them, to which Codex appends: the one way from files to a session, for
/// every caller. Of twins, such as an older copy, the one that holds most counts. Only the last file can
/// still be written to. None without a file.
pub fn session_of(
    thread: &ThreadId,
    files: &Parts,
    read: Read,
) -> Result<Option<(Session, PathBuf)>, (PathBuf, io::Error)> {
    let (mut parts, mut rollout) = (Vec::new(), PathBuf::new());
    for (place, twins) in (1..).zip(files) {
        let written = Some(thread).filter(|_| place == files.len());
        let Some((session, file)) = fullest(twins, written, read)? else { continue };
        parts.push(session);
        rollout = file;
    }
    Ok(family::join(parts).map(|session| (session, rollout)))
}

/// The session with those that it started, and its own file. The files of the others are in Codex's home, or in the
/// folder of its own.
pub fn family(
    (session, rollout): (Session, PathBuf),
    shelf: &mut ThreadFiles,
    read: Read,
) -> (Family, PathBuf) {
    let family = Family::gather(session, |parent| {
        let made = shelf.made_within(&working_times(parent), rollout.parent());
        let threads = made.into_iter().filter(|file| shelf.origin_of(file).is_below(&parent.meta.id));
        let read = |file: PathBuf| {
            let thread = ThreadId::from_rollout_name(&file)?;
            read(&file, Some(&thread))
                .inspect_err(|error| tracing::warn!("cannot read {}: {error}", file.display()))
                .ok()
        };
        // A sub-agent has one file: Codex rewinds none, and a copy in the parent's folder is the same.
        let mut seen = HashSet::new();
        threads.filter(|file| seen.insert(rollout_of(file))).filter_map(read).collect()
    });
    (family, rollout)
}

/// One that cannot be read counts only where no twin can.
fn fullest(
    twins: &[PathBuf],
    written: Option<&ThreadId>,
    read: Read,
) -> Result<Option<(Session, PathBuf)>, (PathBuf, io::Error)> {
    let (mut fullest, mut failure): (Option<(Session, PathBuf)>, _) = (None, None);
    let held = |session: &Session| (session.last_line_at, session.inferences().count(), session.turns.len());
    for file in twins {
        match read(file, written) {
            Ok(session) if fullest.as_ref().is_some_and(|(best, _)| held(best) >= held(&session)) => {}
            Ok(session) => fullest = Some((session, file.clone())),
            Err(error) => failure = Some((file.clone(), error)),
        }
    }
    match (fullest, failure) {
        (None, Some(failure)) => Err(failure),
        (fullest, _) => Ok(fullest),
    }
}
