//! Brings the index up to date: reads the threads whose files are new, changed or gone, and no other.

use super::changes::{ChangedFile, Changes, files_of};
use super::facts::ThreadFacts;
use super::index::{Index, IndexError};
use super::prices::{forget_other_prices, is_priced, reprice};
use super::project::project_of;
use super::roots::settle;
use super::writer::IndexWriter;
use crate::base::paths::CodexHome;
use crate::finish::gather;
use crate::trace::price_book::PriceBook;
use codex_session::rollout::path;
use codex_session::rollout::thread_files::in_parts;
use codex_session::session::{self, Writer};
use codex_session::thread::ThreadId;
use common::disk;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// A transaction ends after this time: what is written then is not read again after an interrupt.
const TRANSACTION: Duration = Duration::from_secs(1);

/// Threads that may wait to be written.
const QUEUE: usize = 64;

/// Where sessions are, and how their texts are redacted.
pub struct Sources<'a> {
    pub home: &'a CodexHome,
    /// Folders of session files outside of the home.
    pub further: &'a [PathBuf],
    /// As for `Redactor::text`.
    pub redact: &'a (dyn Fn(&str) -> Option<String> + Sync),
    pub prices: &'a PriceBook,
}

impl Index {
    /// `begin` gets the number of threads to read; what it returns is called after each. Returns the folders that cannot
    /// be read, and why: their sessions stay as they were.
    pub fn update<'p>(
        &mut self,
        sources: &Sources,
        begin: impl FnOnce(usize) -> Box<dyn Fn() + 'p>,
    ) -> Result<Vec<(PathBuf, String)>, IndexError> {
        let mut roots = vec![sources.home.sessions(), sources.home.path().join("archived_sessions")];
        roots.extend(sources.further.iter().cloned());
        // A home may have several names.
        let roots: Vec<PathBuf> = roots.into_iter().map(|root| root.canonicalize().unwrap_or(root)).collect();
        let mut changes = Changes::find(&mut self.connection, &roots)?;
        let unreadable = std::mem::take(&mut changes.unreadable);
        let place_again = project_changes(&self.connection)?;
        if changes.is_empty() && place_again.is_empty() && is_settled(&self.connection, sources.prices)? {
            return Ok(unreadable);
        }
        self.enlarge_cache()?;
        let threads: Vec<(Option<ThreadId>, Vec<ChangedFile>)> =
            std::mem::take(&mut changes.threads).into_iter().collect();
        let one_more = begin(threads.len());
        self.read_threads(&threads, sources, &*one_more)?;
        let last = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for path in &changes.gone {
            last.execute("DELETE FROM file WHERE path = ?1", [path])?;
        }
        for folder in &changes.folders {
            folder.write(&last)?;
        }
        for (folder, project) in place_again {
            last.execute("UPDATE project SET project = ?2 WHERE folder = ?1", [folder, project])?;
        }
        settle(&last)?;
        reprice(&last, sources.prices)?;
        settle(&last)?;
        last.commit()?;
        Ok(unreadable)
    }

    /// Reads on all processors and writes on this one.
    fn read_threads(
        &mut self,
        threads: &[(Option<ThreadId>, Vec<ChangedFile>)],
        sources: &Sources,
        one_more: &dyn Fn(),
    ) -> Result<(), IndexError> {
        let mut unchanged = Vec::with_capacity(threads.len());
        for (thread, _) in threads {
            unchanged.push(files_of(&self.connection, thread.as_ref())?);
        }
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            // Within the scope: after a failed write the receiver goes first, so that no reader waits for it.
            let (sender, receiver) = sync_channel(QUEUE);
            let workers = thread::available_parallelism().map_or(1, usize::from).min(threads.len());
            for _ in 0..workers {
                let (sender, next, unchanged) = (sender.clone(), &next, &unchanged);
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some((thread, changed)) = threads.get(at) else { return };
                        let read =
                            thread.as_ref().map(|thread| read(thread, changed, &unchanged[at], sources));
                        if sender.send((at, read)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut writer = IndexWriter::new(sources.prices);
            let mut received = receiver.iter().peekable();
            while received.peek().is_some() {
                let part = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                forget_other_prices(&part, sources.prices)?;
                let begun = Instant::now();
                for (at, read) in received.by_ref() {
                    let (thread, files) = &threads[at];
                    writer.write(thread.as_ref(), files, read, &part)?;
                    one_more();
                    if begun.elapsed() > TRANSACTION {
                        break;
                    }
                }
                part.commit()?;
                writer.forget_rows();
            }
            Ok(())
        })
    }
}

