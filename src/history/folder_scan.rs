//! Looks at all session files by their sizes and times alone: a hundred thousand of them for each `list`.

use codex_session::rollout::files::may_be_session;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A folder, and the files in it that may be of sessions.
#[derive(Debug)]
pub(super) struct FolderScan {
    pub(super) path: PathBuf,
    pub(super) files: Vec<ScannedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScannedFile {
    pub(super) name: OsString,
    pub(super) state: FileState,
}

/// Differs after each write of Codex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileState {
    pub(super) bytes: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
    pub(super) inode: u64,
}

impl FileState {
    fn from_metadata(found: &Metadata) -> FileState {
        let modified = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
        FileState { bytes: found.len(), modified, inode: found.ino() }
    }
}

impl FolderScan {
    /// The same for the same files in any order. Another version of Rust may compute another one: then the folder's
    /// files are compared one by one.
    pub(super) fn digest(&self) -> i64 {
        let of = |file: &ScannedFile| {
            let mut hasher = DefaultHasher::new();
            file.hash(&mut hasher);
            hasher.finish()
        };
        self.files.iter().map(of).fold(self.files.len() as u64, u64::wrapping_add).cast_signed()
    }
}

/// All folders at or below these that hold files. Links are followed; each folder is looked at once.
pub(super) fn scan(roots: &[PathBuf]) -> Vec<FolderScan> {
    let (scans, seen) = (Mutex::new(Vec::new()), Mutex::new(HashSet::new()));
    let mut level = roots.to_vec();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    while !level.is_empty() {
        let (next, below) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..workers.min(level.len()) {
                scope.spawn(|| {
                    while let Some(folder) = level.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if !is_new(folder, &seen) {
                            continue;
                        }
                        let (scan, folders) = look(folder);
                        below.lock().expect("no panic").extend(folders);
                        if !scan.files.is_empty() {
                            scans.lock().expect("no panic").push(scan);
                        }
                    }
                });
            }
        });
        level = below.into_inner().expect("no panic");
    }
    scans.into_inner().expect("no panic")
}

fn is_new(folder: &Path, seen: &Mutex<HashSet<(u64, u64)>>) -> bool {
    let Ok(found) = fs::metadata(folder) else { return false };
    seen.lock().expect("no panic").insert((found.dev(), found.ino()))
}

fn look(folder: &Path) -> (FolderScan, Vec<PathBuf>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match kind_of(&entry) {
            Kind::Folder => folders.push(entry.path()),
            Kind::Session(state) => files.push(ScannedFile { name: entry.file_name(), state }),
            Kind::Other => {}
        }
    }
    (FolderScan { path: folder.to_path_buf(), files }, folders)
}

enum Kind {
    Folder,
    Session(FileState),
    Other,
}

fn kind_of(entry: &DirEntry) -> Kind {
    let Ok(kind) = entry.file_type() else { return Kind::Other };
    if kind.is_dir() {
        return Kind::Folder;
    }
    let may_be = may_be_session(Path::new(&entry.file_name()));
    // The entry's own metadata are read by its name in the open folder, which is faster than by its path.
    let found = match () {
        () if kind.is_symlink() => fs::metadata(entry.path()),
        () if kind.is_file() && may_be => entry.metadata(),
        () => return Kind::Other,
    };
    match found {
        Ok(found) if found.is_dir() => Kind::Folder,
        Ok(found) if found.is_file() && may_be => Kind::Session(FileState::from_metadata(&found)),
        _ => Kind::Other,
    }
}

/// A path as bytes, as SQLite keeps it.
pub(super) fn bytes_of(path: &(impl AsRef<OsStr> + ?Sized)) -> &[u8] {
    path.as_ref().as_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const NAME: &str = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";

    #[test]
    fn a_digest_changes_with_each_write_and_not_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let day = root.path().join("2026/11/22");
        fs::create_dir_all(&day).unwrap();
        fs::write(day.join("notes.txt"), "").unwrap();
        symlink(root.path(), day.join("circle")).unwrap();
        assert!(scan(&[root.path().to_path_buf()]).is_empty(), "no session file");
        let digest = || {
            let scans = scan(&[root.path().to_path_buf(), day.clone(), root.path().join("missing")]);
            assert_eq!((scans.len(), &*scans[0].path), (1, &*day));
            scans[0].digest()
        };
        fs::write(day.join(NAME), "a").unwrap();
        let first = digest();
        assert_eq!(digest(), first);
        fs::write(day.join(NAME), "ab").unwrap();
        let second = digest();
        fs::write(day.join("other.jsonl"), "").unwrap();
        let third = digest();
        assert_eq!(HashSet::from([first, second, third]).len(), 3);
        fs::remove_file(day.join("other.jsonl")).unwrap();
        assert_eq!(digest(), second);
    }
}
