//! Files and folders of a store, replaced atomically with the permissions of the store's folder; and the store's lock.
//! One codex-traced writes at a time. MLflow takes no lock; the order of writes protects its reads.

use super::error::{FileStoreError, Result};
use common::disk::{self, entries, sync_folder};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::Builder;

/// Name prefix of a temporary file.
const ASIDE: &str = ".tmp-";

/// Writes to one store.
pub(super) struct Files {
    pub(super) root: PathBuf,
    /// Permissions of the store's folder. A server that runs as another user must be able to read every new
    /// file: if it cannot read one, it lists no trace of the experiment.
    mode: u32,
    /// Folders with changed entries since the last `settle`.
    changed: BTreeSet<PathBuf>,
    /// Tests: the number of changes until a simulated crash.
    #[cfg(test)]
    pub(super) changes_left: usize,
}

impl Files {
    pub(super) fn open(root: &Path) -> io::Result<Files> {
        let mode = fs::metadata(root)?.permissions().mode() & 0o777;
        Ok(Files {
            root: root.to_owned(),
            mode,
            changed: BTreeSet::new(),
            #[cfg(test)]
            changes_left: usize::MAX,
        })
    }

    /// Called before every change of the disk; fails at the simulated crash.
    fn live_on(&mut self) -> io::Result<()> {
        #[cfg(test)]
        {
            self.changes_left = self.changes_left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        }
        Ok(())
    }

    /// Waits for the store's lock, as long as `busy`.
    pub(super) fn lock(&self, busy: Duration) -> Result<StoreLock> {
        let file = open(&lock_path(&self.root), self.file_mode())?;
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

    /// Permissions of a new file, before the umask.
    fn file_mode(&self) -> u32 {
        self.mode & 0o666
    }

    /// Creates the folder and its missing parents.
    pub(super) fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        match self.make_new_folder(folder)? || folder.is_dir() {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Creates the folder; false if the name is taken.
    pub(super) fn make_new_folder(&mut self, folder: &Path) -> io::Result<bool> {
        self.live_on()?;
        self.changed.extend(folder.parent().map(Path::to_owned));
        match DirBuilder::new().mode(self.mode).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Writes a temporary file in the folder `aside`, on the same file system, and renames it to `path`. Does
    /// nothing if `path` already has this content.
    pub(super) fn replace(&mut self, path: &Path, bytes: &[u8], aside: &Path) -> io::Result<()> {
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.live_on()?;
        let permissions = Permissions::from_mode(self.file_mode());
        let mut file = Builder::new().prefix(ASIDE).permissions(permissions).tempfile_in(aside)?;
        file.write_all(bytes)?;
        disk::sync(file.as_file())?;
        file.persist(path)?;
        self.changed.extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.live_on()?;
        if if_there(fs::remove_file(path))?.is_some() {
            self.changed.extend(path.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Makes all changes so far survive a power cut, before any later one.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        for folder in std::mem::take(&mut self.changed) {
            sync_folder(&folder)?;
        }
        Ok(())
    }
}

/// None if a file or folder is missing.
pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Removes temporary files that a crash left in this folder. The caller holds the lock.
pub(super) fn sweep(folder: &Path) {
    for entry in entries(folder) {
        if entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

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
pub(super) fn lock_path(root: &Path) -> PathBuf {
    root.join(".codex-traced.lock")
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
