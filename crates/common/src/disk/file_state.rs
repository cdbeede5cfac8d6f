//! Whether a file is the one that was looked at before.

use nix::libc;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Differs after each write, and after a change of name or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileState {
    pub bytes: u64,
    /// Nanoseconds since 1970, of the last change to the file or to its name, mode or owner.
    pub changed: i64,
    pub inode: u64,
}

impl FileState {
    pub fn from_metadata(found: &Metadata) -> FileState {
        FileState {
            bytes: found.len(),
            changed: nanoseconds(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        }
    }

    pub fn from_stat(found: &libc::stat) -> FileState {
        FileState {
            bytes: found.st_size.cast_unsigned(),
            changed: nanoseconds(found.st_ctime, found.st_ctime_nsec),
            inode: found.st_ino,
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn both_ways_to_a_files_state_agree_and_each_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a").unwrap();
        let state = || FileState::from_metadata(&fs::metadata(&path).unwrap());
        let before = state();
        assert_eq!(FileState::from_stat(&nix::sys::stat::stat(&path).unwrap()), before);
        fs::write(&path, "ab").unwrap();
        assert_ne!(state(), before);
        let longer = state();
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        assert_ne!(state(), longer, "another file of the same size");
    }
}
