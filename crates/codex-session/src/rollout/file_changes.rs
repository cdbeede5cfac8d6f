//! Reports session files that were written to: from the kernel, or by polling where it cannot.

use super::path::{files_below, is_compressed, is_rollout, non_uuid_id};
use kernel::KernelWatch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

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
        let folder = home.join("sessions");
        Changes::Polled(Scan { known: look(&folder), folder })
    }

    /// Waits for a change, for one of the other descriptors, or for the end of the patience. Where only polling works,
    /// it returns when the next poll is due.
    pub fn wait<'a>(&'a self, others: impl IntoIterator<Item = BorrowedFd<'a>>, patience: Duration) {
        let (wakes, patience) = match self {
            Changes::Kernel(watch) => (Some(watch.wakes()), patience),
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
            Changes::Polled(scan) => scan.take(),
        }
    }
}

/// Polling: compares the length and time of all session files.
pub struct Scan {
    folder: PathBuf,
    known: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl Scan {
    fn take(&mut self) -> BTreeSet<PathBuf> {
        let before = std::mem::replace(&mut self.known, look(&self.folder));
        let changed = self.known.iter().filter(|(path, now)| before.get(*path) != Some(now));
        changed.map(|(path, _)| path.clone()).collect()
    }
}

/// All session files below the folder that Codex may write to, with their length and time.
fn look(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let live = files_below([folder.to_path_buf()]).filter(|entry| is_live(&entry.path()));
    let states = live.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some((entry.path(), (metadata.len(), modified)))
    });
    states.collect()
}

/// Whether Codex may write to the file.
fn is_live(path: &Path) -> bool {
    (is_rollout(path) || non_uuid_id(path).is_some()) && !is_compressed(path)
}

/// inotify on every folder of sessions: Codex makes one per day, and writes to a resumed session in its old one.
#[cfg(target_os = "linux")]
mod kernel {
    use super::{is_live, look};
    use common::disk::entries;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
    use std::collections::{BTreeSet, HashMap};
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::path::{Path, PathBuf};

    pub struct KernelWatch {
        inotify: Inotify,
        home: PathBuf,
        folders: HashMap<WatchDescriptor, PathBuf>,
        /// A watch was refused, so that writes in its folder stay unseen.
        is_blind: bool,
    }

    impl KernelWatch {
        pub(super) fn begin(home: &Path) -> io::Result<KernelWatch> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            let mut kernel =
                KernelWatch { inotify, home: home.to_path_buf(), folders: HashMap::new(), is_blind: false };
            let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
            let watch = kernel.inotify.add_watch(home, made)?;
            kernel.folders.insert(watch, home.to_path_buf());
            kernel.watch(&home.join("sessions"));
            // A user may have fewer watches left than there are days.
            if kernel.is_blind { Err(io::Error::from(io::ErrorKind::QuotaExceeded)) } else { Ok(kernel) }
        }

        pub(super) fn wakes(&self) -> BorrowedFd<'_> {
            self.inotify.as_fd()
        }

        /// Watches the folder and all below it; ignores a missing folder.
        fn watch(&mut self, folder: &Path) {
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_ONLYDIR;
            match self.inotify.add_watch(folder, flags) {
                Ok(watch) => _ = self.folders.insert(watch, folder.to_path_buf()),
                Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return,
                Err(error) => {
                    tracing::warn!("cannot watch {}: {error}", folder.display());
                    self.is_blind = true;
                    return;
                }
            }
            // Listed after the watch was set: inotify reports folders that are made from now on.
            for entry in entries(folder) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.watch(&entry.path());
                }
            }
        }

        pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
            let mut changed = BTreeSet::new();
            // `EAGAIN` (no more events) is the ordinary end.
            while let Ok(events) = self.inotify.read_events() {
                events.into_iter().for_each(|event| self.handle(event, &mut changed));
            }
            changed
        }

        fn handle(&mut self, event: InotifyEvent, changed: &mut BTreeSet<PathBuf>) {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                // The queue overflowed: report all files. One without a change costs its reader one look.
                changed.extend(look(&self.home.join("sessions")).into_keys());
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.folders.remove(&event.wd);
            }
            let (Some(folder), Some(name)) = (self.folders.get(&event.wd), event.name) else { return };
            let path = folder.join(&name);
            if event.mask.contains(AddWatchFlags::IN_ISDIR) {
                if *folder != self.home || name == "sessions" {
                    self.watch(&path);
                    // Files may be older than the watch.
                    changed.extend(look(&path).into_keys());
                }
            } else if *folder != self.home && is_live(&path) {
                changed.insert(path);
            }
        }
    }
}

/// The kernel reports no changes.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::collections::BTreeSet;
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::path::{Path, PathBuf};

    /// Has no value.
    pub enum KernelWatch {}

    impl KernelWatch {
        pub(super) fn begin(_: &Path) -> io::Result<KernelWatch> {
            Err(io::Error::from(io::ErrorKind::Unsupported))
        }

        pub(super) fn wakes(&self) -> BorrowedFd<'_> {
            match *self {}
        }

        pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
            match *self {}
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
