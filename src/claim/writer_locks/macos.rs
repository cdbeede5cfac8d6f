//! Wakes the search for open files on macOS, which has no list of locks. Codex makes a lock file or a session file when it
//! opens a thread. Never run on macOS: the project has no such machine.

use super::{JUST_MADE, today};
use crate::base::paths::CodexHome;
use crate::claim::ancestry::Child;
use codex_session::thread::ThreadId;
use common::disk::vnode_alarm::VnodeAlarm;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(in crate::claim) struct LockWatch {
    /// None once it is stopped.
    alarm: Option<VnodeAlarm>,
    home: PathBuf,
    locks: PathBuf,
    watches_sessions: bool,
    changed_at: Option<Instant>,
}

impl LockWatch {
    pub(in crate::claim) fn open(home: &CodexHome) -> io::Result<LockWatch> {
        let mut watch = LockWatch {
            alarm: Some(VnodeAlarm::new()?),
            home: home.path().to_owned(),
            locks: home.writer_locks(),
            watches_sessions: false,
            changed_at: None,
        };
        watch.watch();
        Ok(watch)
    }

    fn watch(&mut self) {
        let day = self.home.join("sessions").join(today());
        let sessions = self.watches_sessions.then_some(day);
        if let Some(alarm) = &mut self.alarm {
            alarm.set([self.locks.clone()].into_iter().chain(sessions));
        }
    }

    pub(in crate::claim) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.alarm.as_ref().map(VnodeAlarm::wakes)
    }

    pub(in crate::claim) fn stop(&mut self) {
        self.alarm = None;
    }

    /// From now on it also wakes for sessions that are made today.
    pub(in crate::claim) fn watch_sessions(&mut self, now: Instant) {
        if !self.watches_sessions {
            self.watches_sessions = true;
            self.watch();
            // A session may have been made just before.
            self.changed_at = Some(now);
        }
    }

    pub(in crate::claim) fn leave_sessions(&mut self) {
        self.watches_sessions = false;
        self.watch();
    }

    pub(in crate::claim) fn is_session_new(&self, now: Instant) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_duration_since(at) < JUST_MADE)
    }

    /// Finds no holder; `is_session_new` makes the caller look at open files soon.
    pub(in crate::claim) fn look(
        &mut self,
        _: Child,
        _: &BTreeSet<ThreadId>,
        now: Instant,
    ) -> (Vec<ThreadId>, Option<Duration>) {
        if self.alarm.as_mut().is_some_and(|alarm| !alarm.take().is_empty()) {
            self.changed_at = Some(now);
            // A folder may have come to exist.
            self.watch();
        }
        (Vec::new(), None)
    }
}

#[cfg_attr(target_os = "linux", expect(dead_code, reason = "tests run the watch alone"))]
pub(in crate::claim) fn holder_of(_: &CodexHome, _: &ThreadId) -> io::Result<Option<u32>> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::fs::{self, File};

    fn wait(watch: &LockWatch) {
        let mut watched = [PollFd::new(watch.wakes().unwrap(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut watched, PollTimeout::from(60_000_u16)), Ok(1));
    }

    fn look(watch: &mut LockWatch, now: Instant) -> bool {
        let child = Child { id: std::process::id(), is_server: false };
        assert_eq!(watch.look(child, &BTreeSet::new(), now), (Vec::new(), None));
        watch.is_session_new(now)
    }

    #[test]
    fn a_lock_file_or_a_session_of_today_wakes_the_search_for_a_moment() {
        let root = tempfile::tempdir().unwrap();
        let world = World { home: Some(root.path().to_owned()), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let mut watch = LockWatch::open(&home).unwrap();
        let began = Instant::now();
        assert!(!look(&mut watch, began));
        // The folder of the locks, then a lock.
        fs::create_dir_all(home.writer_locks()).unwrap();
        wait(&watch);
        assert!(look(&mut watch, began));
        assert!(!look(&mut watch, began + JUST_MADE));
        File::create(home.writer_locks().join("a")).unwrap();
        wait(&watch);
        assert!(look(&mut watch, began + 2 * JUST_MADE));
        // For a Codex without locks.
        let later = began + 9 * JUST_MADE;
        watch.watch_sessions(later);
        assert!(look(&mut watch, later));
        let day = home.path().join("sessions").join(today());
        fs::create_dir_all(&day).unwrap();
        wait(&watch);
        look(&mut watch, later);
        File::create(day.join("rollout")).unwrap();
        wait(&watch);
        assert!(look(&mut watch, later + 2 * JUST_MADE));
        watch.leave_sessions();
        File::create(day.join("another")).unwrap();
        assert!(!look(&mut watch, later + 4 * JUST_MADE));
        watch.stop();
        assert!(watch.wakes().is_none());
    }
}
