//! kqueue on the files that Codex wrote to lately, and on their folders; polling finds writes to all others. Never run: the
//! project has no such machine.

use super::{PACE, Scan, is_live};
use common::disk::vnode_alarm::VnodeAlarm;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Files that are watched: each takes a descriptor.
const MOST_FILES: usize = 32;

pub struct KernelWatch {
    alarm: VnodeAlarm,
    scan: Scan,
    scanned_at: Instant,
}

impl KernelWatch {
    pub(super) fn begin(home: &Path) -> io::Result<KernelWatch> {
        let alarm = VnodeAlarm::new()?;
        let mut watch = KernelWatch { alarm, scan: Scan::new(home), scanned_at: Instant::now() };
        watch.watch();
        Ok(watch)
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.alarm.wakes()
    }

    /// Codex may resume a session whose file is not watched.
    pub(super) fn pace(&self) -> Option<Duration> {
        Some(PACE)
    }

    fn watch(&mut self) {
        let files: Vec<PathBuf> = self.scan.newest().take(MOST_FILES).map(Path::to_path_buf).collect();
        let folders: BTreeSet<PathBuf> =
            files.iter().filter_map(|file| file.parent()).map(Path::to_path_buf).collect();
        let sessions = self.scan.folder.clone();
        self.alarm.set(files.into_iter().chain(folders).chain([sessions]));
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        let (files, folders): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
            self.alarm.take().into_iter().partition(|path| is_live(path));
        let mut changed = files;
        if !folders.is_empty() || self.scanned_at.elapsed() >= PACE {
            self.scanned_at = Instant::now();
            changed.extend(self.scan.take());
            self.watch();
        }
        changed
    }
}
