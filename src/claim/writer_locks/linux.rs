//! Finds the holder of a thread on Linux: inotify reports that a lock file is opened, `/proc/locks` who locked
//! it. For a Codex without locks inotify reports that a session's file is created.
//!
//! The launcher only reads about Codex's locks. A probe with `flock`, even a shared one, would make a Codex
//! fail that opens the thread at that moment (0.169: "already has an active writer").

use super::folder_watch::FolderWatch;
use super::holders::{Holder, Holders, LOCKS};
use super::{JUST_MADE, today};
use crate::base::paths::CodexHome;
use crate::claim::ancestry::Child;
use codex_session::thread::ThreadId;
use common::disk::entries;
use common::portable;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Codex locks the file right after it opens it, on a busy machine some seconds later. A file without a lock
/// for this long was left by a Codex that was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon to look again for the holder of a file just opened: Codex holds a lock for at least 69 ms (measured
/// on 0.169), and one look costs about 0.1 ms.
const LOOK_SOON: Duration = Duration::from_millis(3);

/// How soon after that, and the interval where inotify is not available.
const LOOK_LATER: Duration = Duration::from_millis(25);

/// How long a file counts as just opened. A Codex that starts opens every lock; those that another Codex keeps are
/// looked at for no longer than this.
const JUST_OPENED: Duration = Duration::from_millis(60);

pub(in crate::claim) struct LockWatch {
    /// None where no instance is left (a desktop's 128 are soon used up): then the launcher polls.
    inotify: Option<Inotify>,
    home: PathBuf,
    locks: PathBuf,
    to_locks: FolderWatch,
    /// The folder of today's sessions; None when it is not watched.
    to_sessions: Option<FolderWatch>,
    /// When any process created the last session's file there.
    session_made: Option<Instant>,
    /// Opened, holder not known yet.
    pending: BTreeMap<ThreadId, Instant>,
}

impl LockWatch {
    /// An error where the kernel shows no locks: then no lock could be attributed to the child.
    pub(in crate::claim) fn open(home: &CodexHome) -> io::Result<LockWatch> {
        portable::refuse()?;
        fs::metadata(LOCKS)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .inspect_err(|error| tracing::info!("no inotify ({error}): the launcher polls codex's locks"));
        let locks = home.writer_locks();
        let name = locks.file_name().and_then(|name| name.to_str());
        // A lock file that a killed Codex left is opened again, not created.
        let mut to_locks = FolderWatch::new(home.path(), name, AddWatchFlags::IN_OPEN);
        if let Ok(inotify) = &inotify {
            to_locks.climb(inotify, None);
        }
        Ok(LockWatch {
            inotify: inotify.ok(),
            home: home.path().to_owned(),
            locks,
            to_locks,
            to_sessions: None,
            session_made: None,
            pending: BTreeMap::new(),
        })
    }

    /// From now on inotify reports each session that is created today; not the continuation of an older one.
    pub(in crate::claim) fn watch_sessions(&mut self, now: Instant) {
        let (Some(inotify), None) = (&self.inotify, &self.to_sessions) else { return };
        let day = today();
        let names = ["sessions"].into_iter().chain(day.split('/'));
        let mut to_sessions = FolderWatch::new(&self.home, names, AddWatchFlags::empty());
        to_sessions.climb(inotify, Some(&self.to_locks));
        self.to_sessions = Some(to_sessions);
        // A session may have been created just before.
        self.session_made = Some(now);
    }

    pub(in crate::claim) fn leave_sessions(&mut self) {
        if let (Some(inotify), Some(mut to_sessions)) = (&self.inotify, self.to_sessions.take()) {
            to_sessions.leave(inotify, Some(&self.to_locks));
        }
    }

    /// Whether a session was created just now: it may be the child's, and open for a moment only.
    pub(in crate::claim) fn is_session_new(&self, now: Instant) -> bool {
        self.session_made.is_some_and(|at| now.saturating_duration_since(at) < JUST_MADE)
    }

