//! Signals while a child runs: a handler writes them to a pipe, and the launcher forwards those that were meant
//! for the child.
//!
//! Handlers only write two bytes into the pipe; all else happens in the loop that reads it. A signal that was
//! ignored at start stays ignored (nohup), for the launcher and for the child.

mod sender;

use super::dispositions::{Action, default, handle, ignore, ignores, set};
use super::entry_state::{Alarm, Inherited, was_ignored};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

pub(super) use sender::Sender;

pub use super::entry_state::fail_writes_instead_of_dying;

/// A signal that arrived, and its kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) signal: i32,
    pub(super) from: Sender,
}

/// What signals asked a command of this program for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub to_end: bool,
    pub to_stop: bool,
}

/// Signals that arrived while the launcher was stopped.
pub(super) struct Woken {
    pub(super) by_cont: bool,
    pub(super) others: Vec<Arrived>,
}

/// All signals that end or control a program, which the launcher receives in the command's place. SIGKILL and
/// SIGSTOP cannot be caught. SIGTTIN and SIGTTOU are left out: caught, they would make the launcher retry its
/// terminal access without end.
fn forwarded() -> impl Iterator<Item = i32> {
    const NOT: [i32; 5] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGTTIN, libc::SIGTTOU];
    #[cfg(target_os = "linux")]
    let of_real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    let of_real_time = std::iter::empty();
    (1..32).filter(|signal| !NOT.contains(signal)).chain(of_real_time)
}

/// Signals by which the user asks the launcher to end.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];

/// The writing end of the pipe, for the handler.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The process that owns the handlers: a child has them too until it execs.
static LAUNCHER: AtomicI32 = AtomicI32::new(0);

/// Handlers stay installed while this value lives.
pub struct SignalPipe {
    read: OwnedFd,
    _write: OwnedFd,
    before: Vec<(i32, Action)>,
}

impl SignalPipe {
    /// Installs handlers for SIGCHLD and `signals`. Also returns the inherited state, which the command gets back.
    pub(super) fn open(signals: impl IntoIterator<Item = i32>) -> io::Result<(SignalPipe, Inherited)> {
        sender::prepare();
        let (read, write) = open_pipe()?;
        PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
        LAUNCHER.store(std::process::id().cast_signed(), Ordering::Relaxed);
        let mut pipe = SignalPipe { read, _write: write, before: Vec::new() };
        // The kernel drops a waiting signal whose action becomes to ignore it again.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let child_ignored = pipe.listen(signals);
        // The launcher may have been started with SIGCHLD blocked, and would then never wake.
        let mut without_child = mask;
        without_child.remove(Signal::SIGCHLD);
        without_child.thread_set_mask()?;
        Ok((pipe, Inherited { mask, child_ignored: child_ignored?, alarm: Alarm::running() }))
    }

    /// Returns whether SIGCHLD was ignored.
    fn listen(&mut self, signals: impl IntoIterator<Item = i32>) -> io::Result<bool> {
        for signal in signals {
            let found = handle(signal, on_signal)?;
            if was_ignored(signal, &found) {
                set(signal, &found)?;
            } else {
                self.before.push((signal, found));
            }
        }
        // Also if it was ignored: the kernel would then discard the child's status.
        let found = handle(libc::SIGCHLD, on_signal)?;
        self.before.push((libc::SIGCHLD, found));
        Ok(ignores(&found))
    }

    /// For a launcher: all signals that it receives in the command's place.
    pub(super) fn with_forwarded_signals() -> io::Result<(SignalPipe, Inherited)> {
        let opened = SignalPipe::open(forwarded())?;
        // The launcher would neither see nor forward a signal that stays blocked.
        SigSet::empty().thread_set_mask()?;
        Ok(opened)
    }

    /// For a command of this program that ends cleanly on request.
    pub fn with_ending_signals() -> io::Result<SignalPipe> {
        Ok(SignalPipe::open(ENDING)?.0)
    }

    /// For a command that draws on the terminal: it also stops cleanly, and wakes when the window's size changes.
    pub fn with_screen_signals() -> io::Result<SignalPipe> {
        Ok(SignalPipe::open(ENDING.into_iter().chain([libc::SIGTSTP, libc::SIGWINCH]))?.0)
    }

    /// Discards what came until now: it was meant for the command, and a key that ended the command does not
    /// end the launcher.
    pub fn discard(&self) {
        while self.next().is_some() {}
    }

