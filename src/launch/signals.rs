//! Signals while a child runs: seen here, told through a pipe, forwarded if they were meant for the child.
//!
//! Handlers only write two bytes into the pipe; all else happens in the loop that reads it. A signal
//! that was ignored when we were started stays ignored (nohup), for us and for the child.

use super::dispositions::{Action, Alarm, Inherited, default, handle, ignore, is_ignored, set, was_ignored};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

pub use super::dispositions::fail_writes_instead_of_dying;

/// What a signal that arrived asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) signal: i32,
    pub(super) from: Sender,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A key, or a window that closes.
    Kernel,
    /// Some process: to us, or to our whole group.
    Process,
}

/// All that end or steer a program, for a launcher in whose place it was meant to be. Not those that cannot be
/// caught, nor SIGTTIN and SIGTTOU: caught, they would have us try again for ever to touch the terminal.
fn forwarded() -> impl Iterator<Item = i32> {
    const NOT: [i32; 5] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGTTIN, libc::SIGTTOU];
    #[cfg(target_os = "linux")]
    let of_real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    let of_real_time = std::iter::empty();
    (1..32).filter(|signal| !NOT.contains(signal)).chain(of_real_time)
}

/// Those by which somebody asks us to end.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];

/// The writing end, for the handler.
static TOLD_TO: AtomicI32 = AtomicI32::new(-1);

/// Whose handlers they are: a child has them too until it execs.
static LAUNCHER: AtomicI32 = AtomicI32::new(0);

/// Handlers are in place while this lives.
pub struct SignalPipe {
    read: OwnedFd,
    _write: OwnedFd,
    before: Vec<(i32, Action)>,
}

impl SignalPipe {
    /// Listens for SIGCHLD and these. Of what was inherited, the command is to get it back.
    pub(super) fn open(signals: impl IntoIterator<Item = i32>) -> io::Result<(SignalPipe, Inherited)> {
        let (read, write) = open_pipe()?;
        TOLD_TO.store(write.as_raw_fd(), Ordering::Relaxed);
        LAUNCHER.store(std::process::id().cast_signed(), Ordering::Relaxed);
        let mut pipe = SignalPipe { read, _write: write, before: Vec::new() };
        for signal in signals {
            if !was_ignored(signal)? {
                pipe.listen(signal)?;
            }
        }
        let child_ignored = is_ignored(libc::SIGCHLD)?;
        // Even if it was ignored: the kernel would then drop the child's status.
        pipe.listen(libc::SIGCHLD)?;
        let mask = SigSet::thread_get_mask()?;
        // We may have been started with it blocked, and then would wait for ever.
        SigSet::from(Signal::SIGCHLD).thread_unblock()?;
        Ok((pipe, Inherited { mask, child_ignored, alarm: Alarm::running() }))
    }

    fn listen(&mut self, signal: i32) -> io::Result<()> {
        self.before.push((signal, handle(signal, tell)?));
        Ok(())
    }

    /// For a launcher: all that it is to hear in the command's place.
    pub(super) fn of_launcher() -> io::Result<(SignalPipe, Inherited)> {
        let opened = SignalPipe::open(forwarded())?;
        // What we were started with blocked, we would neither see nor forward.
        SigSet::empty().thread_set_mask()?;
        Ok(opened)
    }

    /// For a command of ours that ends tidily when it is asked to.
    pub fn of_endings() -> io::Result<SignalPipe> {
        Ok(SignalPipe::open(ENDING)?.0)
    }

    /// What came until now was meant for the command: a key that ended it is not one that ends us.
    pub fn forget(&self) {
        while self.next().is_some() {}
    }

    /// Whether somebody wants us to end, since the last call.
    pub fn is_asked_to_end(&self) -> bool {
        self.endings() > 0
    }

    /// How often we were asked to end, since the last call.
    pub fn endings(&self) -> usize {
        std::iter::from_fn(|| self.next()).filter(|arrived| ENDING.contains(&arrived.signal)).count()
    }

