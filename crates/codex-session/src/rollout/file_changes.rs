//! Reports session files that were written to: from the kernel, or by polling where it cannot.

#[cfg_attr(target_os = "linux", path = "file_changes/linux.rs")]
#[cfg_attr(target_os = "macos", path = "file_changes/macos.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos")), path = "file_changes/unsupported.rs")]
mod kernel;

/// Tests run macOS's code on Linux too.
#[cfg(all(test, target_os = "linux"))]
#[path = "file_changes/macos.rs"]
#[expect(unreachable_pub, reason = "on macOS it is public")]
mod of_macos;

use super::path::{files_below, is_compressed, is_rollout, non_uuid_id};
use common::disk::file_system::FileSystem;
use kernel::KernelWatch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Time between two polls.
const PACE: Duration = Duration::from_secs(2);

/// How often all files are looked at where the kernel reports most changes.
const SELDOM: Duration = Duration::from_secs(10);

pub enum Changes {
    Kernel(KernelWatch),
    /// On a network's file system the kernel reports what this machine writes, and a scan finds the rest.
    Both(KernelWatch, Scan),
    Polled(Scan),
}

impl Changes {
    /// Observes all session files below `sessions` in `home`, from now on. The folder need not exist yet.
    pub fn begin(home: &Path) -> Changes {
        match KernelWatch::begin(home) {
            // The folder of sessions may be a link to another file system.
            Ok(watch)
                if [home, &home.join("sessions")]
                    .map(FileSystem::from_path)
                    .contains(&FileSystem::Network) =>
            {
                Changes::Both(watch, Scan::new(home))
            }
            Ok(watch) => Changes::Kernel(watch),
            Err(error) => {
                tracing::info!("the kernel reports no changes ({error}): polling session files instead");
                Changes::polled(home)
            }
        }
    }

    pub fn polled(home: &Path) -> Changes {
        Changes::Polled(Scan::new(home))
    }

    /// Waits for a change, for one of the other descriptors, or for the end of the patience. Where only polling works,
    /// it returns when the next poll is due.
    pub fn wait<'a>(&'a self, others: impl IntoIterator<Item = BorrowedFd<'a>>, patience: Duration) {
        let (wakes, patience) = match self {
            Changes::Kernel(watch) => {
                (Some(watch.wakes()), watch.pace().map_or(patience, |pace| patience.min(pace)))
            }
            Changes::Both(watch, scan) => (Some(watch.wakes()), patience.min(scan.is_due_in())),
            Changes::Polled(_) => (None, patience.min(PACE)),
        };
        let wakes = others.into_iter().chain(wakes);
        let mut wakes: Vec<PollFd> = wakes.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Rounded up: a poll that returns early repeats until the time is over.
        let patience = PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut wakes, patience);
    }

    /// The files that were written to since the last call. May include others: of a new folder, all files.
    pub fn take(&mut self) -> BTreeSet<PathBuf> {
        match self {
            Changes::Kernel(watch) => watch.take(),
            Changes::Both(watch, scan) => {
                let is_due = scan.is_due_in().is_zero();
                scan.complete(watch.take(), is_due)
            }
            Changes::Polled(scan) => scan.take(),
        }
    }
}

