//! Creates a store: complete in a temporary folder first, then renamed. MLflow checks only whether the folder
//! exists, so it must never find an incomplete store.

use super::TRASH;
use super::experiment;
use super::files::Files;
use common::disk;
use jiff::Timestamp;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Creates the store with experiment 0, as MLflow does, unless another process creates it at the same time.
/// Only its owner can access the folder.
pub(super) fn create(root: &Path, now: Timestamp) -> io::Result<()> {
    let end = disk::followed(root);
    let parent = end.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let private = Permissions::from_mode(0o700);
    let aside = tempfile::Builder::new().prefix(".mlruns-").permissions(private).tempdir_in(parent)?;
    let mut files = Files::open(aside.path())?;
    files.make_folder(&aside.path().join(TRASH))?;
    experiment::make_default(root, &mut files, now)?;
    files.settle()?;
    match fs::rename(aside.path(), &end) {
        Ok(()) => drop(aside.keep()),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {}
        Err(error) => return Err(error),
    }
    fs::File::open(parent)?.sync_all()
}
