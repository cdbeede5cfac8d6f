//! Finds out whether a signal was sent to the launcher alone or to its whole group; the signal itself does not
//! show it.
//!
//! A second process in the group, the signal probe, receives and answers. If the probe received the signal too, it was
//! sent to the group, and the command, which is in the group, has received it. The kernel delivers a group's
//! signal to its youngest process first, so the probe has it before the launcher.
//!
//! The probe also sees the launcher's death by SIGKILL, which the launcher cannot forward.

use super::detached::keep_only;
use super::fork::{self, fork};
use super::process::Process;
use super::shown_name::show_as;
use super::signals::{self, Arrived, Sender};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The probe answers within a few system calls, unless it was stopped, or the machine is so busy that it waits for a
/// core: at load 50 on 2 cores for more than 0.4 s. Waited for twice; until then the launcher relays nothing.
const PATIENCE_MS: u16 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    UsAlone,
    Group,
}

/// None when the fork failed: then each signal from a process counts as sent to the launcher alone.
pub(super) struct SignalProbe(Option<ProbeProcess>);

struct ProbeProcess {
    id: Pid,
    link: UnixStream,
}

impl SignalProbe {
    /// Starts the probe, which ends with the launcher, however that ends. It kills the process `ward` when the
    /// launcher was killed. Call it while the process has one thread.
    pub(super) fn start(name: &CStr, ward: Option<u32>) -> SignalProbe {
        let process = spawn_process(name, ward);
        if let Err(error) = &process {
            tracing::warn!("no signal probe, so signals for the group are not recognised: {error}");
        }
        SignalProbe(process.ok())
    }

    /// Call it for each signal that arrives: the probe forgets a signal once it was asked about it.
    pub(super) fn reach_of(&mut self, arrived: Arrived) -> Reach {
        let seen = self.0.as_mut().map(|process| process.has_seen(arrived.signal));
        if let Some(Err(error)) = &seen {
            tracing::warn!("the signal probe does not answer: {error}");
            self.stop();
        }
        reach(seen.and_then(Result::ok), arrived, leads_session())
    }

    fn stop(&mut self) {
        if let Some(process) = self.0.take() {
            // Closing the link is not enough: the probe may be stopped.
            let _ = signals::send(process.id.as_raw(), libc::SIGKILL);
            while waitpid(process.id, None) == Err(Errno::EINTR) {}
        }
    }
}

/// `seen`: whether the probe has received the signal too; None without its answer.
fn reach(seen: Option<bool>, Arrived { signal, from }: Arrived, leads_session: bool) -> Reach {
    match (seen, from) {
        (Some(true), _) => Reach::Group,
        // When a window closes, the kernel signals the session's leader only; a key signals the group.
        (Some(false), Sender::Kernel) if signal == libc::SIGHUP => Reach::UsAlone,
        (Some(false), Sender::Unknown | Sender::Process) => Reach::UsAlone,
        // No answer within the limit: the kernel signals a hang-up to the leader only, so pass it to the command.
        (None, Sender::Kernel | Sender::Unknown) if signal == libc::SIGHUP && leads_session => Reach::UsAlone,
        // Without an answer it counts as a key, which is more frequent than `kill`.
        (_, Sender::Kernel | Sender::Unknown) => Reach::Group,
        (None, Sender::Process) => Reach::UsAlone,
    }
}

impl Drop for SignalProbe {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ProbeProcess {
    fn has_seen(&mut self, signal: i32) -> io::Result<bool> {
        self.link.write_all(&[signal as u8])?;
        let mut watched = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        // If both processes are stopped and continued, the time is over before the probe could answer: wait a
        // second time.
        for _ in 0..2 {
            while poll(&mut watched, PollTimeout::from(PATIENCE_MS)) == Err(Errno::EINTR) {}
            if watched[0].any() == Some(true) {
                break;
            }
        }
        if watched[0].any() != Some(true) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = [0];
        self.link.read_exact(&mut answer)?;
        Ok(answer[0] == 1)
    }
}

fn spawn_process(name: &CStr, ward: Option<u32>) -> io::Result<ProbeProcess> {
    let (link, probes_link) = UnixStream::pair()?;
    // With its signals blocked, the probe receives from its first instruction on.
    let Some(id) = fork()? else {
        show_as(name);
        let ward = ward.map(Process::from_id);
        let answered = keep_only(OwnedFd::from(probes_link)).map(answer_questions);
        // A launcher that ends by itself has ended the probe before.
        if let (Ok(()), Some(ward)) = (answered, ward.filter(Process::is_alive)) {
            let _ = signals::send(ward.id.cast_signed(), libc::SIGKILL);
        }
        fork::end(0)
    };
    Ok(ProbeProcess { id, link })
}

fn answer_questions(mut link: impl Read + Write) {
    let mut question = [0];
    while link.read_exact(&mut question).is_ok() {
        let seen = is_waiting(question[0].into());
        if link.write_all(&[u8::from(seen)]).is_err() {
            return;
        }
    }
}

/// Whether this blocked signal is pending; takes it.
fn is_waiting(signal: i32) -> bool {
    let mut taken = 0;
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    #[expect(unsafe_code, reason = "nix has no names for signals of real time")]
    // SAFETY: every set is local and initialised by the call before it is read.
    unsafe {
        libc::sigpending(set.as_mut_ptr());
        if libc::sigismember(set.as_ptr(), signal) != 1 {
            return false;
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::sigwait(set.as_ptr(), &raw mut taken) == 0
    }
}

fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_decides_and_without_its_answer_the_sender() {
        use Reach::{Group, UsAlone};
        use Sender::{Kernel, Process, Unknown};
        let table = [
            (Some(true), Kernel, libc::SIGINT, Group),
            (Some(true), Process, libc::SIGTERM, Group),
            (Some(true), Unknown, libc::SIGINT, Group),
            // The kernel's own signals reach each process by themselves.
            (Some(false), Kernel, libc::SIGALRM, Group),
            (Some(false), Kernel, libc::SIGHUP, UsAlone),
            (Some(false), Process, libc::SIGTERM, UsAlone),
            (Some(false), Unknown, libc::SIGINT, UsAlone),
            (Some(false), Unknown, libc::SIGHUP, UsAlone),
            (None, Kernel, libc::SIGINT, Group),
            (None, Unknown, libc::SIGINT, Group),
            (None, Unknown, libc::SIGWINCH, Group),
            (None, Process, libc::SIGTERM, UsAlone),
        ];
        for (seen, from, signal, expected) in table {
            for leads_session in [false, true] {
                assert_eq!(
                    reach(seen, Arrived { signal, from }, leads_session),
                    expected,
                    "{seen:?} {from:?} {signal}"
                );
            }
        }
        for from in [Kernel, Unknown] {
            let hang_up = Arrived { signal: libc::SIGHUP, from };
            assert_eq!([false, true].map(|leads| reach(None, hang_up, leads)), [Group, UsAlone]);
        }
    }
}