/// Polling: compares the length and time of all session files.
pub struct Scan {
    folder: PathBuf,
    done_at: Instant,
    known: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl Scan {
    fn new(home: &Path) -> Scan {
        let folder = home.join("sessions");
        Scan { known: look(&folder), folder, done_at: Instant::now() }
    }

    /// Beside the kernel's reports: a scan reads the state of every file.
    fn is_due_in(&self) -> Duration {
        SELDOM.saturating_sub(self.done_at.elapsed())
    }

    /// The files by the time of their last change, the last first.
    #[cfg(any(target_os = "macos", test))]
    fn newest(&self) -> impl Iterator<Item = &Path> {
        let mut files: Vec<_> = self.known.iter().map(|(path, (_, at))| (at, path)).collect();
        files.sort_unstable();
        files.into_iter().rev().map(|(_, path)| &**path)
    }

    /// The changes that the kernel reported, and those that it did not if the scan looks now. The scan reports none of them
    /// again.
    fn complete(&mut self, mut changed: BTreeSet<PathBuf>, looks: bool) -> BTreeSet<PathBuf> {
        for file in &changed {
            match file.metadata() {
                Ok(metadata) => self.known.insert(file.clone(), state(&metadata)),
                Err(_) => self.known.remove(file),
            };
        }
        if looks {
            changed.extend(self.take());
        }
        changed
    }

    fn take(&mut self) -> BTreeSet<PathBuf> {
        self.done_at = Instant::now();
        let before = std::mem::replace(&mut self.known, look(&self.folder));
        let changed = self.known.iter().filter(|(path, now)| before.get(*path) != Some(now));
        changed.map(|(path, _)| path.clone()).collect()
    }
}

/// All session files below the folder that Codex may write to, with their length and time.
fn look(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let live = files_below([folder.to_path_buf()]).filter(|entry| is_live(&entry.path()));
    live.filter_map(|entry| Some((entry.path(), state(&entry.metadata().ok()?)))).collect()
}

/// Length and time of the last change.
fn state(metadata: &Metadata) -> (u64, SystemTime) {
    (metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Whether Codex may write to the file.
fn is_live(path: &Path) -> bool {
    (is_rollout(path) || non_uuid_id(path).is_some()) && !is_compressed(path)
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

    /// What was written to since the last call.
    type Take = Box<dyn FnMut() -> BTreeSet<PathBuf>>;

    fn check_that_all_changes_are_reported(begin: impl Fn(&Path) -> Take) {
        let home = tempfile::tempdir().unwrap();
        let sessions = home.path().join("sessions");
        let in_day = |day: &str| sessions.join(day).join(NAME);
        for is_there in [false, true] {
            if is_there {
                append(&in_day("2026/11/22"));
            }
            let mut take = begin(home.path());
            assert_eq!(take(), BTreeSet::new(), "before anything was written");
            for day in ["2026/11/22", "2026/11/23", "2027/01/01"] {
                append(&in_day(day));
                assert_eq!(take(), BTreeSet::from([in_day(day)]), "{day}");
                append(&in_day(day));
                assert_eq!(take(), BTreeSet::from([in_day(day)]), "{day}, again");
            }
            append(&sessions.join("2026/11/22/notes.jsonl"));
            assert_eq!(take(), BTreeSet::new());
            // An archived session that comes back.
            let away = home.path().join(NAME);
            fs::rename(in_day("2027/01/01"), &away).unwrap();
            take();
            fs::rename(&away, in_day("2027/01/01")).unwrap();
            assert_eq!(take(), BTreeSet::from([in_day("2027/01/01")]));
            fs::remove_dir_all(&sessions).unwrap();
        }
    }

    #[test]
    fn the_kernel_reports_every_change_also_in_folders_that_are_made_later() {
        if cfg!(target_os = "linux") && !common::portable::is_wanted() {
            check_that_all_changes_are_reported(|home| {
                let mut changes = Changes::begin(home);
                assert!(matches!(changes, Changes::Kernel(_)));
                Box::new(move || changes.take())
            });
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn as_on_macos_every_change_is_reported() {
        check_that_all_changes_are_reported(|home| {
            let mut watch = of_macos::KernelWatch::begin(home).unwrap();
            Box::new(move || watch.take())
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn as_on_macos_a_write_wakes_a_reader() {
        let home = tempfile::tempdir().unwrap();
        let day = |day: &str| home.path().join("sessions/2026/11").join(day).join(NAME);
        append(&day("22"));
        let mut watch = of_macos::KernelWatch::begin(home.path()).unwrap();
        // To a file that is watched; the first of a new day, by its folder; and to that.
        for written in [day("22"), day("23"), day("23")] {
            append(&written);
            assert_eq!(
                poll(&mut [PollFd::new(watch.wakes(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16)),
                Ok(1)
            );
            assert_eq!(watch.take(), BTreeSet::from([written]));
        }
        assert!(watch.pace().is_some(), "writes to files that are not watched are found later");
    }

    #[test]
    fn the_files_that_were_written_last_come_first() {
        let home = tempfile::tempdir().unwrap();
        let file = |day: &str| home.path().join("sessions/2026/11").join(day).join(NAME);
        for (day, age) in [("20", 30), ("21", 10), ("22", 20)] {
            append(&file(day));
            let at = SystemTime::now() - Duration::from_secs(age);
            File::options().append(true).open(file(day)).unwrap().set_modified(at).unwrap();
        }
        let scan = Scan::new(home.path());
        assert_eq!(scan.newest().collect::<Vec<_>>(), ["21", "22", "20"].map(file));
    }

    #[test]
    fn on_a_networks_file_system_a_scan_finds_what_the_kernel_does_not_report() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("sessions/2026/11/22").join(NAME);
        append(&file);
        if common::portable::is_wanted() {
            return;
        }
        let deaf = KernelWatch::begin(tempfile::tempdir().unwrap().path()).unwrap();
        let mut changes = Changes::Both(deaf, Scan::new(home.path()));
        append(&file);
        assert_eq!(changes.take(), BTreeSet::new(), "the scan is not due");
        if let Changes::Both(_, scan) = &mut changes {
            scan.done_at -= SELDOM;
        }
        assert_eq!(changes.take(), BTreeSet::from([file]));
        assert_eq!(changes.take(), BTreeSet::new());
    }

    #[test]
    fn polling_finds_every_change() {
        check_that_all_changes_are_reported(|home| {
            let mut changes = Changes::polled(home);
            Box::new(move || changes.take())
        });
    }
}
