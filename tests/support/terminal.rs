//! A person's terminal: a program leads a session on it, keys are typed, what it shows is kept, the window changes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::daemon_release::link_daemon_release;
use crate::gate::Gate;
use crate::run::{End, LIMIT, wait_for};

/// Rows, columns, pixels across, pixels down.
const SIZE: [u16; 4] = [24, 80, 800, 480];

/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// What a terminal was and showed when its program had ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub bytes: Vec<u8>,
    pub end: End,
    pub modes_before: Termios,
    pub modes_after: Termios,
}

/// A program that has no terminal open any more.
#[derive(Debug)]
pub struct Left {
    pub child: Child,
    /// What the terminal has shown.
    pub bytes: Vec<u8>,
    /// Closing it would hang up the program.
    _window: File,
}

#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    closing: Arc<AtomicBool>,
    /// Keeps the modes when the program has ended.
    slave: OwnedFd,
    modes_before: Termios,
    gate: Gate,
}

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub fn ended(self, end: End) -> Seen {
        assert_eq!(self.end, end, "{}", self.text());
        self
    }
}

impl Terminal {
    /// The command has to be a home's: only the variables that were set for it are kept.
    #[track_caller]
    pub fn start(command: &Command) -> Terminal {
        let terminal = Terminal::start_unread(command);
        terminal.read();
        terminal
    }

    /// Nothing is taken from the terminal until `read`.
    #[track_caller]
    pub fn start_unread(command: &Command) -> Terminal {
        // No command of `mlflow` starts an interface.
        let is_codexs = command.get_args().next() != Some(OsStr::new("mlflow"));
        let home = command.get_envs().find(|(name, _)| *name == "CODEX_HOME").filter(|_| is_codexs);
        if let Some((_, Some(home))) = home {
            link_daemon_release(Path::new(home));
        }
        let (master, slave) = open_terminal();
        set_size(&slave, SIZE);
        let stream = || Stdio::from(slave.try_clone().expect("one more descriptor"));
        let modes_before = tcgetattr(&slave).expect("the modes of a new terminal");
        // It becomes the program, which so leads the session.
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        leader.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        leader.current_dir(command.get_current_dir().expect("a home's command has a folder"));
        leader.stdin(stream()).stdout(stream()).stderr(stream());
        let child = leader.spawn().expect("start setsid");
        let keyboard = master;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::new();
        let closing = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (shown, gate, closing) = (Arc::clone(&shown), gate.clone(), Arc::clone(&closing));
            let screen = keyboard.try_clone().expect("one more descriptor");
            move || {
                gate.is_open_within(LIMIT);
                keep(screen, &shown, &closing);
            }
        });
        Terminal { keyboard, child, shown, reader, closing, slave, modes_before, gate }
    }

    pub fn read(&self) {
        self.gate.open();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("signal a child that was not waited for");
    }

    pub fn type_keys(&self, keys: impl AsRef<[u8]>) {
        (&self.keyboard).write_all(keys.as_ref()).expect("type");
    }

    pub fn shown(&self) -> Vec<u8> {
        self.shown.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown()).into_owned()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(&format!("the terminal to show {text:?}"), LIMIT, || self.text().contains(text));
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.slave).expect("the modes of an open terminal")
    }

    /// As `/proc` names and numbers it.
    #[cfg(target_os = "linux")]
    pub fn name(&self) -> (String, u64) {
        let name = nix::unistd::ttyname(&self.slave).expect("a terminal has a name");
        let device = nix::sys::stat::fstat(&self.slave).expect("a terminal has a number").st_rdev;
        (name.display().to_string(), device)
    }

    /// As a window manager does: the kernel signals the program.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.slave, [rows, columns, 0, 0]);
    }

    /// Waits for the program's end and takes all that it has shown.
    #[track_caller]
    pub fn finish(mut self) -> Seen {
        let end = self.wait_for_end();
        let Terminal { shown, reader, slave, modes_before, .. } = self;
        let modes_after = tcgetattr(&slave).expect("the modes of an open terminal");
        drop(slave);
        wait_for("the terminal to close", LIMIT, || reader.is_finished());
        let bytes = shown.lock().unwrap().clone();
        Seen { bytes, end, modes_before, modes_after }
    }

    /// Waits until no process has the terminal open any more, while the program may still run. The window stays.
    #[track_caller]
    pub fn wait_until_left(self) -> Left {
        let Terminal { keyboard, child, shown, reader, slave, .. } = self;
        drop(slave);
        wait_for("the terminal to be left", LIMIT, || reader.is_finished());
        let bytes = shown.lock().unwrap().clone();
        Left { child, bytes, _window: keyboard }
    }

    /// Closes the window while the program runs.
    #[track_caller]
    pub fn close(self) -> End {
        let Terminal { keyboard, mut child, reader, closing, slave, shown, .. } = self;
        drop((slave, keyboard));
        closing.store(true, Ordering::Relaxed);
        wait_for("the window to close", LIMIT, || reader.is_finished());
        end_of(&mut child, &shown)
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> End {
        end_of(&mut self.child, &self.shown)
    }
}

/// Programs that other tests start at the same time inherit neither end.
#[cfg(target_os = "linux")]
fn open_terminal() -> (File, OwnedFd) {
    use nix::fcntl::{OFlag, open};
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("open a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock a terminal of our own");
    let name = ptsname_r(&master).expect("a terminal has a name");
    let slave = open(name.as_str(), flags, nix::sys::stat::Mode::empty()).expect("open the other side");
    (File::from(master.as_fd().try_clone_to_owned().expect("one more descriptor")), slave)
}

/// Elsewhere a test that starts a program at this moment hands it on.
#[cfg(not(target_os = "linux"))]
fn open_terminal() -> (File, OwnedFd) {
    let opened = nix::pty::openpty(None, None).expect("open a terminal");
    let copy = |fd: OwnedFd| fd.try_clone().expect("a descriptor that exec closes");
    (File::from(copy(opened.master)), copy(opened.slave))
}

/// Not by stty, which knows nothing of pixels.
fn set_size(slave: &OwnedFd, size: [u16; 4]) {
    let [ws_row, ws_col, ws_xpixel, ws_ypixel] = size;
    let size = libc::winsize { ws_row, ws_col, ws_xpixel, ws_ypixel };
    #[expect(unsafe_code, reason = "TIOCSWINSZ; nix offers no safe form")]
    // SAFETY: the kernel reads a size on the stack.
    let answer = unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(answer, 0, "the size of a terminal of our own");
}

#[track_caller]
fn end_of(child: &mut Child, shown: &Mutex<Vec<u8>>) -> End {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("our own child can be waited for") {
            return status.into();
        }
        thread::sleep(LOOK);
    }
    let _ = child.kill();
    panic!("did not end within {LIMIT:?}; shown:\n{}", String::from_utf8_lossy(&shown.lock().unwrap()));
}

/// Until the other side is closed, or the test asks for an end.
fn keep(mut screen: File, shown: &Mutex<Vec<u8>>, closing: &AtomicBool) {
    let mut chunk = [0; 8192];
    while !closing.load(Ordering::Relaxed) {
        let mut watched = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(10_u8)) == Ok(1) {
            let Ok(count @ 1..) = screen.read(&mut chunk) else { return };
            shown.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    }
}
