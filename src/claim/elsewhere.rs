//! Who holds which thread, where we have no way to tell: nobody, so nothing is claimed.

use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub(super) struct LockWatch;

impl LockWatch {
    pub(super) fn open(_: &CodexHome) -> io::Result<LockWatch> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(super) fn stop(&mut self) {}

    pub(super) fn look(&mut self, _: u32, _: Instant) -> (Vec<ThreadId>, Option<Duration>) {
        (Vec::new(), None)
    }
}

pub(super) fn is_locked(_: &CodexHome, _: &ThreadId) -> bool {
    false
}
