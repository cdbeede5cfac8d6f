//! Systems without inotify: the kernel reports no changes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Has no value.
pub enum Told {}

impl Told {
    pub(super) fn begin(_: &Path) -> io::Result<Told> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        match *self {}
    }
}
