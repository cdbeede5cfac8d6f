//! Ourselves once more, in a process that outlives us: a session of its own, deaf to hang-ups, without a
//! terminal, holding nothing that we hold. It can say a few words to us for as long as we listen.

use super::inherit::timeout;
use super::program::{Image, Program};
use super::signals::{self, SignalPipe};
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::Mode;
use nix::unistd::{self, ForkResult, fork, setsid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Makes glibc (2.35 and later) ask Linux for memory of large pages and in steps of 16 MiB, which it also keeps when
/// all is done: a third of the time that a large session takes is else that of its memory, 4 KiB at a time.
pub const LARGE_PAGES: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=16777216");

/// Its words to us: its stdout.
pub struct Detached {
    words: File,
    heard: Vec<u8>,
}

/// What a detached process had said when we stopped listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is through, or has died.
    All(Vec<u8>),
    /// It goes on.
    SoFar(Vec<u8>),
}

impl Detached {
    /// Starts this very program with these words. Call it while there is one thread.
    pub fn start(words: Vec<OsString>) -> io::Result<Detached> {
        let name = OsString::from("codex-traced");
        let image =
            Program { file: ourselves()?, name, args: words, added_variables: large_pages() }.image()?;
        let (read, write) = io::pipe()?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        // A hang-up, or a key, between its birth and its own session would be its end.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        #[expect(unsafe_code, reason = "fork; nix offers no safe form")]
        // SAFETY: this process has one thread, so its copy may do all that we may.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            become_detached(&image, &null, &OwnedFd::from(write));
        }
        mask.thread_set_mask()?;
        forked?;
        drop(write);
        let words = File::from(OwnedFd::from(read));
        fcntl(&words, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Detached { words, heard: Vec::new() })
    }

    /// Listens until it is through, until then, or until somebody asks us to end.
    pub fn hear(mut self, until: Instant, signals: &SignalPipe) -> Heard {
        loop {
            match self.read() {
                Ok(0) => return Heard::All(self.heard),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Heard::SoFar(self.heard),
                Err(_) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || signals.is_asked_to_end() {
                return Heard::SoFar(self.heard);
            }
            let mut watched =
                [self.words.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut watched, timeout(Some(left)));
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1024];
        let count = self.words.read(&mut chunk)?;
        self.heard.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// Whoever told glibc something else knows better.
fn large_pages() -> Vec<(&'static str, OsString)> {
    let (name, value) = LARGE_PAGES;
    if std::env::var_os(name).is_some() { Vec::new() } else { vec![(name, value.into())] }
}

/// The file that we are, even if it was replaced or deleted meanwhile (Linux).
fn ourselves() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.into()) } else { std::env::current_exe() }
}

/// The copy's own story; it ends in exec.
fn become_detached(image: &Image, null: &OwnedFd, words: &OwnedFd) -> ! {
    let _ = catch_unwind(AssertUnwindSafe(|| -> io::Result<()> {
        setsid()?;
        signals::forget_what_waits()?;
        unistd::dup2_stdin(null)?;
        unistd::dup2_stdout(words)?;
        unistd::dup2_stderr(null)?;
        close_all_but_streams();
        SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        Err(image.exec())
    }));
    #[expect(unsafe_code, reason = "_exit; std's exit would run what is the launcher's to run")]
    // SAFETY: it only ends this process.
    unsafe {
        libc::_exit(127)
    }
}

/// In a copy of us: without a stream of ours, and holding nothing but this.
pub(super) fn become_nobody(link: OwnedFd) -> io::Result<File> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    unistd::dup2_stdin(&link)?;
    unistd::dup2_stdout(&null)?;
    unistd::dup2_stderr(&null)?;
    std::mem::forget((link, null));
    close_all_but_streams();
    #[expect(unsafe_code, reason = "the link by its new number")]
    // SAFETY: it was put there just now, and nothing else here reads stdin.
    Ok(unsafe { File::from_raw_fd(libc::STDIN_FILENO) })
}

/// Somebody may wait for the end of a pipe that we inherited.
fn close_all_but_streams() {
    #[cfg(target_os = "linux")]
    {
        #[expect(unsafe_code, reason = "close_range; nix offers no safe form")]
        // SAFETY: the descriptors' owners never run again in this process: it execs, or ends by _exit.
        let answer = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
        if answer == 0 {
            return;
        }
    }
    // Linux before 5.9, and elsewhere.
    let entries = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number > libc::STDERR_FILENO) {
        #[expect(unsafe_code, reason = "descriptors that nobody here owns have only a number")]
        // SAFETY: as above.
        unsafe {
            libc::close(number);
        }
    }
}

/// In the detached process: lets go of the folder it was started in, shows itself under its name, and sets an
/// end to itself, whatever it may hang in.
pub fn settle(limit: Duration) {
    let _ = unistd::chdir("/");
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(c"codex-traced");
    end_within(limit);
}

/// In the detached process: another end, from now on.
pub fn end_within(limit: Duration) {
    unistd::alarm::set(limit.as_secs().try_into().unwrap_or(u32::MAX));
}

/// In the detached process, to whoever started it, if they still listen.
pub fn say(words: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(words).and_then(|()| stdout.flush());
}

/// In the detached process: nothing more will be said.
pub fn fall_silent() {
    if let Ok(null) = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = unistd::dup2_stdout(null);
    }
}
