//! Waits for the first of several descriptors.

use crate::timeout::timeout;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub(super) struct Ready {
    pub(super) signals: bool,
    pub(super) message: bool,
    pub(super) companion: bool,
    pub(super) user: PollFlags,
    pub(super) master: PollFlags,
}

/// A descriptor, if there is one, and the events to wait for.
type Interest<'a> = (Option<BorrowedFd<'a>>, PollFlags);

impl Ready {
    /// `interests` has the order of the fields.
    pub(super) fn wait(interests: [Interest<'_>; 5], patience: Option<Duration>) -> Ready {
        let mut watched = Vec::with_capacity(interests.len());
        let places = interests.map(|(fd, wanted)| {
            // Left out if no event is wanted: poll reports a hang-up in any case.
            watched.push(PollFd::new(fd.filter(|_| !wanted.is_empty())?, wanted));
            Some(watched.len() - 1)
        });
        let _ = poll(&mut watched, timeout(patience));
        let [signals, message, companion, user, master] =
            places.map(|at| at.and_then(|at| watched[at].revents()).unwrap_or(PollFlags::empty()));
        Ready {
            signals: !signals.is_empty(),
            message: !message.is_empty(),
            companion: !companion.is_empty(),
            user,
            master,
        }
    }
}

pub(super) fn wanted(to_read: bool, to_write: bool) -> PollFlags {
    let read = if to_read { PollFlags::POLLIN } else { PollFlags::empty() };
    read | if to_write { PollFlags::POLLOUT } else { PollFlags::empty() }
}

/// A hang-up or an error counts as readable: the read then reports it.
pub(super) fn can_read(found: PollFlags) -> bool {
    found.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
}

/// `poll` cannot wait for this descriptor: there is no more to come from it.
pub(super) fn is_invalid(found: PollFlags) -> bool {
    found.contains(PollFlags::POLLNVAL)
}

/// A signal does not shorten the wait: when a window closes, its SIGHUP arrives during a wait.
pub(super) fn is_ready(fd: BorrowedFd<'_>, wanted: PollFlags, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, wanted)], left) {
            Err(Errno::EINTR) => {}
            ready => return ready == Ok(1),
        }
    }
}
