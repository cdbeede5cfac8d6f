//! Runs this program again as a process that outlives the launcher. It has its own session, ignores hang-ups,
//! and has no terminal and none of the launcher's descriptors. It can report to the launcher over a pipe for as
//! long as the launcher reads, and the launcher can wake it over another.

use super::fork::{self, fork};
use super::memory::{self, Memory};
use super::orphan::Orphan;
use super::program::{Image, Program, StartState};
use super::signals::{self, SignalPipe};
use super::timeout::timeout;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{self, setsid};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The launcher's ends of its stdin and stdout.
pub struct Detached {
    stdin: PipeWriter,
    stdout: File,
    received: Vec<u8>,
}

/// What a detached process had written when the launcher stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It closed its stdout, or ended.
    All(Vec<u8>),
    /// It still runs.
    SoFar(Vec<u8>),
}

impl Detached {
    /// Starts this program's own executable by this name, with these arguments. It keeps a copy of `kept` open until its end:
    /// closing a copy that is not the last takes no time. Call it while the process has one thread.
    pub fn start(
        name: &CStr,
        args: Vec<OsString>,
        memory: Memory,
        kept: Option<BorrowedFd<'_>>,
    ) -> io::Result<Detached> {
        let name = OsStr::from_bytes(name.to_bytes()).to_owned();
        let program = Program {
            file: own_executable()?,
            name,
            args,
            added_variables: memory.variables(),
            removed_variables: Vec::new(),
            state: StartState::AsEntered,
            orphan: Orphan::LivesOn,
        };
        let image = program.image()?;
        let ((read, write), (wakes, stdin)) = (io::pipe()?, io::pipe()?);
        let (null, write, wakes) = (fork::null()?, OwnedFd::from(write), OwnedFd::from(wakes));
        // Signals are blocked: a hang-up or a terminal key before `setsid` would end the new process.
        if fork()?.is_none() {
            become_detached(&image, &wakes, &write, &null, kept);
        }
        drop((write, wakes));
        let stdout = File::from(OwnedFd::from(read));
        fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Detached { stdin, stdout, received: Vec::new() })
    }

    /// Writes to its stdin, which ends when the launcher ends.
    pub fn send(&mut self, message: &[u8]) {
        // Full: it has enough to read. Closed: it has ended.
        let _ = self.stdin.write(message);
    }

    /// Whether it closed its stdout.
    pub fn has_ended(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(0) => return true,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
        }
    }

    /// Reads until the process closes its stdout, `until` is over, or the user asks the launcher to end.
    pub fn receive(mut self, until: Instant, signals: &SignalPipe) -> Received {
        loop {
            match self.read() {
                Ok(0) => return Received::All(self.received),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Received::SoFar(self.received);
                }
                Err(_) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || signals.is_asked_to_end() {
                return Received::SoFar(self.received);
            }
            let mut watched =
                [self.stdout.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut watched, timeout(Some(left)));
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1024];
        let count = self.stdout.read(&mut chunk)?;
        self.received.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// The running executable, even if its file was replaced or deleted (Linux).
fn own_executable() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.into()) } else { std::env::current_exe() }
}

/// Runs in the fork; ends in exec.
fn become_detached(
    image: &Image,
    stdin: &OwnedFd,
    stdout: &OwnedFd,
    null: &OwnedFd,
    kept: Option<BorrowedFd<'_>>,
) -> ! {
    let _ = catch_unwind(AssertUnwindSafe(|| -> io::Result<()> {
        setsid()?;
        signals::drop_pending()?;
        fork::set_streams(stdin, stdout, null)?;
        // A fork does not inherit a kqueue (macOS): then there is nothing to keep.
        match kept.and_then(|kept| copy_above_streams(kept).ok()) {
            Some(copy) => close_from(copy + 1),
            None => close_from(libc::STDERR_FILENO + 1),
        }
        SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        Err(image.exec())
    }));
    fork::end(127)
}

