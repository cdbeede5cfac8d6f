//! Files and folders of a store: replaced atomically, with the permissions of the store's folder.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
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
    #[cfg(test)]
    fn live_on(&mut self) -> io::Result<()> {
        self.changes_left = self.changes_left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        Ok(())
    }

    #[cfg(not(test))]
    fn live_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Permissions of a new file, before the umask.
    pub(super) fn file_mode(&self) -> u32 {
        self.mode & 0o666
    }

    /// Creates the folder and its missing parents.
    pub(super) fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
            self.changed.insert(above.to_owned());
        }
        self.live_on()?;
        match DirBuilder::new().mode(self.mode).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            result => result,
        }
    }

    /// Creates the folder; false if the name is taken.
    pub(super) fn make_new_folder(&mut self, folder: &Path) -> io::Result<bool> {
        self.live_on()?;
        match DirBuilder::new().mode(self.mode).create(folder) {
            Ok(()) => {
                self.changed.extend(folder.parent().map(Path::to_owned));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
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
        file.as_file().sync_all()?;
        file.persist(path)?;
        self.changed.extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.live_on()?;
        match fs::remove_file(path) {
            Ok(()) => self.changed.extend(path.parent().map(Path::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes all changes so far survive a power cut, before any later one.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        for folder in std::mem::take(&mut self.changed) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Removes temporary files that a crash left in this folder. The caller holds the lock.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
