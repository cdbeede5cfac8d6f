//! Limits work after the command's end. The process ends at once when the time is over or the user asks, so the
//! work must be safe to cut off at any point.

use super::exit::ChildExit;
use super::signals::SignalPipe;
use super::timeout::timeout;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Instant;

/// Why work was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Time,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Running,
    Done,
}

/// Does the work. If the work is cut off, `cut_off` runs and returns how to end.
pub fn guard<T>(
    signals: &SignalPipe,
    until: Instant,
    cut_off: impl FnOnce(Cut) -> ChildExit + Send,
    work: impl FnOnce() -> T,
) -> T {
    let Ok((done, still_at_work)) = io::pipe() else { return work() };
    let progress = Mutex::new(Progress::Running);
    thread::scope(|scope| {
        let watcher = || {
            let Some(cut) = wait(&done, signals, until) else { return };
            let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            // The lock stays held until the process ends: work that is done by now cannot be reported as cut off.
            if *progress == Progress::Running {
                cut_off(cut).end();
            }
        };
        // If no thread can start, the work has no limit.
        let _ = Builder::new().spawn_scoped(scope, watcher);
        let result = work();
        *progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::Done;
        drop(still_at_work);
        result
    })
}

/// None when the work is done.
fn wait(done: &PipeReader, signals: &SignalPipe, until: Instant) -> Option<Cut> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut watched = [done.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut watched, timeout(Some(left)));
        if watched[0].any() == Some(true) {
            return None;
        }
        if signals.is_asked_to_end() {
            return Some(Cut::Asked);
        }
        if left.is_zero() {
            return Some(Cut::Time);
        }
    }
}
