//! Wakes when files or folders are written to, by kqueue (macOS). Never run: the project has no such machine.

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Events that one call takes; more stay for the next call.
const EVENTS: usize = 64;

/// For a folder it wakes when an entry comes or goes. A write to a file in it does not count.
#[derive(Debug)]
pub struct VnodeAlarm {
    queue: Kqueue,
    /// The kernel forgets a watch when its descriptor is closed.
    watched: BTreeMap<PathBuf, OwnedFd>,
}

impl VnodeAlarm {
    pub fn new() -> io::Result<VnodeAlarm> {
        Ok(VnodeAlarm { queue: Kqueue::new()?, watched: BTreeMap::new() })
    }

    /// Readable when there is something to take.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Watches these, and no others. Of one that does not exist it watches the nearest folder above, in which it would begin.
    pub fn set(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let wanted: Vec<PathBuf> = paths.into_iter().filter_map(|path| nearest(&path)).collect();
        self.watched.retain(|path, _| wanted.contains(path));
        for path in wanted {
            if !self.watched.contains_key(&path) {
                // One that cannot be watched is found by the next poll.
                if let Ok(descriptor) = self.watch(&path) {
                    self.watched.insert(path, descriptor);
                }
            }
        }
    }

    fn watch(&self, path: &Path) -> io::Result<OwnedFd> {
        let descriptor =
            open(path, OFlag::from_bits_retain(libc::O_EVTONLY) | OFlag::O_CLOEXEC, Mode::empty())?;
        let id = usize::try_from(descriptor.as_raw_fd()).map_err(io::Error::other)?;
        let changes = FilterFlag::NOTE_WRITE
            | FilterFlag::NOTE_EXTEND
            | FilterFlag::NOTE_RENAME
            | FilterFlag::NOTE_DELETE;
        // EV_CLEAR: a change wakes once.
        let event =
            KEvent::new(id, EventFilter::EVFILT_VNODE, EvFlags::EV_ADD | EvFlags::EV_CLEAR, changes, 0, 0);
        self.queue.kevent(&[event], &mut [], None)?;
        Ok(descriptor)
    }

    /// What was written to since the last call. A file that was removed or renamed is watched no more.
    pub fn take(&mut self) -> Vec<PathBuf> {
        let none = KEvent::new(0, EventFilter::EVFILT_VNODE, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        let mut events = [none; EVENTS];
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let count = self.queue.kevent(&[], &mut events, Some(at_once)).unwrap_or(0);
        let mut changed = Vec::new();
        for event in &events[..count] {
            let is_it = |descriptor: &OwnedFd| usize::try_from(descriptor.as_raw_fd()) == Ok(event.ident());
            let of_event = self.watched.iter().find(|(_, descriptor)| is_it(descriptor));
            let Some(path) = of_event.map(|(path, _)| path.clone()) else { continue };
            if event.fflags().intersects(FilterFlag::NOTE_RENAME | FilterFlag::NOTE_DELETE) {
                self.watched.remove(&path);
            }
            changed.push(path);
        }
        changed
    }
}

/// The path, or the nearest folder above it that exists.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|above| above.exists()).map(Path::to_path_buf)
}
