//! Finds the threads that the launcher's child holds: by Codex's locks where the system shows them, else by its
//! open files.

use super::ancestry::Child;
use super::open_files::{AT_FIRST, OpenFiles};
use super::processes::LocalProcesses;
use super::writer_locks::LockWatch;
use crate::base::paths::CodexHome;
use codex_session::thread::ThreadId;
use common::disk::file_system::FileSystem;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub(super) struct HeldThreads {
    /// None where the system shows no locks.
    locks: Option<LockWatch>,
    /// None once the child held a lock: then this Codex has locks (0.147 and later), and each of its threads has one.
    files: Option<OpenFiles<LocalProcesses>>,
    files_due: Option<Instant>,
    /// All that were held so far. A server has hundreds.
    reported: BTreeSet<ThreadId>,
}

impl HeldThreads {
    pub(super) fn new(home: &CodexHome) -> HeldThreads {
        // Neither inotify nor this kernel's list shows what another machine does there.
        let locks = match FileSystem::from_path(home.path()) {
            FileSystem::Local => LockWatch::open(home),
            FileSystem::Network => Err(io::Error::other("the home is on a network's file system")),
        };
        let locks = locks.inspect_err(|error| {
            tracing::info!("codex's locks cannot be used ({error}): the launcher polls its open files")
        });
        HeldThreads {
            locks: locks.ok(),
            files: Some(OpenFiles::new(LocalProcesses)),
            files_due: None,
            reported: BTreeSet::new(),
        }
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.locks.as_ref()?.wakes()
    }

    /// The threads that the child holds for the first time, and when to call again.
    pub(super) fn look(&mut self, child: Child, now: Instant) -> (BTreeSet<ThreadId>, Option<Duration>) {
        let (mut held, again) = self.find(child, now);
        held.retain(|thread| self.reported.insert(thread.clone()));
        (held, again)
    }

    fn find(&mut self, child: Child, now: Instant) -> (BTreeSet<ThreadId>, Option<Duration>) {
        let locks = self.locks.as_mut();
        let (locked, again) =
            locks.map_or((Vec::new(), None), |locks| locks.look(child, &self.reported, now));
        let mut held: BTreeSet<ThreadId> = locked.into_iter().collect();
        if !held.is_empty() {
            self.files = None;
            self.locks.iter_mut().for_each(LockWatch::leave_sessions);
        }
        let Some(files) = &mut self.files else { return (held, again) };
        let mut due = self.files_due.unwrap_or(now);
        if now >= due {
            let (open, pace) = files.look(child, now);
            held.extend(open);
            // While the files are polled often inotify adds nothing, and most Codexes have a lock by the end of
            // that time.
            if pace > AT_FIRST {
                self.locks.iter_mut().for_each(|locks| locks.watch_sessions(now));
            }
            due = now + pace;
        }
        if self.locks.as_ref().is_some_and(|locks| locks.is_session_new(now)) {
            due = due.min(now + AT_FIRST);
        }
        self.files_due = Some(due);
        let files_again = due.saturating_duration_since(now);
        (held, again.into_iter().chain([files_again]).min())
    }

    pub(super) fn stop(&mut self) {
        self.locks.iter_mut().for_each(LockWatch::stop);
    }

    /// Why a session may have been missed.
    pub(super) fn blind(&self) -> Option<&io::Error> {
        self.files.as_ref()?.blind()
    }
}
