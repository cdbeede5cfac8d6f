//! Codex's own index of its threads, `state_<N>.sqlite` (0.115 and later): the absolute path of each rollout.
//!
//! Codex follows these paths even out of its home: in a copied home, it continues the sessions of the original one.
//! This module only reads the index, and leaves no file behind.

use crate::thread::ThreadId;
use common::disk::entries;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for Codex's writes, which take microseconds.
const BUSY: Duration = Duration::from_secs(1);

/// Bytes of a path that a SQLite URI would read as something else.
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// The path of the thread's rollout, from the index in this folder. None without an index, and where no file has
/// that path.
pub fn rollout_of(folder: &Path, thread: &ThreadId) -> Option<PathBuf> {
    let file = newest(folder)?;
    let path = look_up(&file, thread).inspect_err(|error| {
        tracing::info!("cannot read codex's index {}: {error}", file.display());
    });
    path.ok().flatten().map(PathBuf::from).filter(|path| path.is_file())
}

/// Later versions of Codex begin a file of a higher number.
fn newest(folder: &Path) -> Option<PathBuf> {
    let numbered = entries(folder).filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix("state_")?.strip_suffix(".sqlite")?;
        Some((number.parse::<u32>().ok()?, entry.path()))
    });
    numbered.max().map(|(_, path)| path)
}

fn look_up(file: &Path, thread: &ThreadId) -> rusqlite::Result<Option<String>> {
    // Codex's last writes are in the write-ahead log, which exists while a process has the index open. Without a
    // log no process has, and `immutable` keeps SQLite from creating one.
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let has_log = fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if has_log {
        Connection::open_with_flags(file, flags)?
    } else {
        flags |= OpenFlags::SQLITE_OPEN_URI;
        let path = percent_encode(file.as_os_str().as_encoded_bytes(), IN_URI);
        Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?
    };
    connection.busy_timeout(BUSY)?;
    let query = "SELECT rollout_path FROM threads WHERE id = ?1";
    connection.query_row(query, [thread.as_str()], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_index_leads_to_a_rollout_in_any_folder() {
        let root = tempfile::tempdir().unwrap();
        let (folder, rollout) = (root.path().join("odd % home?"), root.path().join("old.jsonl"));
        fs::create_dir(&folder).unwrap();
        fs::write(&rollout, "").unwrap();
        let thread = ThreadId::parse(THREAD).unwrap();
        assert_eq!(rollout_of(&folder, &thread), None);
        let write = |number: u32, path: &Path| {
            let connection = Connection::open(folder.join(format!("state_{number}.sqlite"))).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection
                .execute_batch("CREATE TABLE threads (id TEXT PRIMARY KEY, rollout_path TEXT)")
                .unwrap();
            let row = [THREAD, path.to_str().unwrap()];
            connection.execute("INSERT INTO threads VALUES (?1, ?2)", row).unwrap();
            connection
        };
        write(9, Path::new("/gone.jsonl")).close().unwrap();
        assert_eq!(rollout_of(&folder, &thread), None, "no file there");
        // Codex has it open: the row is in the log only.
        let open = write(10, &rollout);
        let before = names(&folder);
        assert_eq!(rollout_of(&folder, &thread), Some(rollout.clone()));
        open.close().unwrap();
        assert_eq!(rollout_of(&folder, &thread), Some(rollout));
        assert_eq!(names(&folder), ["state_10.sqlite", "state_9.sqlite"], "no file was added: {before:?}");
        let other = ThreadId::parse(&THREAD.replace('a', "b")).unwrap();
        assert_eq!(rollout_of(&folder, &other), None);
    }
}
