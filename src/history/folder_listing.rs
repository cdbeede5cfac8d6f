//! The names in a folder, as the index keeps them: a folder that has not changed since need not be listed again.

use codex_session::rollout::files::may_be_session;
use nix::dir::{Dir, Type};
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A folder that changed so recently may change again without another time: clocks of file systems tick.
const RECENT: Duration = Duration::from_secs(2);

/// Of a folder that is to be listed again.
const UNTRUSTED: i64 = i64::MIN;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderListing {
    /// Nanoseconds since 1970: the folder's last change before it was listed.
    pub(super) changed: i64,
    /// For each entry the byte of its kind, its name, and NUL.
    pub(super) entries: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Folder,
    /// Whose name may be a session's.
    File,
    /// A link, or of a kind that the file system does not give.
    Unknown,
}

impl EntryKind {
    fn byte(self) -> u8 {
        match self {
            EntryKind::Folder => b'd',
            EntryKind::File => b'f',
            EntryKind::Unknown => b'?',
        }
    }

    fn from_byte(byte: u8) -> EntryKind {
        match byte {
            b'd' => EntryKind::Folder,
            b'f' => EntryKind::File,
            _ => EntryKind::Unknown,
        }
    }
}

impl FolderListing {
    /// Lists the folder. `changed`: its last change, asked before.
    pub(super) fn read(open: OwnedFd, changed: i64) -> io::Result<FolderListing> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_recent = i128::from(changed) + RECENT.as_nanos().cast_signed() > now.as_nanos().cast_signed();
        let mut entries = Vec::new();
        for entry in Dir::from_fd(open)?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::Directory) => EntryKind::Folder,
                Some(Type::File) if may_be_session(Path::new(OsStr::from_bytes(name))) => EntryKind::File,
                Some(Type::Symlink) | None => EntryKind::Unknown,
                Some(_) => continue,
            };
            entries.push(kind.byte());
            entries.extend_from_slice(entry.file_name().to_bytes_with_nul());
        }
        Ok(FolderListing { changed: if is_recent { UNTRUSTED } else { changed }, entries })
    }
}

/// The entries of a listing.
pub(super) fn parse(entries: &[u8]) -> impl Iterator<Item = (EntryKind, &CStr)> {
    entries.split_inclusive(|byte| *byte == 0).filter_map(|entry| {
        let (kind, name) = entry.split_first()?;
        Some((EntryKind::from_byte(*kind), CStr::from_bytes_with_nul(name).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::fs;

    #[test]
    fn a_listing_has_folders_links_and_files_that_may_be_sessions() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("22")).unwrap();
        fs::write(folder.path().join("a.jsonl"), "").unwrap();
        fs::write(folder.path().join("a.txt"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        let open = open(folder.path(), OFlag::O_RDONLY, Mode::empty()).unwrap();
        let listing = FolderListing::read(open, 1).unwrap();
        let mut entries: Vec<_> =
            parse(&listing.entries).map(|(kind, name)| (name.to_str().unwrap().to_owned(), kind)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let expected =
            [("22", EntryKind::Folder), ("a.jsonl", EntryKind::File), ("link", EntryKind::Unknown)];
        assert_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(listing.changed, 1);
    }

    #[test]
    fn a_folder_that_has_just_changed_is_listed_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = open(folder.path(), OFlag::O_RDONLY, Mode::empty()).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let before = |seconds| (now - Duration::from_secs(seconds)).as_nanos() as i64;
        for (seconds, expected) in [(0, UNTRUSTED), (1, UNTRUSTED), (3, before(3)), (1_000, before(1_000))] {
            assert_eq!(
                FolderListing::read(open.try_clone().unwrap(), before(seconds)).unwrap().changed,
                expected,
                "{seconds}"
            );
        }
        let ahead = before(0) + 60_000_000_000;
        assert_eq!(FolderListing::read(open.try_clone().unwrap(), ahead).unwrap().changed, UNTRUSTED);
    }
}
