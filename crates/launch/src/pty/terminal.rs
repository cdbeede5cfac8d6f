//! The user's terminal: raw while the command runs, and restored on every way out.

use super::ready::is_invalid;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcdrain, tcgetattr, tcgetsid, tcsetattr};
use nix::unistd::{getpgrp, getsid, tcgetpgrp, ttyname};
use portable_pty::PtySize;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Resets what a killed full-screen program left on: synchronised output, mouse, focus events, bracketed paste;
/// the keyboard's modes and the alternate screen (each screen has its own stack of keyboard modes); colours and
/// the hidden cursor.
const UNDO_FULL_SCREEN: &[u8] =
    b"\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\
    \x1b[<u\x1b[?1049l\x1b[<u\x1b[>4m\x1b[0m\x1b[?25h";

/// How long to wait for a terminal that takes no output.
const PATIENCE_MS: u8 = 200;

pub(super) struct UserTerminal {
    /// Opened again: O_NONBLOCK must not reach the shell, which shares descriptors 0, 1 and 2.
    own: OwnedFd,
    /// The modes to restore.
    pub(super) modes: Termios,
    state: Modes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modes {
    Original,
    Raw,
}

impl UserTerminal {
    /// Opens the terminal on stdin. It must be that of this session: without it there is no job control to keep.
    pub(super) fn open() -> io::Result<UserTerminal> {
        let stdin = io::stdin();
        if tcgetsid(&stdin)? != getsid(None)? {
            return Err(io::Error::other("the terminal is another session's"));
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let own = ttyname(&stdin).and_then(|name| open(&name, flags, Mode::empty()));
        // After `su` the terminal may belong to another user; /dev/tty can still be opened.
        let own = own.or_else(|_| open("/dev/tty", flags, Mode::empty()))?;
        if !can_be_polled(own.as_fd()) {
            return Err(io::Error::other("the terminal cannot be waited for"));
        }
        // In the background this stops the launcher, as the command's first terminal access would stop the command.
        tcdrain(&own)?;
        let modes = tcgetattr(&own)?;
        Ok(UserTerminal { own, modes, state: Modes::Original })
    }

    pub(super) fn size(&self) -> io::Result<PtySize> {
        let mut size = MaybeUninit::<libc::winsize>::uninit();
        #[expect(unsafe_code, reason = "TIOCGWINSZ; nix offers no safe form")]
        // SAFETY: the kernel fills `size` when it answers 0.
        let size = unsafe {
            if libc::ioctl(self.own.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            size.assume_init()
        };
        Ok(PtySize {
            rows: size.ws_row,
            cols: size.ws_col,
            pixel_width: size.ws_xpixel,
            pixel_height: size.ws_ypixel,
        })
    }

    pub(super) fn raw(&mut self) -> io::Result<()> {
        let mut raw = self.modes.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.own, SetArg::TCSANOW, &raw)?;
        self.state = Modes::Raw;
        Ok(())
    }

    /// Sets raw mode again. Another process may have changed the modes since: the present ones are restored later.
    pub(super) fn raw_again(&mut self) {
        if self.state == Modes::Original
            && let Ok(modes) = tcgetattr(&self.own)
        {
            self.modes = modes;
        }
        let _ = self.raw();
    }

    pub(super) fn restore(&mut self) {
        // In the background the shell owns the modes, and setting them would stop the launcher.
        if self.state == Modes::Raw && self.is_ours() {
            let _ = tcsetattr(&self.own, SetArg::TCSANOW, &self.modes);
        }
        self.state = Modes::Original;
    }

    pub(super) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.own).is_ok_and(|group| group == getpgrp())
    }

    pub(super) fn undo_full_screen(&self) {
        // In the background another program draws there.
        if self.state == Modes::Original || !self.is_ours() {
            return;
        }
        let mut rest = UNDO_FULL_SCREEN;
        while !rest.is_empty() {
            match nix::unistd::write(&self.own, rest) {
                Ok(count) => rest = &rest[count..],
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    let mut own = [PollFd::new(self.own.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut own, PollTimeout::from(PATIENCE_MS)) == Ok(0) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// For the monitor, which has a copy and must not restore it.
    pub(super) fn forget(mut self) {
        self.state = Modes::Original;
    }
}

/// On macOS `poll` cannot wait for `/dev/tty`, also where it is stdin (`</dev/tty`). Codex then gets the streams themselves.
fn can_be_polled(terminal: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(terminal, PollFlags::POLLIN)];
    let _ = poll(&mut watched, PollTimeout::ZERO);
    !watched[0].revents().is_some_and(is_invalid)
}

impl AsFd for UserTerminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }
}

impl Drop for UserTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_poll_refuses_is_no_terminal_to_relay() {
        let opened = |flags| open("/dev/null", flags, Mode::empty()).unwrap();
        assert!(can_be_polled(opened(OFlag::O_RDONLY).as_fd()));
        // Linux refuses to wait for a mere path, as macOS does for /dev/tty.
        #[cfg(target_os = "linux")]
        assert!(!can_be_polled(opened(OFlag::O_PATH).as_fd()));
    }
}