/// Runs in a fork: closes all descriptors, and keeps only `link`, as stdin.
pub(super) fn keep_only(link: OwnedFd) -> io::Result<File> {
    let null = fork::null()?;
    fork::set_streams(&link, &null, &null)?;
    std::mem::forget((link, null));
    close_from(libc::STDERR_FILENO + 1);
    #[expect(unsafe_code, reason = "the link by its new number")]
    // SAFETY: `dup2_stdin` has just put it there, and nothing else in this process reads stdin.
    Ok(unsafe { File::from_raw_fd(libc::STDIN_FILENO) })
}

/// In the fork: makes the descriptor the first one above the streams, also across exec. What was there is closed.
fn copy_above_streams(kept: BorrowedFd<'_>) -> io::Result<i32> {
    let copy = libc::STDERR_FILENO + 1;
    #[expect(unsafe_code, reason = "a descriptor by its number")]
    // SAFETY: the owner of what has this number never runs again in this process: it execs, or ends by _exit.
    unsafe {
        Errno::result(libc::dup2(kept.as_raw_fd(), copy))?;
        // `dup2` leaves a descriptor as it is that has the number already.
        Errno::result(libc::fcntl(copy, libc::F_SETFD, 0))?;
    }
    Ok(copy)
}

/// Closes this descriptor and all above it. An inherited end of a pipe would keep its reader waiting.
fn close_from(first: i32) {
    #[cfg(target_os = "linux")]
    {
        #[expect(unsafe_code, reason = "close_range; nix offers no safe form")]
        // SAFETY: the descriptors' owners never run again in this process: it execs, or ends by _exit.
        let answer = unsafe { libc::syscall(libc::SYS_close_range, first.unsigned_abs(), u32::MAX, 0_u32) };
        if answer == 0 {
            return;
        }
    }
    // Linux before 5.9, and elsewhere.
    let entries = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number >= first) {
        #[expect(unsafe_code, reason = "inherited descriptors have no owner here, only a number")]
        // SAFETY: as above.
        unsafe {
            libc::close(number);
        }
    }
}

/// In the detached process: leaves its working folder, sets its process name, and takes memory as it was started for.
pub fn settle(name: &CStr) {
    memory::use_large_pages();
    let _ = unistd::chdir("/");
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(name);
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}

/// In the detached process: an alarm ends it after this time from now, even if it hangs. Replaces the alarm before.
pub fn end_within(limit: Duration) {
    unistd::alarm::set(limit.as_secs().try_into().unwrap_or(u32::MAX));
}

/// In the detached process: lets all others go first, for CPU and for disks.
pub fn give_way() {
    #[expect(unsafe_code, reason = "setpriority and ioprio_set; nix offers no safe form")]
    // SAFETY: both calls change this process's priorities only; an error leaves them as they were.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
        #[cfg(target_os = "linux")]
        libc::syscall(libc::SYS_ioprio_set, 1, 0, LAST_OF_BEST_EFFORT);
    }
}

/// In the detached process: returns freed memory to the system. glibc would keep it.
pub fn return_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "malloc_trim; nix offers no safe form")]
        // SAFETY: it touches free memory only, and takes the allocator's locks.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Of -20 to 19. Codex and its tools get most of a busy CPU, and the tracer some of it.
const NICENESS: i32 = 10;

/// Linux's best-effort class (2, in the upper bits) and the last of its levels. The idle class may starve.
#[cfg(target_os = "linux")]
const LAST_OF_BEST_EFFORT: i32 = (2 << 13) | 7;

/// In the detached process: writes to the launcher; errors are ignored, for the launcher may have stopped reading.
pub fn report(message: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(message).and_then(|()| stdout.flush());
}

/// In the detached process: closes the pipe to the launcher.
pub fn stop_reporting() {
    if let Ok(null) = fork::null() {
        let _ = unistd::dup2_stdout(null);
    }
}
