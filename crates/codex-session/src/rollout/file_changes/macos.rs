//! kqueue on the files that Codex wrote to lately, and on their folders; polling finds writes to all others. Never run on
//! macOS: the project has no such machine.

use super::{Scan, is_live};
use common::disk::vnode_alarm::VnodeAlarm;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are watched: each takes a descriptor.
const MOST_FILES: usize = 32;

/// Folders that are watched: those of the last days, by their names.
const MOST_FOLDERS: usize = 40;

pub struct KernelWatch {
    alarm: VnodeAlarm,
    scan: Scan,
    folders: BTreeSet<PathBuf>,
}

impl KernelWatch {
    pub(super) fn begin(home: &Path) -> io::Result<KernelWatch> {
        let alarm = VnodeAlarm::new()?;
        let mut watch = KernelWatch { alarm, scan: Scan::new(home), folders: BTreeSet::new() };
        watch.watch();
        Ok(watch)
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.alarm.wakes()
    }

    /// Codex may resume a session whose file is not watched.
    pub(super) fn pace(&self) -> Option<Duration> {
        Some(self.scan.is_due_in())
    }

    fn watch(&mut self) {
        let files: Vec<PathBuf> = self.scan.newest().take(MOST_FILES).map(Path::to_path_buf).collect();
        let sessions = self.scan.folder.clone();
        // Up to `sessions`: the folder of a month shows the folder of a new day.
        let folders = |file: &PathBuf| -> Vec<PathBuf> {
            let above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(&sessions));
            above.map(Path::to_path_buf).collect()
        };
        // An archived session may come back to a folder that has no other.
        self.folders.extend(files.iter().flat_map(folders));
        self.folders.retain(|folder| folder.is_dir());
        let lately = self.folders.iter().rev().take(MOST_FOLDERS).cloned().chain([sessions]);
        self.alarm.set(files.into_iter().chain(lately));
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        let (files, folders): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
            self.alarm.take().into_iter().partition(|path| is_live(path));
        let looks = !folders.is_empty() || self.scan.is_due_in().is_zero();
        let changed = self.scan.complete(files, looks);
        if looks {
            self.watch();
        }
        changed
    }
}
