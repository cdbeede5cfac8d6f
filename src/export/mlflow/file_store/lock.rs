//! One codex-traced at a time writes to a store. MLflow knows no lock; against it, the order of writing helps.

use super::error::StoreError;
use super::files::Files;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether we are alone, until it is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    Held(#[expect(dead_code, reason = "open while the lock is held")] File),
    /// Some network file systems have no locks. Each file is whole there too, and two launches at once make
    /// two experiments of one name at worst.
    NoneHere,
}

/// A file in a store's folder, where MLflow looks at folders only.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join(".codex-traced.lock")
}

pub(super) fn take(root: &Path, files: &Files, busy: Duration) -> Result<Lock, StoreError> {
    let file = open(&path(root), files.file_mode())?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock::Held(file)),
            Err(TryLockError::WouldBlock) if began.elapsed() < busy => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(Lock::NoneHere),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Another person may have made it, whose umask lets us read only: that is enough to lock it.
fn open(path: &Path, mode: u32) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(mode).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.exists() => File::open(path),
        result => result,
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    use nix::libc;
    let code = error.raw_os_error();
    [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOTSUP].iter().any(|none| code == Some(*none))
}
