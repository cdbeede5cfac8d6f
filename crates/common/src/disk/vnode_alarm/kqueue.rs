//! kqueue (macOS). Never run: the project has no such machine.

use super::Change;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::stat::Mode;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Events that one call takes; more stay for the next call.
const EVENTS: usize = 64;

#[derive(Debug)]
pub(super) struct Queue(Kqueue);

/// The kernel forgets a watch when its descriptor is closed.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

// As scripts/macos-abi.c has it from Apple's headers.
const _: () = {
    assert!(mem::size_of::<libc::kevent>() == 32);
    assert!(mem::offset_of!(libc::kevent, filter) == 8 && mem::offset_of!(libc::kevent, fflags) == 12);
    assert!(libc::EVFILT_VNODE == -4 && libc::EVFILT_PROC == -5 && libc::NOTE_EXIT == 0x8000_0000);
    assert!(libc::NOTE_DELETE == 0x1 && libc::NOTE_WRITE == 0x2);
    assert!(libc::NOTE_EXTEND == 0x4 && libc::NOTE_RENAME == 0x20);
    assert!(libc::EV_ADD == 0x1 && libc::EV_CLEAR == 0x20 && libc::O_EVTONLY == 0x8000);
};

impl Watch {
    pub(super) fn id(&self) -> usize {
        usize::try_from(self.0.as_raw_fd()).unwrap_or(usize::MAX)
    }
}

impl Queue {
    pub(super) fn new() -> io::Result<Queue> {
        Ok(Queue(Kqueue::new()?))
    }

    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn watch(&self, path: &Path) -> io::Result<Watch> {
        let flags = OFlag::from_bits_retain(libc::O_EVTONLY) | OFlag::O_CLOEXEC;
        let watch = Watch(open(path, flags, Mode::empty())?);
        let changes = FilterFlag::NOTE_WRITE
            | FilterFlag::NOTE_EXTEND
            | FilterFlag::NOTE_RENAME
            | FilterFlag::NOTE_DELETE;
        // EV_CLEAR: a change wakes once.
        let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
        let event = KEvent::new(watch.id(), EventFilter::EVFILT_VNODE, flags, changes, 0, 0);
        self.0.kevent(&[event], &mut [], None)?;
        Ok(watch)
    }

    pub(super) fn leave(&self, watch: Watch) {
        drop(watch);
    }

    pub(super) fn take(&self) -> Vec<(usize, Change)> {
        let none = KEvent::new(0, EventFilter::EVFILT_VNODE, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        let mut events = [none; EVENTS];
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let count = self.0.kevent(&[], &mut events, Some(at_once)).unwrap_or(0);
        let is_gone =
            |event: &KEvent| event.fflags().intersects(FilterFlag::NOTE_RENAME | FilterFlag::NOTE_DELETE);
        let change = |event: &KEvent| if is_gone(event) { Change::Gone } else { Change::Written };
        events[..count].iter().map(|event| (event.ident(), change(event))).collect()
    }
}
