//! Looks at all session files by their sizes and times alone: a hundred thousand of them for each `list`.

use super::folder_listing::{EntryKind, FolderListing, parse};
use codex_session::rollout::files::may_be_session;
use common::disk::file_state::FileState;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, stat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What there is below the folders of sessions.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) folders: Vec<ScannedFolder>,
    /// Folders that exist and cannot be read, and why.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// A folder with files that may be of sessions, or with folders.
#[derive(Debug)]
pub(super) struct ScannedFolder {
    pub(super) path: PathBuf,
    /// None where it is that of the index.
    pub(super) listing: Option<FolderListing>,
    /// The same for the same files in any order. Another version of Rust may compute another one: then the folder's files
    /// are compared one by one.
    pub(super) digest: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScannedFile {
    pub(super) name: OsString,
    pub(super) state: FileState,
}

/// The index's listing of a folder with this time of change: whether there is one, and its entries.
pub(super) type KnownListing<'k> = dyn Fn(&Path, i64, &mut Vec<u8>) -> bool + Sync + 'k;

/// All folders at or below these. Links are followed; each folder is looked at once.
pub(super) fn scan(roots: &[PathBuf], known: &KnownListing) -> Scan {
    let (scanned, seen) = (Mutex::new(Scan::default()), Mutex::new(HashSet::new()));
    let mut level = roots.to_vec();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    while !level.is_empty() {
        let (next, below) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..workers.min(level.len()) {
                scope.spawn(|| {
                    let mut entries = Vec::new();
                    while let Some(folder) = level.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if !is_new(folder, &seen) {
                            continue;
                        }
                        let (mut count, mut sum, mut folders) = (0_u64, 0_u64, Vec::new());
                        let looked = look(folder, known, &mut entries, |found| match found {
                            Found::Folder(name) => folders.push(folder.join(name)),
                            Found::Session(name, state) => {
                                let mut hasher = DefaultHasher::new();
                                (name.as_bytes(), state).hash(&mut hasher);
                                (count, sum) = (count + 1, sum.wrapping_add(hasher.finish()));
                            }
                        });
                        below.lock().expect("no panic").extend(folders);
                        let digest = sum.wrapping_add(count).cast_signed();
                        let (path, mut scanned) = (folder.clone(), scanned.lock().expect("no panic"));
                        match looked {
                            Err(error) => scanned.unreadable.push((path, error)),
                            Ok(Looked::Gone) => {}
                            Ok(Looked::AsKnown) => {
                                scanned.folders.push(ScannedFolder { path, listing: None, digest })
                            }
                            Ok(Looked::Listed(listing)) => {
                                scanned.folders.push(ScannedFolder { path, listing: Some(listing), digest })
                            }
                        }
                    }
                });
            }
        });
        level = below.into_inner().expect("no panic");
    }
    scanned.into_inner().expect("no panic")
}

/// The files of one folder that may be of sessions. Errors: the folder cannot be read.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<ScannedFile>> {
    let mut files = Vec::new();
    look(folder, &|_, _, _| false, &mut Vec::new(), |found| {
        if let Found::Session(name, state) = found {
            files.push(ScannedFile { name: name.to_owned(), state });
        }
    })?;
    Ok(files)
}

fn is_new(folder: &Path, seen: &Mutex<HashSet<(i128, u64)>>) -> bool {
    let Ok(found) = stat(folder) else { return false };
    // The number of a device has another type on each system.
    seen.lock().expect("no panic").insert((i128::from(found.st_dev), found.st_ino))
}

