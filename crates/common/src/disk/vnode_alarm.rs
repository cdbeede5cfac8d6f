//! Wakes when files or folders are written to, as macOS shows it: by one watch for each file. Never run on macOS: the
//! project has no such machine. On Linux tests use it, with inotify below.

#[cfg_attr(target_os = "macos", path = "vnode_alarm/kqueue.rs")]
#[cfg_attr(target_os = "linux", path = "vnode_alarm/inotify.rs")]
mod queue;

use queue::{Queue, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// For a folder it wakes when an entry comes or goes. A write to a file in it does not count.
#[derive(Debug)]
pub struct VnodeAlarm {
    queue: Queue,
    watched: BTreeMap<PathBuf, Watch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Written,
    /// It was removed, or has another name: the watch is of no more use.
    Gone,
}

impl VnodeAlarm {
    pub fn new() -> io::Result<VnodeAlarm> {
        Ok(VnodeAlarm { queue: Queue::new()?, watched: BTreeMap::new() })
    }

    /// Readable when there is something to take.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.queue.wakes()
    }

    /// Watches these, and no others. For a missing path it watches the nearest folder above, where the next part appears.
    pub fn set(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let nearest_now = || -> BTreeSet<PathBuf> { paths.iter().filter_map(|path| nearest(path)).collect() };
        let mut wanted = nearest_now();
        loop {
            let left = self.watched.extract_if(.., |path, _| !wanted.contains(path));
            left.for_each(|(_, watch)| self.queue.leave(watch));
            for path in &wanted {
                // One that cannot be watched is found by the next poll.
                if !self.watched.contains_key(path)
                    && let Ok(watch) = self.queue.watch(path)
                {
                    self.watched.insert(path.clone(), watch);
                }
            }
            // A folder may have been made before its parent was watched.
            let now = nearest_now();
            if now == wanted {
                return;
            }
            wanted = now;
        }
    }

    /// What was written to since the last call. A file that was removed or renamed is watched no more.
    pub fn take(&mut self) -> BTreeSet<PathBuf> {
        let mut changed = BTreeSet::new();
        for (id, change) in self.queue.take() {
            let Some(path) =
                self.watched.iter().find(|(_, watch)| watch.id() == id).map(|(path, _)| path.clone())
            else {
                continue;
            };
            if change == Change::Gone
                && let Some(watch) = self.watched.remove(&path)
            {
                self.queue.leave(watch);
            }
            changed.insert(path);
        }
        changed
    }
}

/// The path, or the nearest folder above it that exists.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|above| above.exists()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::fs::{self, File};
    use std::io::Write;

    /// Waits for an event, and takes it.
    fn taken(alarm: &mut VnodeAlarm) -> BTreeSet<PathBuf> {
        let mut watched = [PollFd::new(alarm.wakes(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut watched, PollTimeout::from(60_000_u16)), Ok(1));
        alarm.take()
    }

    fn is_quiet(alarm: &VnodeAlarm) -> bool {
        poll(&mut [PollFd::new(alarm.wakes(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
    }

    #[test]
    fn writes_to_files_and_entries_of_folders_wake_it_once() {
        let root = tempfile::tempdir().unwrap();
        let (folder, file) = (root.path().join("folder"), root.path().join("folder/file"));
        fs::create_dir(&folder).unwrap();
        let mut open = File::create(&file).unwrap();
        let mut alarm = VnodeAlarm::new().unwrap();
        alarm.set([folder.clone(), file.clone()]);
        assert!(is_quiet(&alarm));
        open.write_all(b"line").unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([file.clone()]));
        assert!(is_quiet(&alarm));
        File::create(folder.join("new")).unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([folder.clone()]));
        fs::remove_file(&file).unwrap();
        let mut gone = taken(&mut alarm);
        while !(gone.contains(&file) && gone.contains(&folder)) {
            gone.extend(taken(&mut alarm));
        }
        // A file of the same name is another file: it is watched when it is asked for again.
        alarm.set([folder.clone(), file.clone()]);
        fs::write(&file, "again").unwrap();
        alarm.set([folder, file.clone()]);
        File::options().append(true).open(&file).unwrap().write_all(b"line").unwrap();
        while !taken(&mut alarm).contains(&file) {}
    }

    #[test]
    fn a_missing_path_is_waited_for_part_by_part() {
        let root = tempfile::tempdir().unwrap();
        let wanted = root.path().join("year/month");
        let mut alarm = VnodeAlarm::new().unwrap();
        alarm.set([wanted.clone()]);
        fs::create_dir(root.path().join("year")).unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([root.path().to_path_buf()]));
        alarm.set([wanted.clone()]);
        fs::create_dir(&wanted).unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([root.path().join("year")]));
        alarm.set([wanted.clone()]);
        File::create(wanted.join("file")).unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([wanted]));
    }

    #[test]
    fn what_is_not_set_any_more_does_not_wake_it() {
        let root = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| root.path().join(name));
        [&old, &new].into_iter().for_each(|file| fs::write(file, "").unwrap());
        let mut alarm = VnodeAlarm::new().unwrap();
        alarm.set([old.clone()]);
        alarm.set([new.clone()]);
        fs::write(&old, "line").unwrap();
        fs::write(&new, "line").unwrap();
        assert_eq!(taken(&mut alarm), BTreeSet::from([new]));
    }
}
