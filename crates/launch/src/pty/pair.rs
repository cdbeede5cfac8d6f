//! The new terminal: the launcher has its master, the command its slave.

use super::terminal::UserTerminal;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use portable_pty::{MasterPty, PtySize, native_pty_system};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub(super) struct Pair {
    master: Master,
    slave: OwnedFd,
}

impl Pair {
    /// A terminal with the modes and the size of the user's.
    pub(super) fn open(user: &UserTerminal) -> io::Result<Pair> {
        let opened = native_pty_system().openpty(user.size()?).map_err(io::Error::other)?;
        let name =
            opened.master.tty_name().ok_or_else(|| io::Error::other("the new terminal has no name"))?;
        // portable-pty does not hand out its slave and cannot set the user's modes.
        let slave = open(&name, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
        tcsetattr(&slave, SetArg::TCSANOW, &user.modes)?;
        let master = Master(opened.master);
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Pair { master, slave })
    }

    /// Closes the slave: the launcher learns by the hang-up that the command's last process has closed it.
    pub(super) fn into_master(self) -> Master {
        self.master
    }

    /// Closes the master: the command's terminal hangs up with the launcher.
    pub(super) fn into_slave(self) -> OwnedFd {
        self.slave
    }
}

/// After the last close, another process may still open the terminal by its name.
const REOPENED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlaveSide {
    Open,
    /// No process has it open since then.
    Closed(Instant),
}

impl SlaveSide {
    /// How long the launcher does not poll it.
    pub(super) fn unpolled_for(self) -> Option<Duration> {
        match self {
            SlaveSide::Open => None,
            SlaveSide::Closed(since) => REOPENED.checked_sub(since.elapsed()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resized {
    Yes,
    No,
}

/// Never use portable-pty's writer: when dropped it types a newline and Ctrl-D.
pub(super) struct Master(Box<dyn MasterPty + Send>);

impl Master {
    /// If the size changes, the kernel sends SIGWINCH to the foreground group.
    pub(super) fn resize(&self, size: PtySize) -> Resized {
        let is_new = self.0.get_size().is_ok_and(|old| old != size);
        match self.0.resize(size) {
            Ok(()) if is_new => Resized::Yes,
            _ => Resized::No,
        }
    }

    /// Whether the command reads single keys, as a full-screen program does. The master reports the slave's
    /// modes, also when no process has the slave open.
    pub(super) fn is_raw(&self) -> bool {
        tcgetattr(self).is_ok_and(|modes| !modes.local_flags.contains(LocalFlags::ICANON))
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.0.as_raw_fd().expect("a master on Unix has a descriptor");
        #[expect(unsafe_code, reason = "portable-pty lends its descriptor as a number only")]
        // SAFETY: the master keeps it open for as long as it is borrowed.
        unsafe {
            BorrowedFd::borrow_raw(fd)
        }
    }
}
