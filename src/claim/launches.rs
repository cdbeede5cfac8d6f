//! The launches that have a record (`launches/`), and the lock of each.

use super::launch_record::{Launch, VERSION, load};
use crate::base::later_version::{LaterVersion, VersionField};
use common::disk::{entries, is_abandoned, private_options};
use serde::Deserialize;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The launches that died before their end, with the file of each. Files that cannot be read are left out.
pub fn left_behind(folder: &Path) -> Vec<(PathBuf, Launch)> {
    let died = all(folder).into_iter().filter(|(_, _, is_over)| *is_over);
    died.map(|(path, launch, _)| (path, launch)).collect()
}

/// The launches that still run, or finish their work.
pub fn under_way(folder: &Path) -> Vec<Launch> {
    all(folder).into_iter().filter(|(_, _, is_over)| !is_over).map(|(_, launch, _)| launch).collect()
}

/// The other launches that run or have to be finished.
pub fn all_but(folder: &Path, launch: &str) -> Vec<Launch> {
    all(folder).into_iter().map(|(_, other, _)| other).filter(|other| other.id != launch).collect()
}

/// The records that a later codex-traced wrote and has to finish.
pub fn later_versions(folder: &Path) -> Vec<LaterVersion> {
    #[derive(Deserialize)]
    struct FirstLine {
        launch: VersionField,
    }
    let version_of = |notes: String| {
        let first = notes.lines().find_map(|line| serde_json::from_str::<FirstLine>(line).ok());
        first.map(|first| first.launch.version)
    };
    records_in(folder)
        .filter_map(|path| {
            let version = version_of(fs::read_to_string(&path).ok()?)?;
            LaterVersion::check(&path, version, VERSION)
        })
        .collect()
}

fn is_record(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl")
}

fn records_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    entries(folder).map(|entry| entry.path()).filter(|path| is_record(path))
}

fn all(folder: &Path) -> Vec<(PathBuf, Launch, bool)> {
    let mut launches: Vec<(PathBuf, Launch, bool)> = records_in(folder)
        .filter_map(|path| {
            let launch = load(&path)?;
            let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
            let is_over = launch.is_over(age);
            Some((path, launch, is_over))
        })
        .collect();
    launches.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    launches
}

/// Removes empty files, left by launches that died before their first note: there is nothing to finish.
pub fn sweep(folder: &Path) {
    for entry in entries(folder) {
        let path = entry.path();
        let is_empty = entry.metadata().is_ok_and(|file| file.len() == 0);
        // Not a recent one: its launch may be about to write.
        if is_empty && is_abandoned(&entry) && is_record(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The lock on a launch record: only its holder finishes the launch. The kernel releases it when its process ends.
///
/// Where locks do not work (some network file systems), two processes may put the same trace into the spool, which
/// leaves one trace.
#[derive(Debug)]
pub struct LaunchLock {
    _file: File,
}

impl LaunchLock {
    /// None when another process finishes the launch, or has finished it.
    pub fn take(notes: &Path) -> Option<LaunchLock> {
        let file = private_options().append(true).open(notes).ok()?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return None;
        }
        // The previous holder may have removed the file.
        notes.exists().then_some(LaunchLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_launch_has_one_to_finish_it_until_its_notes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("1-a.jsonl");
        assert!(LaunchLock::take(&notes).is_none());
        File::create(&notes).unwrap();
        let held = LaunchLock::take(&notes);
        assert!(held.is_some() && LaunchLock::take(&notes).is_none());
        drop(held);
        // What another test starts at this moment holds a copy of the lock until its exec.
        let until = Instant::now() + Duration::from_secs(60);
        while LaunchLock::take(&notes).is_none() {
            assert!(Instant::now() < until);
        }
    }
}
