//! Files of this program: only their owner may read them, and a crash leaves the old or the new content.

pub mod file_state;
pub mod file_system;
pub mod kernel_list;
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub mod vnode_alarm;

use nix::unistd::{AccessFlags, access};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::{Builder, NamedTempFile};

/// Prefix of a file that is being written.
const ASIDE: &str = ".tmp-";

/// Writing one file takes less time than this.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// How soon to try a lock again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Makes the folder and its missing parents, for the owner only.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Options for a file that only its owner may read, with any umask. They follow no link in its place.
pub fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    options
}

/// Replaces the file durably: writes a temporary file (0600), syncs it, renames it, and syncs the folder.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// As `write_private`, without the sync of the folder, for callers that sync it after several files.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, sync)
}

/// As `write_whole`, without any sync: after a crash of the machine the file may be there, empty or missing.
pub fn write_soon(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |_| Ok(()))
}

fn replace(path: &Path, bytes: &[u8], sync: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    let mut aside = aside(path.parent().unwrap_or(Path::new(".")))?;
    aside.write_all(bytes)?;
    sync(aside.as_file())?;
    aside.persist(path)?;
    Ok(())
}

/// A file (0600) to rename when it is complete; otherwise it is removed when dropped.
pub fn aside(folder: &Path) -> io::Result<NamedTempFile> {
    make_private_folder(folder)?;
    Builder::new().prefix(ASIDE).tempfile_in(folder)
}

/// The first bytes of a file, which may have fewer.
pub fn read_head(path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(bytes);
    File::open(path)?.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The entries of a folder; none for one that cannot be read.
pub fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

/// Removes temporary files that a crash left.
pub fn sweep(folder: &Path) {
    for entry in entries(folder) {
        let is_aside = entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes());
        if is_aside && is_abandoned(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the process that began it must have ended.
pub fn is_abandoned(entry: &DirEntry) -> bool {
    let written = entry.metadata().and_then(|file| file.modified());
    written.is_ok_and(|at| at.elapsed().unwrap_or_default() > ABANDONED)
}

/// Held until it is dropped, or its process ends.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// None while another process holds it.
pub fn try_lock(path: &Path) -> io::Result<Option<FileLock>> {
    make_private_folder(path.parent().unwrap_or(Path::new(".")))?;
    let file = private_options().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(FileLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// As `try_lock`, but waits for up to `patience`.
pub fn lock_within(path: &Path, patience: Duration) -> io::Result<Option<FileLock>> {
    let begun = Instant::now();
    loop {
        let lock = try_lock(path)?;
        if lock.is_some() || begun.elapsed() >= patience {
            return Ok(lock);
        }
        std::thread::sleep(LOOK_AGAIN.min(patience));
    }
}

/// The error in words that help a user to remedy it.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::QuotaExceeded => "your quota of disk space is used up".into(),
        io::ErrorKind::FileTooLarge => "a file may not become so large (see `ulimit -f`)".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// Makes a rename or a removal in the folder survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    sync(&File::open(folder)?)
}

/// Makes what was written to the file survive a power cut. On macOS std asks for a full sync (`F_FULLFSYNC`), which network
/// file systems do not have: there it makes an ordinary sync.
pub fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if lacks_full_sync(&error) => Ok(nix::unistd::fsync(file)?),
        synced => synced,
    }
}

fn lacks_full_sync(error: &io::Error) -> bool {
    use nix::libc::{EINVAL, ENOTSUP, ENOTTY};
    matches!(error.raw_os_error(), Some(EINVAL | ENOTSUP | ENOTTY))
}

/// The end of a chain of links, also when nothing is there yet.
pub fn followed(path: &Path) -> PathBuf {
    /// The kernel's own limit.
    const MOST_LINKS: usize = 40;
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&at) else { break };
        at = at.parent().unwrap_or(Path::new("/")).join(next);
    }
    at
}

/// Whether files could be made in the folder, which may be missing itself. Makes nothing.
pub fn would_take_files(folder: &Path) -> io::Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(access(there, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// Removes a file durably; one that is gone already is removed.
pub fn remove(path: &Path) -> io::Result<()> {
    remove_all([path])
}

/// Removes files durably; their folders are synced once.
pub fn remove_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let path = path.as_ref();
        match fs::remove_file(path) {
            Ok(()) => _ = folders.insert(path.parent().unwrap_or(Path::new(".")).to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_system_without_a_full_sync_gets_an_ordinary_one() {
        use nix::libc::{EINVAL, EIO, ENOSPC, ENOTSUP, ENOTTY};
        let lacks = |error| lacks_full_sync(&io::Error::from_raw_os_error(error));
        assert_eq!([ENOTSUP, ENOTTY, EINVAL, EIO, ENOSPC].map(lacks), [true, true, true, false, false]);
    }

    #[test]
    fn a_private_file_is_its_owners_alone_and_no_other_file_remains() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/c.json");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = path.parent().unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path), mode(folder)), (b"two".to_vec(), 0o600, 0o700));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_a_private_file_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (link, end) = (home.path().join("link"), home.path().join("end"));
        fs::write(&end, "theirs").unwrap();
        std::os::unix::fs::symlink(&end, &link).unwrap();
        assert!(private_options().append(true).create(true).open(&link).is_err());
        assert!(try_lock(&link).is_err());
        write_private(&link, b"ours").unwrap();
        assert_eq!(
            (fs::read(&end).unwrap(), fs::read(&link).unwrap()),
            (b"theirs".to_vec(), b"ours".to_vec())
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn links_are_followed_to_where_nothing_is_yet() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::os::unix::fs::symlink("second", at("first")).unwrap();
        std::os::unix::fs::symlink(at("end"), at("second")).unwrap();
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        for (link, end) in [("first", "end"), ("end", "end"), ("round", "round")] {
            assert_eq!(followed(&at(link)), at(end), "{link}");
        }
    }
}