    pub(in crate::claim) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inotify.as_ref()?.as_fd())
    }

    /// The threads that the child was found to hold since the last call, and when to look again. Those of `known` are
    /// left out: a server opens the locks of its threads again and again.
    pub(in crate::claim) fn look(
        &mut self,
        child: Child,
        known: &BTreeSet<ThreadId>,
        now: Instant,
    ) -> (Vec<ThreadId>, Option<Duration>) {
        match self.inotify {
            Some(_) => self.take_events(known, now),
            None => self.take_all(known, now),
        }
        let held = self.claim_pending(child, now);
        (held, self.look_again(now))
    }

    /// Stops watching. The kernel takes about 8 ms to remove a watch (an SRCU grace period), and closing the
    /// descriptor waits for that. So the watch is removed here, and the descriptor closed when the trace has
    /// been written.
    pub(in crate::claim) fn stop(&mut self) {
        self.leave_sessions();
        if let Some(inotify) = &self.inotify {
            self.to_locks.leave(inotify, None);
        }
    }

    fn look_again(&self, now: Instant) -> Option<Duration> {
        if self.pending.values().any(|since| now.duration_since(*since) < JUST_OPENED) {
            return Some(LOOK_SOON);
        }
        (!self.pending.is_empty() || self.inotify.is_none()).then_some(LOOK_LATER)
    }

    fn take_events(&mut self, known: &BTreeSet<ThreadId>, now: Instant) {
        // EAGAIN is the ordinary end.
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            let lost = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
            // Names show the folder: no lock has the name of a session.
            let names = || events.iter().filter_map(|event: &InotifyEvent| event.name.as_deref());
            self.await_holders(names().filter_map(ThreadId::from_lock_name), known, now);
            let is_made = names().any(|name| ThreadId::from_rollout_name(Path::new(name)).is_some());
            let (locks_are_there, sessions_are_there) = self.climb();
            if locks_are_there || lost {
                self.take_all(known, now);
            }
            if is_made || sessions_are_there || lost {
                self.session_made = Some(now);
            }
        }
    }

    /// Whether the locks' folder, and that of today's sessions, have come to exist: inotify did not report
    /// their first entries.
    fn climb(&mut self) -> (bool, bool) {
        let Some(inotify) = &self.inotify else { return (false, false) };
        let (locks, sessions) = (&mut self.to_locks, &mut self.to_sessions);
        let locks_are_there = !locks.is_at_the_top() && locks.climb(inotify, sessions.as_ref());
        let of_sessions = sessions.as_mut().filter(|sessions| !sessions.is_at_the_top());
        let sessions_are_there = of_sessions.is_some_and(|sessions| sessions.climb(inotify, Some(locks)));
        (locks_are_there, sessions_are_there)
    }

    /// Every lock file: some may have been opened before the watch.
    fn take_all(&mut self, known: &BTreeSet<ThreadId>, now: Instant) {
        let threads = entries(&self.locks).filter_map(|entry| ThreadId::from_lock_name(&entry.file_name()));
        self.await_holders(threads, known, now);
    }

    fn await_holders(
        &mut self,
        threads: impl Iterator<Item = ThreadId>,
        known: &BTreeSet<ThreadId>,
        now: Instant,
    ) {
        for thread in threads.filter(|thread| !known.contains(thread)) {
            self.pending.entry(thread).or_insert(now);
        }
    }

    fn claim_pending(&mut self, child: Child, now: Instant) -> Vec<ThreadId> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        // Inodes before holders: the kernel may soon reuse the inode of a removed file.
        let coordination = inode(&self.locks, COORDINATION);
        let inodes: BTreeMap<ThreadId, Option<u64>> = self
            .pending
            .keys()
            .map(|thread| (thread.clone(), inode(&self.locks, &lock_of(thread))))
            .collect();
        let mut holders = Holders::read(coordination).unwrap_or_default();
        let mut held = Vec::new();
        self.pending.retain(|thread, since| {
            let Some(Some(lock)) = inodes.get(thread) else { return false };
            let patience = match holders.holder(*lock, thread, child) {
                Holder::Ours if inode(&self.locks, &lock_of(thread)) == Some(*lock) => {
                    held.push(thread.clone());
                    return false;
                }
                Holder::Another => JUST_OPENED,
                Holder::Ours | Holder::None => PATIENCE,
            };
            now.duration_since(*since) < patience
        });
        held
    }
}

/// The lock of the whole folder.
const COORDINATION: &str = ".coordination.lock";

fn lock_of(thread: &ThreadId) -> String {
    format!("{thread}.lock")
}

fn inode(folder: &Path, name: &str) -> Option<u64> {
    Some(fs::metadata(folder.join(name)).ok()?.ino())
}

/// The process that holds the thread's lock; None when there is none. An error where the kernel shows no locks.
pub(in crate::claim) fn holder_of(home: &CodexHome, thread: &ThreadId) -> io::Result<Option<u32>> {
    portable::refuse()?;
    let folder = home.writer_locks();
    let (lock, coordination) = (inode(&folder, &lock_of(thread)), inode(&folder, COORDINATION));
    let mut holders = Holders::read(coordination)?;
    let Some(lock) = lock else { return Ok(None) };
    let mut of_lock = holders.of(lock);
    Ok(of_lock.find(|holder| holders.has_open(*holder, thread)))
}
