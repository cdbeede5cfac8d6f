//! Who sent a signal, as far as the system shows it.

use nix::libc;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

/// For tests: `from_info` uses only what XNU would note. Set before the handlers, which must not read variables.
#[cfg(target_os = "linux")]
static SHOWS_LITTLE: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The kernel: a terminal key, or a window that closes.
    Kernel,
    /// A process: to the launcher alone, or to its whole group.
    Process,
    /// A terminal key or a process: macOS does not show which.
    Unknown,
}

impl Sender {
    pub(super) fn byte(self) -> u8 {
        match self {
            Sender::Kernel => 0,
            Sender::Process => 1,
            Sender::Unknown => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Sender {
        match byte {
            1 => Sender::Process,
            2 => Sender::Unknown,
            _ => Sender::Kernel,
        }
    }

    /// Safe in a handler. On Linux the kernel marks its own signals. The sender's pid cannot decide: signals from another
    /// pid namespace have none either.
    #[cfg(target_os = "linux")]
    pub(super) fn from_info(signal: i32, info: &libc::siginfo_t, us: i32) -> Sender {
        let is_kernels = info.si_code > 0;
        if !SHOWS_LITTLE.load(Ordering::Relaxed) {
            return if is_kernels { Sender::Kernel } else { Sender::Process };
        }
        #[expect(unsafe_code, reason = "a field of a union")]
        // SAFETY: the field holds a number for every signal of a process.
        let noted = if is_kernels { 0 } else { unsafe { info.si_pid() } };
        from_number(signal, noted, us)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn from_info(signal: i32, info: &libc::siginfo_t, us: i32) -> Sender {
        from_number(signal, info.si_pid, us)
    }
}

/// Call it before the handlers are set.
pub(super) fn prepare() {
    #[cfg(target_os = "linux")]
    SHOWS_LITTLE.store(common::portable::is_wanted(), Ordering::Relaxed);
}

/// XNU (11417) notes one process for all of a process's signals: the one that runs when a signal is posted. For a key it
/// notes the terminal's program, for SIGCHLD the child. It notes 0 for faults, for the second of two pending signals, and
/// for what arrives while the receiver is stopped or blocks the signal. So the signal's number decides.
fn from_number(signal: i32, noted: i32, us: i32) -> Sender {
    const OF_KEYS: [i32; 5] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGHUP, libc::SIGWINCH];
    /// Timers, and failures of the launcher's own calls.
    const MAY_BE_KERNELS: [i32; 6] =
        [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGPIPE, libc::SIGXFSZ, libc::SIGXCPU];
    let is_no_other = noted == us || noted == 0;
    match signal {
        libc::SIGCHLD => Sender::Kernel,
        #[cfg(not(target_os = "linux"))]
        libc::SIGINFO => Sender::Unknown,
        _ if OF_KEYS.contains(&signal) => Sender::Unknown,
        _ if is_no_other && (is_fault(signal) || MAY_BE_KERNELS.contains(&signal)) => Sender::Kernel,
        _ => Sender::Process,
    }
}

pub(super) fn is_fault(signal: i32) -> bool {
    const FAULTS: [i32; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
    FAULTS.contains(&signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_system_notes_the_running_process_the_number_shows_the_sender() {
        let (us, other) = (10, 11);
        let table = [
            ("a child ended", libc::SIGCHLD, other, Sender::Kernel),
            ("Ctrl-C or kill", libc::SIGINT, other, Sender::Unknown),
            ("a window's size", libc::SIGWINCH, other, Sender::Unknown),
            ("a window that closes", libc::SIGHUP, other, Sender::Unknown),
            ("kill", libc::SIGTERM, other, Sender::Process),
            ("kill, the second of two pending signals", libc::SIGTERM, 0, Sender::Process),
            ("kill -CONT, to a stopped launcher", libc::SIGCONT, 0, Sender::Process),
            ("an alarm", libc::SIGALRM, 0, Sender::Kernel),
            ("a profiler's timer", libc::SIGPROF, us, Sender::Kernel),
            ("kill -ALRM", libc::SIGALRM, other, Sender::Process),
            ("a fault, or kill -SEGV", libc::SIGSEGV, 0, Sender::Kernel),
            ("a write to a closed pipe", libc::SIGPIPE, us, Sender::Kernel),
            ("raise", libc::SIGTERM, us, Sender::Process),
        ];
        for (name, signal, noted, expected) in table {
            assert_eq!(from_number(signal, noted, us), expected, "{name}");
            assert_eq!(Sender::from_byte(expected.byte()), expected);
        }
    }
}
