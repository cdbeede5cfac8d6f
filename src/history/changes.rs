//! Which threads have files that are new, changed or gone, by the folders' digests and the files' states.

use super::folder_listing::FolderListing;
use super::folder_scan::{Scan, ScannedFile, ScannedFolder, bytes_of, files_in, scan};
use super::index::IndexError;
use codex_session::rollout::files::SessionFiles;
use codex_session::thread::ThreadId;
use common::disk;
use common::disk::file_state::FileState;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file of a thread that is to be read, and its state before that.
pub(super) struct ChangedFile {
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) state: FileState,
    pub(super) problem: Option<String>,
}

/// What to do, by thread. The name None: files that are no session's.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) threads: BTreeMap<Option<ThreadId>, Vec<ChangedFile>>,
    /// Files that are gone.
    pub(super) gone: Vec<Vec<u8>>,
    /// Folders that cannot be read, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    pub(super) folders: Vec<FolderChange>,
}

/// What the index is to keep of a folder.
pub(super) enum FolderChange {
    /// Without a listing where that is unchanged.
    Seen {
        path: PathBuf,
        listing: Option<FolderListing>,
        digest: i64,
    },
    Gone(PathBuf),
}

impl FolderChange {
    pub(super) fn write(&self, to: &Transaction) -> Result<(), IndexError> {
        match self {
            FolderChange::Seen { path, listing: Some(FolderListing { changed, entries }), digest } => {
                let row = params![bytes_of(path), digest, changed, entries];
                to.execute("INSERT OR REPLACE INTO folder VALUES (?1, ?2, ?3, ?4)", row)?
            }
            FolderChange::Seen { path, listing: None, digest } => {
                to.execute("UPDATE folder SET digest = ?2 WHERE path = ?1", params![bytes_of(path), digest])?
            }
            FolderChange::Gone(path) => to.execute("DELETE FROM folder WHERE path = ?1", [bytes_of(path)])?,
        };
        Ok(())
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.gone.is_empty() && self.folders.is_empty()
    }