    /// The next signal that arrived, if any.
    pub(super) fn next(&self) -> Option<Arrived> {
        let mut told = [0; 2];
        let count = nix::unistd::read(&self.read, &mut told).ok()?;
        let from = if told[1] == 1 { Sender::Process } else { Sender::Kernel };
        (count == told.len()).then_some(Arrived { signal: told[0].into(), from })
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        for (signal, action) in &self.before {
            let _ = set(*signal, action);
        }
        TOLD_TO.store(-1, Ordering::Relaxed);
    }
}

/// Both ends closed in the child and never blocking. Not by pipe2, which macOS lacks.
fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
    for end in [&read, &write] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((read, write))
}

/// In a child with all signals blocked: those that arrived meanwhile were not meant for it. It ignores
/// hang-ups from now on, also across exec.
pub(super) fn forget_what_waits() -> io::Result<()> {
    for signal in forwarded().filter(|signal| *signal != libc::SIGHUP) {
        // The kernel drops what waits for a signal that becomes ignored.
        ignore(signal)?;
        default(signal)?;
    }
    ignore(libc::SIGHUP)?;
    Ok(())
}

/// Who stops with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stops {
    Us,
    /// Our whole group, as a key of the terminal does: a script around us stops too.
    Job,
}

/// Stops us as the signal does by default, until SIGCONT.
pub(super) fn stop_as_by(signal: i32, who: Stops) {
    let before = (signal != libc::SIGSTOP).then(|| default(signal));
    #[expect(unsafe_code, reason = "signals as numbers")]
    // SAFETY: it touches no memory of ours.
    unsafe {
        match who {
            Stops::Us => libc::raise(signal),
            Stops::Job => libc::kill(0, signal),
        };
    }
    if let Some(Ok(action)) = before {
        let _ = set(signal, &action);
    }
}

/// To a process; to the group of -`to` if it is negative.
pub(super) fn send(to: i32, signal: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix has no names for signals of real time")]
    // SAFETY: it touches no memory of ours.
    Errno::result(unsafe { libc::kill(to, signal) })?;
    Ok(())
}

/// The handler. Only atomic loads, safe calls and one write; errno is put back. In a child that has yet to exec,
/// and where we ourselves have failed, the signal does what it does by default.
extern "C" fn tell(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = Errno::last_raw();
    #[expect(unsafe_code, reason = "a signal handler reads what the kernel hands it, and writes to a pipe")]
    // SAFETY: the kernel passes a valid siginfo with SA_SIGINFO; all that is called is async-signal-safe, and a
    // pipe that is full or gone makes write fail without harm.
    unsafe {
        let us = libc::getpid();
        let from = sender(&*info);
        let is_own = from == Sender::Process && (*info).si_pid() == us;
        match signal {
            _ if us != LAUNCHER.load(Ordering::Relaxed) => by_default(signal),
            // A write of ours that failed, and says so.
            libc::SIGPIPE | libc::SIGXFSZ if is_own || from == Sender::Kernel => {}
            _ if is_own || (from == Sender::Kernel && is_fault(signal)) => by_default(signal),
            _ => {
                let told = [signal as u8, u8::from(from == Sender::Process)];
                libc::write(TOLD_TO.load(Ordering::Relaxed), told.as_ptr().cast(), told.len());
            }
        }
    }
    Errno::set_raw(errno);
}

/// It waits until the handler returns.
fn by_default(signal: i32) {
    #[expect(unsafe_code, reason = "only calls that are safe in a handler")]
    // SAFETY: both calls are async-signal-safe and touch no memory of ours.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn is_fault(signal: i32) -> bool {
    const FAULTS: [i32; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
    FAULTS.contains(&signal)
}

/// On Linux the kernel marks its own (those from another pid namespace have no pid either).
#[cfg(target_os = "linux")]
fn sender(info: &libc::siginfo_t) -> Sender {
    if info.si_code <= 0 { Sender::Process } else { Sender::Kernel }
}

/// Elsewhere a key's signal has no sender.
#[cfg(not(target_os = "linux"))]
fn sender(info: &libc::siginfo_t) -> Sender {
    if info.si_pid != 0 { Sender::Process } else { Sender::Kernel }
}
