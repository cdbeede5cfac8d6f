//! The kernel reports no changes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Has no value.
pub enum KernelWatch {}

impl KernelWatch {
    pub(super) fn begin(_: &Path) -> io::Result<KernelWatch> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn pace(&self) -> Option<Duration> {
        match *self {}
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        match *self {}
    }
}