enum Found<'n> {
    Folder(&'n OsStr),
    Session(&'n OsStr, FileState),
}

/// How a folder was looked at.
enum Looked {
    Gone,
    /// With the listing of the index.
    AsKnown,
    Listed(FolderListing),
}

/// Names are looked up in the open folder, which is faster than by their paths. `entries`: room for those of the index.
fn look(
    folder: &Path,
    known: &KnownListing,
    entries: &mut Vec<u8>,
    mut found: impl FnMut(Found),
) -> io::Result<Looked> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let open = match open(folder, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(Looked::Gone),
        opened => opened?,
    };
    let changed = FileState::from_stat(&fstat(&open)?).changed;
    let looked = match known(folder, changed, entries) {
        true => Looked::AsKnown,
        false => Looked::Listed(FolderListing::read(open.try_clone()?, changed)?),
    };
    let entries = if let Looked::Listed(listing) = &looked { &listing.entries } else { &*entries };
    for (kind, name) in parse(entries) {
        let state = |flags| fstatat(&open, name, flags).ok();
        let text = OsStr::from_bytes(name.to_bytes());
        match kind {
            EntryKind::Folder => found(Found::Folder(text)),
            // The listing has only names that may be a session's.
            EntryKind::File => found_file(text, state(AtFlags::AT_SYMLINK_NOFOLLOW), |_| true, &mut found),
            EntryKind::Unknown => found_file(text, state(AtFlags::empty()), may_be_session, &mut found),
        }
    }
    Ok(looked)
}

fn found_file(
    name: &OsStr,
    state: Option<FileStat>,
    may_be: impl Fn(&Path) -> bool,
    found: &mut impl FnMut(Found),
) {
    let Some(state) = state else { return };
    let kind = SFlag::from_bits_truncate(state.st_mode & SFlag::S_IFMT.bits());
    if kind == SFlag::S_IFDIR {
        found(Found::Folder(name));
    } else if kind == SFlag::S_IFREG && may_be(Path::new(name)) {
        found(Found::Session(name, FileState::from_stat(&state)));
    }
}

/// A path as bytes, as SQLite keeps it.
pub(super) fn bytes_of(path: &(impl AsRef<OsStr> + ?Sized)) -> &[u8] {
    path.as_ref().as_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    const NAME: &str = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";

    #[test]
    fn a_digest_changes_with_each_write_and_not_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let day = root.path().join("2026/11/22");
        fs::create_dir_all(&day).unwrap();
        fs::write(day.join("notes.txt"), "").unwrap();
        symlink(root.path(), day.join("circle")).unwrap();
        let listings = Mutex::new(HashMap::new());
        let known = |folder: &Path, changed: i64, entries: &mut Vec<u8>| {
            let listings = listings.lock().unwrap();
            let Some(listing) = listings.get(folder) else { return false };
            let FolderListing { changed: before, entries: names } = listing;
            entries.clone_from(names);
            *before == changed
        };
        let digest = || {
            let roots = [root.path().to_path_buf(), day.clone(), root.path().join("missing")];
            let scanned = scan(&roots, &known).folders;
            assert_eq!(scanned.len(), 4, "{scanned:?}");
            let of_day = scanned.iter().find(|folder| folder.path == day).unwrap().digest;
            // A listing of the index is used while its folder does not change; here, the changes are seconds ago.
            for folder in scanned {
                if let Some(listing) = folder.listing {
                    let changed = FileState::from_stat(&stat(&folder.path).unwrap()).changed;
                    let listing = FolderListing { changed, ..listing };
                    listings.lock().unwrap().insert(folder.path, listing);
                }
            }
            of_day
        };
        let none = digest();
        fs::write(day.join(NAME), "a").unwrap();
        let first = digest();
        assert_eq!(digest(), first);
        fs::write(day.join(NAME), "ab").unwrap();
        let second = digest();
        fs::write(day.join("other.jsonl"), "").unwrap();
        let third = digest();
        assert_eq!(HashSet::from([none, first, second, third]).len(), 4);
        fs::remove_file(day.join("other.jsonl")).unwrap();
        assert_eq!(digest(), second);
        assert!(
            scan(std::slice::from_ref(&day), &known).folders[0].listing.is_none(),
            "nothing is listed again"
        );
    }
}
