//! Files and folders of a store: replaced whole, and as open to others as the store itself is.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::Builder;

/// How the name of a file begins that is being written.
const ASIDE: &str = ".tmp-";

/// Changes one store.
pub(super) struct Files {
    /// Of the store's own folder. A server that runs as somebody else must be able to read what we add to
    /// its store: one file that it may not read, and it lists no trace of the experiment.
    mode: u32,
    /// Folders whose entries have changed since the last `settle`.
    changed: BTreeSet<PathBuf>,
    /// After so many more changes, we die.
    #[cfg(test)]
    pub(super) changes_left: usize,
}

impl Files {
    pub(super) fn of(root: &Path) -> io::Result<Files> {
        let mode = fs::metadata(root)?.permissions().mode() & 0o777;
        Ok(Files {
            mode,
            changed: BTreeSet::new(),
            #[cfg(test)]
            changes_left: usize::MAX,
        })
    }

    /// Comes before everything that changes the disk.
    #[cfg(test)]
    fn live_on(&mut self) -> io::Result<()> {
        self.changes_left = self.changes_left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        Ok(())
    }

    #[cfg(not(test))]
    fn live_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// For a file; the umask takes from it what it takes from others.
    pub(super) fn file_mode(&self) -> u32 {
        self.mode & 0o666
    }

    /// Makes the folder and what is missing above it.
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

    /// Makes the folder; false if something of that name is there.
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

    /// Writes the file in the folder `aside`, which must be on the same file system, and moves it into place.
    /// One that holds these bytes already is left alone.
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

    /// Removes a file; one that is gone already is removed.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.live_on()?;
        match fs::remove_file(path) {
            Ok(()) => self.changed.extend(path.parent().map(Path::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Everything until here survives a power cut, and whatever comes later comes after it.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        for folder in std::mem::take(&mut self.changed) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Removes what a crash left half written in this folder. Only for whoever holds the lock.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
