//! The end of the relay: the terminal is as it was, and the monitor has ended.

use super::RelayLoop;
use crate::pty::backchannel::{ToLauncher, ToMonitor};
use crate::pty::ready::is_ready;
use crate::signals::SignalPipe;
use common::portable;
use nix::poll::PollFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the launcher waits for the monitor's end, which takes a few system calls.
const PARTING: Duration = Duration::from_millis(200);

/// How often the launcher looks whether the monitor has ended, where it must not wait for it without a limit.
const LOOK: Duration = Duration::from_millis(1);

impl RelayLoop {
    pub(in crate::pty) fn finish(mut self) -> SignalPipe {
        self.terminal.restore();
        let _ = ToMonitor::Bye.send(&mut self.link);
        // Until its end, past a late answer. A monitor that was stopped stays behind.
        let until = Instant::now() + PARTING;
        let left = || until.saturating_duration_since(Instant::now());
        while is_ready(self.link.as_fd(), PollFlags::POLLIN, left()) {
            if ToLauncher::receive(&mut self.link).is_none() {
                // XNU (11417) lets a session's leader end only when its terminal's output was read, or the master is closed.
                #[cfg(not(target_os = "linux"))]
                drop(self.master.take());
                reap(self.monitor, left());
                break;
            }
        }
        self.signals
    }
}

/// The monitor has closed its end of the link.
fn reap(monitor: Pid, left: Duration) {
    // Linux closes a process's descriptors shortly before it can be reaped. On XNU (11417) a session's leader may wait in
    // between for a reader of its terminal.
    if cfg!(target_os = "linux") && !portable::is_wanted() {
        let _ = waitpid(monitor, None);
        return;
    }
    let until = Instant::now() + left;
    while waitpid(monitor, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive) && Instant::now() < until
    {
        std::thread::sleep(LOOK);
    }
}