    /// Whether the user asked this process to end since the last call.
    pub fn is_asked_to_end(&self) -> bool {
        self.endings() > 0
    }

    pub fn endings(&self) -> usize {
        std::iter::from_fn(|| self.next()).filter(|arrived| ENDING.contains(&arrived.signal)).count()
    }

    /// What the user asked for since the last call.
    pub fn requests(&self) -> Requests {
        let mut requests = Requests::default();
        for Arrived { signal, .. } in std::iter::from_fn(|| self.next()) {
            requests.to_end |= ENDING.contains(&signal);
            requests.to_stop |= signal == libc::SIGTSTP;
        }
        requests
    }

    /// Stops this process, as Ctrl-Z does, until the shell continues it.
    pub fn stop(&self) {
        stop_by(libc::SIGTSTP, Stops::Us);
    }

    pub(super) fn woken(&self) -> Woken {
        let (conts, others): (Vec<Arrived>, Vec<Arrived>) = std::iter::from_fn(|| self.next())
            .filter(|arrived| arrived.signal != libc::SIGCHLD)
            .partition(|arrived| arrived.signal == libc::SIGCONT);
        Woken { by_cont: !conts.is_empty(), others }
    }

    pub(super) fn next(&self) -> Option<Arrived> {
        let mut bytes = [0; 2];
        let count = nix::unistd::read(&self.read, &mut bytes).ok()?;
        (count == bytes.len())
            .then_some(Arrived { signal: bytes[0].into(), from: Sender::from_byte(bytes[1]) })
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
        PIPE.store(-1, Ordering::Relaxed);
    }
}

/// Both ends close on exec and never block. Not by pipe2, which macOS lacks.
fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
    for end in [&read, &write] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((read, write))
}

/// Call it in a child with all signals blocked. Drops pending signals: they were not meant for it. Makes it
/// ignore hang-ups from now on, also across exec.
pub(super) fn drop_pending() -> io::Result<()> {
    for signal in forwarded().filter(|signal| *signal != libc::SIGHUP) {
        // The kernel drops a pending signal when it becomes ignored.
        ignore(signal)?;
        default(signal)?;
    }
    ignore(libc::SIGHUP)?;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stops {
    Us,
    /// The whole process group, as by a terminal key: a script around the launcher stops too.
    Job,
}

/// Stops as the signal does by default, until SIGCONT.
pub(super) fn stop_by(signal: i32, who: Stops) {
    let before = (signal != libc::SIGSTOP).then(|| default(signal));
    #[expect(unsafe_code, reason = "signals as numbers")]
    // SAFETY: it accesses no memory of this process.
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

/// Sends the signal to a process, or to the group -`to` if `to` is negative.
pub(super) fn send(to: i32, signal: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix has no names for signals of real time")]
    // SAFETY: it accesses no memory of this process.
    Errno::result(unsafe { libc::kill(to, signal) })?;
    Ok(())
}

/// The handler. Uses only atomic loads, async-signal-safe calls and one write; restores errno. In a child
/// before its exec, and for a failure of this process itself, the signal has its default effect.
extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = Errno::last_raw();
    #[expect(unsafe_code, reason = "a signal handler reads what the kernel hands it, and writes to a pipe")]
    // SAFETY: the kernel passes a valid siginfo with SA_SIGINFO; all calls are async-signal-safe, and write to
    // a full or closed pipe fails without harm.
    unsafe {
        let us = libc::getpid();
        let from = Sender::from_info(signal, &*info, us);
        let is_own = from == Sender::Process && (*info).si_pid() == us;
        match signal {
            _ if us != LAUNCHER.load(Ordering::Relaxed) => by_default(signal),
            // A failed write of this process, whose error code reports it.
            libc::SIGPIPE | libc::SIGXFSZ if is_own || from == Sender::Kernel => {}
            _ if is_own || (from == Sender::Kernel && sender::is_fault(signal)) => by_default(signal),
            _ => {
                let bytes = [signal as u8, from.byte()];
                libc::write(PIPE.load(Ordering::Relaxed), bytes.as_ptr().cast(), bytes.len());
            }
        }
    }
    Errno::set_raw(errno);
}

/// The signal has its effect when the handler returns, or at once in another thread.
fn by_default(signal: i32) {
    #[expect(unsafe_code, reason = "only calls that are safe in a handler")]
    // SAFETY: both calls are async-signal-safe and access no memory of this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        // Not `raise`: in a child that shares this process's memory until its exec, musl's would reach the parent.
        libc::kill(libc::getpid(), signal);
    }
}
