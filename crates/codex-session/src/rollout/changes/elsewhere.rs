//! Systems without inotify: the kernel reports no changes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Has no value.
pub enum KernelWatch {}

impl KernelWatch {
    pub(super) fn begin(_: &Path) -> io::Result<KernelWatch> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        match *self {}
    }
}
