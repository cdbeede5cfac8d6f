//! Which session files were written to? The kernel tells; where it cannot, the files are looked at.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod kernel;
mod scan;

use kernel::Told;
use scan::Scan;
use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at where nobody tells of changes.
const PACE: Duration = Duration::from_secs(2);

pub enum Changes {
    Told(Told),
    Looked(Scan),
}

impl Changes {
    /// Of all session files below `sessions` in `home`, from now on. The folder may have yet to be made.
    pub fn begin(home: &Path) -> Changes {
        match Told::begin(home) {
            Ok(told) => Changes::Told(told),
            Err(error) => {
                tracing::info!("no inotify ({error}): session files are looked at instead");
                Changes::looked_at(home)
            }
        }
    }

    /// Without the kernel's help.
    pub fn looked_at(home: &Path) -> Changes {
        Changes::Looked(Scan::begin(&home.join("sessions")))
    }

    /// Readable when there is something to take.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Changes::Told(told) => Some(told.wakes()),
            Changes::Looked(_) => None,
        }
    }

    /// How long to wait before looking again; None where something wakes us.
    pub fn pace(&self) -> Option<Duration> {
        match self {
            Changes::Told(_) => None,
            Changes::Looked(_) => Some(PACE),
        }
    }

    /// Those that were written to since the last call. Some may not have been: new folders are read whole.
    pub fn take(&mut self) -> BTreeSet<PathBuf> {
        match self {
            Changes::Told(told) => told.take(),
            Changes::Looked(scan) => scan.take(),
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

    fn all_changes_are_told(begin: impl Fn(&Path) -> Changes) {
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
            // As an archived session comes back.
            let away = home.path().join(NAME);
            fs::rename(in_day("2027/01/01"), &away).unwrap();
            changes.take();
            fs::rename(&away, in_day("2027/01/01")).unwrap();
            assert_eq!(changes.take(), BTreeSet::from([in_day("2027/01/01")]));
            fs::remove_dir_all(&sessions).unwrap();
        }
    }

    #[test]
    fn the_kernel_tells_of_every_change_also_in_folders_that_are_made_later() {
        if cfg!(target_os = "linux") {
            all_changes_are_told(|home| {
                let changes = Changes::begin(home);
                assert!(matches!(changes, Changes::Told(_)));
                changes
            });
        }
    }

    #[test]
    fn whoever_looks_sees_every_change() {
        all_changes_are_told(Changes::looked_at);
    }
}
