//! inotify on every folder of sessions: Codex makes one per day, and writes to a resumed session in its old one.

use super::{is_live, look};
use common::disk::entries;
use common::portable;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct KernelWatch {
    inotify: Inotify,
    home: PathBuf,
    folders: HashMap<WatchDescriptor, PathBuf>,
    /// A watch was refused, so that writes in its folder stay unseen.
    is_blind: bool,
}

impl KernelWatch {
    pub(super) fn begin(home: &Path) -> io::Result<KernelWatch> {
        portable::refuse()?;
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

    /// None: inotify reports every change.
    pub(super) fn pace(&self) -> Option<Duration> {
        None
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
