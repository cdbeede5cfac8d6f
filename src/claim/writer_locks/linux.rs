//! Finds the holder of a thread on Linux: inotify reports that a lock file is opened, `/proc/locks` who locked
//! it. For a Codex without locks inotify reports that a session's file is created.
//!
//! The launcher only reads about Codex's locks. A probe with `flock`, even a shared one, would make a Codex
//! fail that opens the thread at that moment (0.169: "already has an active writer").

use super::folder_watch::FolderWatch;
use crate::base::paths::CodexHome;
use crate::claim::ancestry::is_ours;
use crate::claim::processes::{LocalProcesses, Processes};
use codex_session::thread::ThreadId;
use common::disk::entries;
use jiff::Zoned;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

const LOCKS: &str = "/proc/locks";

/// Codex locks the file right after it opens it, on a busy machine some seconds later. A file without a lock
/// for this long was left by a Codex that was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon to look again for the holder of a file just opened: Codex holds a lock for at least 69 ms (measured
/// on 0.169), and one look costs about 0.1 ms.
const LOOK_SOON: Duration = Duration::from_millis(3);

/// How soon after that, and the interval where inotify is not available.
const LOOK_LATER: Duration = Duration::from_millis(25);

/// How long a file counts as just opened.
const JUST_OPENED: Duration = Duration::from_millis(60);

/// How long a session's file counts as just made. The kernel reports the file before its creator has it open,
/// on a busy machine long before.
const JUST_MADE: Duration = Duration::from_millis(200);

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
        let day = Zoned::now().strftime("%Y/%m/%d").to_string();
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

    /// The threads that the child was found to hold since the last call, and when to look again.
    pub(in crate::claim) fn look(&mut self, child: u32, now: Instant) -> (Vec<ThreadId>, Option<Duration>) {
        match self.inotify {
            Some(_) => self.take_events(now),
            None => self.take_all(now),
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

    fn take_events(&mut self, now: Instant) {
        // EAGAIN is the ordinary end.
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            let lost = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
            // Names show the folder: no lock has the name of a session.
            let names = || events.iter().filter_map(|event: &InotifyEvent| event.name.as_deref());
            names().filter_map(ThreadId::from_lock_name).for_each(|thread| {
                self.pending.entry(thread).or_insert(now);
            });
            let is_made = names().any(|name| ThreadId::from_rollout_name(Path::new(name)).is_some());
            let (locks_are_there, sessions_are_there) = self.climb();
            if locks_are_there || lost {
                self.take_all(now);
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
    fn take_all(&mut self, now: Instant) {
        let threads = entries(&self.locks).filter_map(|entry| ThreadId::from_lock_name(&entry.file_name()));
        threads.for_each(|thread| _ = self.pending.entry(thread).or_insert(now));
    }

    fn claim_pending(&mut self, child: u32, now: Instant) -> Vec<ThreadId> {
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
        let holders = holders(&fs::read_to_string(LOCKS).unwrap_or_default());
        let mut held = Vec::new();
        self.pending.retain(|thread, since| {
            let Some(Some(lock)) = inodes.get(thread) else { return false };
            let ours = holders_of(*lock, coordination, &holders).any(|holder| {
                is_ours(holder, child, |id| LocalProcesses.known(id)) && has_open(holder, thread)
            });
            let ours = ours && inode(&self.locks, &lock_of(thread)) == Some(*lock);
            if ours {
                held.push(thread.clone());
            }
            !ours && now.duration_since(*since) < PATIENCE
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

/// The holders that keep a lock. A Codex that starts takes each lock for a moment, to remove those without a
/// holder; and only while it holds the lock of the whole folder (0.169).
fn holders_of(
    lock: u64,
    coordination: Option<u64>,
    holders: &BTreeMap<u64, Vec<u32>>,
) -> impl Iterator<Item = u32> {
    let of = |inode: Option<u64>| inode.and_then(|inode| holders.get(&inode)).cloned().unwrap_or_default();
    let tidying = of(coordination);
    of(Some(lock)).into_iter().filter(move |holder| !tidying.contains(holder))
}

/// A file of another file system may have the same inode. Where the open files cannot be seen, the match counts.
fn has_open(holder: u32, thread: &ThreadId) -> bool {
    let of_lock = |file: &Path| ThreadId::from_lock_name(file.file_name()?);
    LocalProcesses.written(holder, of_lock).map_or(true, |threads| threads.contains(thread))
}

/// The process that holds the thread's lock; None when there is none. An error where the kernel shows no locks.
pub(in crate::claim) fn holder_of(home: &CodexHome, thread: &ThreadId) -> io::Result<Option<u32>> {
    let folder = home.writer_locks();
    let (lock, coordination) = (inode(&folder, &lock_of(thread)), inode(&folder, COORDINATION));
    let holders = holders(&fs::read_to_string(LOCKS)?);
    let Some(lock) = lock else { return Ok(None) };
    let mut holders = holders_of(lock, coordination, &holders);
    Ok(holders.find(|holder| has_open(*holder, thread)))
}

/// Processes by inode, of all exclusive flocks. The device is ignored: an overlay's differs between `stat` and
/// `/proc/locks`. So a file of another file system may have the same number, and one number several holders.
fn holders(locks: &str) -> BTreeMap<u64, Vec<u32>> {
    let line = |line: &str| -> Option<(u64, u32)> {
        // 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", holder, place, ..] = fields[..] else { return None };
        Some((place.rsplit(':').next()?.parse().ok()?, holder.parse().ok()?))
    };
    let mut holders: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (inode, holder) in locks.lines().filter_map(line) {
        holders.entry(inode).or_default().push(holder);
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exclusive_flocks_have_a_holder() {
        let locks = "1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 4712 08:01:123457 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4713 08:01:123456 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4715 08:02:123456 0 EOF\n\
                     4: FLOCK  ADVISORY  READ  4714 08:01:123458 0 EOF\n\nnonsense";
        assert_eq!(holders(locks), BTreeMap::from([(123_456, vec![4711, 4715])]));
    }

    #[test]
    fn a_codex_that_removes_old_locks_holds_no_thread() {
        let holders = BTreeMap::from([(1, vec![7]), (2, vec![7, 8]), (3, vec![7])]);
        let of = |lock, coordination| holders_of(lock, coordination, &holders).collect::<Vec<_>>();
        assert_eq!(of(2, None), [7, 8]);
        assert_eq!(of(2, Some(9)), [7, 8], "the folder's lock has no holder");
        assert_eq!(of(2, Some(1)), [8]);
        assert_eq!(of(3, Some(1)), [0; 0]);
        assert_eq!(of(4, None), [0; 0]);
    }
}