/// Whether no earlier run was interrupted, and all costs are of these prices.
fn is_settled(connection: &Connection, prices: &PriceBook) -> Result<bool, IndexError> {
    let query =
        "SELECT NOT EXISTS (SELECT 1 FROM stale) AND NOT EXISTS (SELECT 1 FROM thread WHERE root IS NULL)";
    let is_summed_up: bool = connection.query_row(query, [], |row| row.get(0))?;
    Ok(is_summed_up && is_priced(connection, prices)?)
}

/// Folders that are in another repository than before, such as a new one. A folder that is gone stays where it was.
fn project_changes(connection: &Connection) -> Result<Vec<(String, String)>, IndexError> {
    let mut query = connection.prepare("SELECT folder, project FROM project")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut changed = Vec::new();
    for row in rows {
        let (folder, before) = row?;
        let now = project_of(Path::new(&folder)).display().to_string();
        if now != before && Path::new(&folder).is_dir() {
            changed.push((folder, now));
        }
    }
    Ok(changed)
}

/// None for a thread without a file.
pub(super) type ReadThread = Result<Option<ThreadFacts>, UnreadFile>;

/// A file that cannot be read, and why.
#[derive(Debug)]
pub(super) struct UnreadFile {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

fn read(thread: &ThreadId, changed: &[ChangedFile], unchanged: &[PathBuf], sources: &Sources) -> ReadThread {
    let paths: HashSet<&PathBuf> = changed.iter().map(|file| &file.path).chain(unchanged).collect();
    let mut there: Vec<PathBuf> = paths.into_iter().filter(|path| path.exists()).cloned().collect();
    // Of twins that hold the same, the one to which Codex would append counts.
    let sessions = sources.home.sessions();
    let sessions = sessions.canonicalize().unwrap_or(sessions);
    there.sort_by_cached_key(|file| (path::is_compressed(file), !file.starts_with(&sessions), file.clone()));
    let parts = in_parts(thread, there);
    // Few sessions run, and the question who writes one is slow.
    let read = |path: &Path, thread: Option<&ThreadId>| {
        let session = session::read(path, Writer::Alive)?;
        match thread.filter(|_| session.is_running()) {
            Some(thread) if gather::writer_of(thread, sources.home) == Writer::Alive => Ok(session),
            _ if session.is_running() => session::read(path, Writer::Gone),
            _ => Ok(session),
        }
    };
    // A defect in one session must not hide all others.
    let done = catch_unwind(AssertUnwindSafe(|| {
        let found = gather::session_of(thread, &parts, &read)
            .map_err(|(path, error)| UnreadFile { reason: reason_of(&path, &error), path })?;
        Ok(found
            .map(|(session, path)| ThreadFacts::from_session(thread.clone(), &session, path, sources.redact)))
    }));
    done.unwrap_or_else(|_| {
        let path = parts.into_iter().flatten().next().unwrap_or_default();
        Err(UnreadFile { path, reason: "a defect of codex-traced (see its log)".into() })
    })
}

/// The library that decompresses has errors for its developers.
fn reason_of(file: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            if path::is_compressed(file) =>
        {
            "the compressed file is damaged or incomplete".to_owned()
        }
        _ => disk::reason(error),
    }
}
