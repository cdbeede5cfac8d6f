//! Signals while a child runs: seen here, told through a pipe, forwarded if they were meant for the child.
//!
//! Handlers only write two bytes into the pipe; all else happens in the loop that reads it. A signal
//! that was ignored when we were started stays ignored (nohup), for us and for the child.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What a signal that arrived asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) signal: Signal,
    pub(super) from: Sender,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A key: the terminal sends it to the whole foreground group, the child included.
    Terminal,
    /// Some process, to us: the child has not got it.
    Process,
}

/// Those that end or steer a program; a second copy of any must not reach the child.
pub(super) const FORWARDED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// Those by which somebody asks us to end.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// The writing end, for the handler.
static TOLD_TO: AtomicI32 = AtomicI32::new(-1);

/// Whose handlers they are: a child has them too until it execs.
static LAUNCHER: AtomicI32 = AtomicI32::new(0);

/// Whether SIGXFSZ is ours to give back.
static FILE_SIZE_SIGNAL_TAKEN: AtomicBool = AtomicBool::new(false);

/// Under a limit of file sizes (`ulimit -f`) a write of ours shall fail, not kill us.
pub fn fail_writes_instead_of_dying() {
    if is_ignored(Signal::SIGXFSZ).is_ok_and(|ignored| !ignored) && ignore(Signal::SIGXFSZ).is_ok() {
        FILE_SIZE_SIGNAL_TAKEN.store(true, Ordering::Relaxed);
    }
}

/// Handlers are in place while this lives.
pub struct SignalPipe {
    read: OwnedFd,
    _write: OwnedFd,
    before: Vec<(Signal, SigAction)>,
}

/// What the child must find as we found it, and our own handlers would hide.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    mask: SigSet,
    child_ignored: bool,
}

impl SignalPipe {
    /// Listens for SIGCHLD and these.
    pub(super) fn open(signals: &[Signal]) -> io::Result<(SignalPipe, Inherited)> {
        let (read, write) = open_pipe()?;
        TOLD_TO.store(write.as_raw_fd(), Ordering::Relaxed);
        LAUNCHER.store(std::process::id().cast_signed(), Ordering::Relaxed);
        let mut pipe = SignalPipe { read, _write: write, before: Vec::new() };
        for signal in signals {
            if !is_ignored(*signal)? {
                pipe.listen(*signal)?;
            }
        }
        let child_ignored = is_ignored(Signal::SIGCHLD)?;
        // Even if it was ignored: the kernel would then drop the child's status.
        pipe.listen(Signal::SIGCHLD)?;
        let mask = SigSet::thread_get_mask()?;
        // We may have been started with it blocked, and then would wait for ever.
        SigSet::from(Signal::SIGCHLD).thread_unblock()?;
        Ok((pipe, Inherited { mask, child_ignored }))
    }

    fn listen(&mut self, signal: Signal) -> io::Result<()> {
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESTART;
        let action = SigAction::new(SigHandler::SigAction(tell), flags, SigSet::empty());
        self.before.push((signal, set(signal, &action)?));
        Ok(())
    }

    /// For a command of ours that ends tidily when it is asked to.
    pub fn of_endings() -> io::Result<SignalPipe> {
        Ok(SignalPipe::open(&ENDING)?.0)
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
        let signal = Signal::try_from(i32::from(told[0])).ok().filter(|_| count == told.len())?;
        Some(Arrived { signal, from: if told[1] == 1 { Sender::Process } else { Sender::Terminal } })
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

impl Inherited {
    /// For the child, between fork and exec: only calls that are safe there.
    pub(super) fn restore(&self) -> io::Result<()> {
        if self.child_ignored {
            ignore(Signal::SIGCHLD)?;
        }
        self.mask.thread_set_mask()?;
        Ok(())
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

/// What we ignore and the program must not: SIGPIPE (Rust's runtime does), SIGXFSZ.
pub(super) fn give_back_dispositions() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let _ = set(Signal::SIGPIPE, &default);
    if FILE_SIZE_SIGNAL_TAKEN.load(Ordering::Relaxed) {
        let _ = set(Signal::SIGXFSZ, &default);
    }
}

/// In a child with all signals blocked: those that arrived meanwhile were not meant for it. It ignores
/// hang-ups from now on, also across exec.
pub(super) fn forget_what_waits() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in FORWARDED.into_iter().filter(|signal| *signal != Signal::SIGHUP) {
        // The kernel drops what waits for a signal that becomes ignored.
        ignore(signal)?;
        set(signal, &default)?;
    }
    ignore(Signal::SIGHUP)
}

fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, &SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty()))?;
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
pub(super) fn stop_as_by(signal: Signal, who: Stops) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let before = (signal != Signal::SIGSTOP).then(|| set(signal, &default));
    let _ = match who {
        Stops::Us => nix::sys::signal::raise(signal),
        Stops::Job => nix::sys::signal::kill(Pid::from_raw(0), signal),
    };
    if let Some(Ok(action)) = before {
        let _ = set(signal, &action);
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    #[expect(unsafe_code, reason = "sigaction; nix cannot read a disposition without setting one")]
    // SAFETY: a null action only asks; the kernel fills `found` when it answers 0.
    let handler = unsafe {
        if libc::sigaction(signal as libc::c_int, std::ptr::null(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init().sa_sigaction
    };
    Ok(handler == libc::SIG_IGN)
}

fn set(signal: Signal, action: &SigAction) -> io::Result<SigAction> {
    #[expect(unsafe_code, reason = "sigaction; nix offers no safe form")]
    // SAFETY: the only handler ever set is `tell`, which does nothing that is not safe in a handler.
    let before = unsafe { sigaction(signal, action)? };
    Ok(before)
}

/// The handler. Only an atomic load and one write; errno is put back. In a child that has yet to exec, the
/// signal does what it does by default.
extern "C" fn tell(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = nix::errno::Errno::last_raw();
    #[expect(unsafe_code, reason = "a signal handler reads what the kernel hands it, and writes to a pipe")]
    // SAFETY: the kernel passes a valid siginfo with SA_SIGINFO; write is async-signal-safe, and a
    // pipe that is full or gone makes it fail without harm.
    unsafe {
        if libc::getpid() != LAUNCHER.load(Ordering::Relaxed) {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
            return;
        }
        let told = [signal as u8, u8::from(sent_by_a_process(&*info))];
        libc::write(TOLD_TO.load(Ordering::Relaxed), told.as_ptr().cast(), told.len());
    }
    nix::errno::Errno::set_raw(errno);
}

/// On Linux the kernel marks its own (also those from another pid namespace have no pid).
#[cfg(target_os = "linux")]
fn sent_by_a_process(info: &libc::siginfo_t) -> bool {
    info.si_code <= 0
}

/// Elsewhere a key's signal has no sender.
#[cfg(not(target_os = "linux"))]
fn sent_by_a_process(info: &libc::siginfo_t) -> bool {
    info.si_pid != 0
}
