//! Reports session files that were written to: from the kernel, or by polling where it cannot.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod kernel;
mod scan;

use kernel::KernelWatch;
use scan::Scan;
use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two polls.
const PACE: Duration = Duration::from_secs(2);

pub enum Changes {
    Kernel(KernelWatch),
    Polled(Scan),
}

impl Changes {
    /// Observes all session files below `sessions` in `home`, from now on. The folder need not exist yet.
    pub fn begin(home: &Path) -> Changes {
        match KernelWatch::begin(home) {
            Ok(watch) => Changes::Kernel(watch),
            Err(error) => {
                tracing::info!("no inotify ({error}): polling session files instead");
                Changes::polled(home)
            }
        }
    }

    pub fn polled(home: &Path) -> Changes {
        Changes::Polled(Scan::begin(&home.join("sessions")))
    }

    /// Readable when `take` has something to return; None where only polling works.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Changes::Kernel(watch) => Some(watch.wakes()),
            Changes::Polled(_) => None,
        }
    }

    /// Time to wait before the next `take`; None where `wakes` has a descriptor.
    pub fn pace(&self) -> Option<Duration> {
        match self {
            Changes::Kernel(_) => None,
            Changes::Polled(_) => Some(PACE),
        }
    }

    /// The files that were written to since the last call. May include others: of a new folder, all files.
    pub fn take(&mut self) -> BTreeSet<PathBuf> {
        match self {
            Changes::Kernel(watch) => watch.take(),
            Changes::Polled(scan) => scan.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;

    const NAME: &str = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";

    fn append(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::options().append(true).create(true).open(path).unwrap().write_all(b"x\n").unwrap();
    }

    fn check_that_all_changes_are_reported(begin: impl Fn(&Path) -> Changes) {
        let home = tempfile::tempdir().unwrap();
        let sessions = home.path().join("sessions");
        let in_day = |day: &str| sessions.join(day).join(NAME);
        for is_there in [false, true] {
            if is_there {
                append(&in_day("2026/11/22"));
            }
            let mut changes = begin(home.path());
            assert_eq!(changes.take(), BTreeSet::new(), "before anything was written");
            for day in ["2026/11/22", "2026/11/23", "2027/01/01"] {
                append(&in_day(day));
                assert_eq!(changes.take(), BTreeSet::from([in_day(day)]), "{day}");
                append(&in_day(day));
                assert_eq!(changes.take(), BTreeSet::from([in_day(day)]), "{day}, again");
            }
            append(&sessions.join("2026/11/22/notes.jsonl"));
            assert_eq!(changes.take(), BTreeSet::new());
            // An archived session that comes back.
            let away = home.path().join(NAME);
            fs::rename(in_day("2027/01/01"), &away).unwrap();
            changes.take();
            fs::rename(&away, in_day("2027/01/01")).unwrap();
            assert_eq!(changes.take(), BTreeSet::from([in_day("2027/01/01")]));
            fs::remove_dir_all(&sessions).unwrap();
        }
    }

    #[test]
    fn the_kernel_reports_every_change_also_in_folders_that_are_made_later() {
        if cfg!(target_os = "linux") {
            check_that_all_changes_are_reported(|home| {
                let changes = Changes::begin(home);
                assert!(matches!(changes, Changes::Kernel(_)));
                changes
            });
        }
    }

    #[test]
    fn polling_finds_every_change() {
        check_that_all_changes_are_reported(Changes::polled);
    }
}