    /// Looks at the folders of sessions.
    pub(super) fn find(connection: &mut Connection, roots: &[PathBuf]) -> Result<Changes, IndexError> {
        let mut known: HashMap<Vec<u8>, i64> = connection
            .prepare("SELECT path, digest FROM folder")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let scan = scan_with_listings_of(connection, roots);
        let unreadable = scan.unreadable.into_iter().map(|(path, why)| (path, disk::reason(&why))).collect();
        let mut changes = Changes { unreadable, ..Changes::default() };
        for ScannedFolder { path, listing, digest } in scan.folders {
            let before = known.remove(bytes_of(&path));
            let listing = match listing {
                Some(listing) if is_kept(connection, &path, &listing)? => None,
                listing => listing,
            };
            if before == Some(digest) && listing.is_none() {
                continue;
            }
            if before != Some(digest) {
                match files_in(&path) {
                    Ok(files) => changes.compare(&path, &files, connection)?,
                    Err(why) => {
                        changes.unreadable.push((path, disk::reason(&why)));
                        continue;
                    }
                }
            }
            changes.folders.push(FolderChange::Seen { path, listing, digest });
        }
        for folder in known.into_keys() {
            let path = PathBuf::from(OsStr::from_bytes(&folder));
            // What cannot be looked at now was there before.
            if changes.unreadable.iter().any(|(unreadable, _)| path.starts_with(unreadable)) {
                continue;
            }
            changes.compare(&path, &[], connection)?;
            changes.folders.push(FolderChange::Gone(path));
        }
        // A thread that ran when it was read may have lost its writer since, and what could not be read may be readable now.
        let again: Vec<Option<String>> = connection
            .prepare(
                "SELECT thread FROM thread WHERE status = 'running' \
                 UNION ALL SELECT thread FROM file WHERE problem IS NOT NULL",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for thread in again.into_iter().flatten().filter_map(|thread| ThreadId::from_meta(&thread)) {
            changes.threads.entry(Some(thread)).or_default();
        }
        Ok(changes)
    }

    /// A file that is written between the folder's digest and this look differs from the digest, so it is read again.
    fn compare(
        &mut self,
        folder: &Path,
        files: &[ScannedFile],
        connection: &Connection,
    ) -> Result<(), IndexError> {
        let mut before: HashMap<Vec<u8>, (FileState, Option<String>)> = connection
            .prepare_cached("SELECT path, bytes, changed, inode, thread FROM file WHERE folder = ?1")?
            .query_map([bytes_of(folder)], |row| {
                let state = FileState {
                    bytes: row.get(1)?,
                    changed: row.get(2)?,
                    inode: row.get::<_, i64>(3)?.cast_unsigned(),
                };
                Ok((row.get(0)?, (state, row.get(4)?)))
            })?
            .collect::<Result<_, _>>()?;
        for file in files {
            let path = folder.join(&file.name);
            let earlier = before.remove(bytes_of(&path));
            if earlier.as_ref().is_some_and(|(state, _)| *state == file.state) {
                continue;
            }
            let (thread, problem) = thread_of(&path);
            let was = earlier.and_then(|(_, thread)| ThreadId::from_meta(&thread?));
            if was.is_some() && was != thread {
                self.threads.entry(was).or_default();
            }
            let changed = ChangedFile { path, folder: folder.to_path_buf(), state: file.state, problem };
            self.threads.entry(thread).or_default().push(changed);
        }
        for (path, (_, thread)) in before {
            self.gone.push(path);
            if let Some(thread) = thread.and_then(|thread| ThreadId::from_meta(&thread)) {
                self.threads.entry(Some(thread)).or_default();
            }
        }
        Ok(())
    }
}

/// The threads of the scan read the index in turn: each needs one folder's listing at a time.
fn scan_with_listings_of(connection: &mut Connection, roots: &[PathBuf]) -> Scan {
    let connection = Mutex::new(connection);
    let known = |folder: &Path, changed: i64, entries: &mut Vec<u8>| {
        let connection = connection.lock().expect("no panic");
        let found = connection
            .prepare_cached("SELECT entries FROM folder WHERE path = ?1 AND changed = ?2")
            .and_then(|mut query| {
                let read = |row: &Row| {
                    row.get_ref(0)?.as_blob()?.clone_into(entries);
                    Ok(())
                };
                query.query_row(params![bytes_of(folder), changed], read).optional()
            });
        // What cannot be read here is listed; the next statement has the error again.
        matches!(found, Ok(Some(())))
    };
    scan(roots, &known)
}

/// Whether the index has this listing of the folder.
fn is_kept(connection: &Connection, folder: &Path, listing: &FolderListing) -> Result<bool, IndexError> {
    let FolderListing { changed, entries } = listing;
    let query = "SELECT EXISTS (SELECT 1 FROM folder WHERE path = ?1 AND changed = ?2 AND entries = ?3)";
    let kept = connection
        .prepare_cached(query)?
        .query_row(params![bytes_of(folder), changed, entries], |row| row.get(0))?;
    Ok(kept)
}

/// By the file's name, else by its first line; and why neither can be read.
fn thread_of(path: &Path) -> (Option<ThreadId>, Option<String>) {
    if let Some(thread) = ThreadId::from_rollout_name(path) {
        return (Some(thread), None);
    }
    let mut walk = SessionFiles::default();
    // A file of another name counts as a session's only by its first line.
    let _ = walk.add_file(path);
    let problem = walk.unreadable.pop().map(|(_, error)| error.to_string());
    (walk.files.pop().map(|file| file.thread), problem)
}

pub(super) fn files_of(
    connection: &Connection,
    thread: Option<&ThreadId>,
) -> Result<Vec<PathBuf>, IndexError> {
    let Some(thread) = thread else { return Ok(Vec::new()) };
    let mut query = connection.prepare_cached("SELECT path FROM file WHERE thread = ?1")?;
    let paths = query.query_map([thread.as_str()], |row| row.get::<_, Vec<u8>>(0))?;
    Ok(paths
        .map(|path| path.map(|path| PathBuf::from(OsStr::from_bytes(&path))))
        .collect::<Result<_, _>>()?)
}
