//! Brings the index up to date: reads the threads whose files are new, changed or gone, and no other.

use super::changes::{ChangedFile, Changes, files_of};
use super::facts::ThreadFacts;
use super::folder_scan::{bytes_of, scan};
use super::index::{Index, IndexError};
use super::prices::reprice;
use super::roots::settle;
use super::writer::IndexWriter;
use crate::base::paths::CodexHome;
use crate::finish::gather;
use crate::trace::price_book::PriceBook;
use codex_session::rollout::thread_files::in_parts;
use codex_session::session::{self, Writer};
use codex_session::thread::ThreadId;
use rusqlite::{TransactionBehavior, params};
use std::collections::HashSet;
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
    /// `begin` gets the number of threads to read; what it returns is called after each.
    pub fn update<'p>(
        &mut self,
        sources: &Sources,
        begin: impl FnOnce(usize) -> Box<dyn Fn() + 'p>,
    ) -> Result<(), IndexError> {
        let mut roots = vec![sources.home.sessions(), sources.home.path().join("archived_sessions")];
        roots.extend(sources.further.iter().cloned());
        let scans = scan(&roots);
        let changes = Changes::find(&self.connection, scans)?;
        let threads: Vec<(Option<ThreadId>, Vec<ChangedFile>)> = changes.threads.into_iter().collect();
        let one_more = begin(threads.len());
        self.read_threads(&threads, sources, &*one_more)?;
        let last = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        for path in &changes.gone {
            last.execute("DELETE FROM file WHERE path = ?1", [path])?;
        }
        for (path, digest) in &changes.folders {
            let path = bytes_of(path);
            match digest {
                Some(digest) => {
                    last.execute("INSERT OR REPLACE INTO folder VALUES (?1, ?2)", params![path, digest])?
                }
                None => last.execute("DELETE FROM folder WHERE path = ?1", [path])?,
            };
        }
        settle(&last)?;
        reprice(&last, sources.prices)?;
        settle(&last)?;
        last.commit()?;
        Ok(())
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
        let (sender, receiver) = sync_channel(QUEUE);
        thread::scope(|scope| {
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
                writer.forget_services();
            }
            Ok(())
        })
    }
}

/// None for a thread without a file; Err: why its files cannot be read.
pub(super) type ReadThread = Result<Option<ThreadFacts>, String>;

fn read(thread: &ThreadId, changed: &[ChangedFile], unchanged: &[PathBuf], sources: &Sources) -> ReadThread {
    let paths: HashSet<&PathBuf> = changed.iter().map(|file| &file.path).chain(unchanged).collect();
    let there = paths.into_iter().filter(|path| path.exists()).cloned();
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
        let found = gather::session_of(thread, &parts, &read).map_err(|(_, error)| error.to_string())?;
        Ok(found
            .map(|(session, path)| ThreadFacts::from_session(thread.clone(), &session, path, sources.redact)))
    }));
    done.unwrap_or_else(|_| Err("a defect of codex-traced (see its log)".into()))
}
