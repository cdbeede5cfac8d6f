//! The file that an export is written to.

use crate::command::CommandError;
use common::disk;
use common::printable::clean;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Replaces the file as a whole; only its owner may read it. A device or a pipe in its place gets the bytes.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    replace(path, bytes).map_err(|error| {
        format!(
            "cannot write {}: {}\n  hint: name a file in a folder that exists and that you may write to",
            clean(path.display()),
            disk::reason(&error)
        )
    })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A name alone has no folder; a link stays, and its end is replaced.
    let path = disk::followed(&std::path::absolute(path)?);
    // Links that lead to each other have no end: replacing would take one of them.
    if path.is_symlink() {
        return Err(nix::errno::Errno::ELOOP.into());
    }
    match fs::metadata(&path) {
        Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => {
            return OpenOptions::new().write(true).open(&path)?.write_all(bytes);
        }
        _ => {}
    }
    // Writing would make a missing folder: a typing error in a path is reported instead.
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(io::ErrorKind::NotFound.into());
    }
    disk::write_private(&path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("old.html"), "old").unwrap();
        symlink("old.html", at("link")).unwrap();
        for path in [at("new.html"), at("link")] {
            write(&path, b"text").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"text");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        write(Path::new("/dev/null"), b"text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_written_is_reported_and_makes_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing/a.html"), folder.path().to_owned()] {
            let sentence = write(&path, b"text").unwrap_err();
            assert!(sentence.starts_with(&format!("cannot write {}: ", path.display())), "{sentence}");
            assert!(sentence.contains("\n  hint: "), "{sentence}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_without_an_end_are_reported_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (link, end) in [("a", "b"), ("b", "a"), ("own", "own")] {
            symlink(end, at(link)).unwrap();
        }
        for link in ["a", "b", "own"] {
            let sentence = write(&at(link), b"text").unwrap_err();
            assert!(sentence.starts_with(&format!("cannot write {}: ", at(link).display())), "{sentence}");
        }
        assert!(["a", "b", "own"].iter().all(|link| at(link).is_symlink()));
    }
}
