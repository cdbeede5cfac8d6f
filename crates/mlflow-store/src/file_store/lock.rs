//! The lock of a store: one codex-traced writes at a time. MLflow takes no lock; the order of writes protects
//! its reads.

use super::error::FileStoreError;
use super::files::Files;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two tries to take the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Held until it is dropped.
#[derive(Debug)]
pub(super) enum StoreLock {
    Held(#[expect(dead_code, reason = "open while the lock is held")] File),
    /// The file system has no locks, as some network file systems. Files are still replaced atomically; at
    /// worst two launches create two experiments with one name.
    NoneHere,
}

/// The lock file. MLflow looks only at folders in the store's root.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join(".codex-traced.lock")
}

pub(super) fn take(root: &Path, files: &Files, busy: Duration) -> Result<StoreLock, FileStoreError> {
    let file = open(&path(root), files.file_mode())?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(StoreLock::Held(file)),
            Err(TryLockError::WouldBlock) if began.elapsed() < busy => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(FileStoreError::Busy),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(StoreLock::NoneHere),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Opens the lock file; read-only if another user owns it, which is enough to lock it.
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
