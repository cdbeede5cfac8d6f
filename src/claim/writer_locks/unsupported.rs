//! Systems without a list of locks: the open files of processes are the evidence there.

use crate::base::paths::CodexHome;
use crate::claim::ancestry::Child;
use codex_session::thread::ThreadId;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Never constructed.
pub(in crate::claim) enum LockWatch {}

impl LockWatch {
    pub(in crate::claim) fn open(_: &CodexHome) -> io::Result<LockWatch> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(in crate::claim) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        match *self {}
    }

    pub(in crate::claim) fn stop(&mut self) {
        match *self {}
    }

    pub(in crate::claim) fn watch_sessions(&mut self, _: Instant) {
        match *self {}
    }

    pub(in crate::claim) fn leave_sessions(&mut self) {
        match *self {}
    }

    pub(in crate::claim) fn is_session_new(&self, _: Instant) -> bool {
        match *self {}
    }

    pub(in crate::claim) fn look(
        &mut self,
        _: Child,
        _: &BTreeSet<ThreadId>,
        _: Instant,
    ) -> (Vec<ThreadId>, Option<Duration>) {
        match *self {}
    }
}

pub(in crate::claim) fn holder_of(_: &CodexHome, _: &ThreadId) -> io::Result<Option<u32>> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
