//! inotify, with what kqueue would report: tests on Linux run macOS's code over it.

use super::Change;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// IN_ATTRIB: the last name of an open file was removed.
const GONE: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_ATTRIB);

#[derive(Debug)]
pub(super) struct Queue(Inotify);

#[derive(Debug)]
pub(super) struct Watch(WatchDescriptor);

impl Watch {
    pub(super) fn id(&self) -> WatchDescriptor {
        self.0
    }
}

impl Queue {
    pub(super) fn new() -> io::Result<Queue> {
        Ok(Queue(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?))
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn watch(&self, path: &Path) -> io::Result<Watch> {
        // kqueue reports no writes to the files in a folder.
        let written = if path.is_dir() {
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE
        } else {
            AddWatchFlags::IN_MODIFY
        };
        Ok(Watch(self.0.add_watch(path, written | GONE)?))
    }

    pub(super) fn leave(&self, Watch(id): Watch) {
        // The kernel forgets the watch of a removed file by itself.
        let _ = self.0.rm_watch(id);
    }

    pub(super) fn take(&self) -> Vec<(WatchDescriptor, Change)> {
        let change = |mask: AddWatchFlags| if mask.intersects(GONE) { Change::Gone } else { Change::Written };
        let mut changes = Vec::new();
        while let Ok(events) = self.0.read_events() {
            let of_files = events.iter().filter(|event| !event.mask.contains(AddWatchFlags::IN_IGNORED));
            changes.extend(of_files.map(|event| (event.wd, change(event.mask))));
        }
        changes
    }
}
