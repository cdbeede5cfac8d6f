//! The launch's tracer, as the launcher sees it: a process to start, to wake and to wait for.

use crate::cli;
use launch::detached::{Detached, Received};
use launch::memory::Memory;
use launch::signals::SignalPipe;
use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The tracer's name in process lists.
pub const NAME: &CStr = c"codex-traced";

/// What the tracer sends to the launcher first. A sentence for the user may follow.
pub const BEGUN: &[u8] = b"begun\n";

/// What the tracer sends last, when its work is done or left to a later process.
pub const DONE: &[u8] = b"\ndone\n";

pub struct TracerProcess(Detached);

/// What the launcher learned of the tracer's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TracerWork {
    /// With a sentence for the user, if there is one.
    Done(Option<String>),
    /// It still works.
    GoesOn,
    /// It ended before its work was done.
    Died,
}

impl TracerProcess {
    /// `watch`: the observer's descriptor, if it has one. The tracer keeps a copy, so that the launcher can close it at once:
    /// the kernel takes up to 25 ms to end an inotify instance. Call it while the process has one thread.
    pub fn start(launch: &str, memory: Memory, watch: Option<BorrowedFd<'_>>) -> io::Result<TracerProcess> {
        let words = ["mlflow", cli::FINISH, launch].map(OsString::from);
        Detached::start(NAME, words.into(), memory, watch).map(TracerProcess)
    }

    /// The launch record has something new.
    pub fn wake(&mut self) {
        self.0.send(b"\n");
    }

    /// The launch record has Codex's end. A job waits for the delivery no longer than this.
    pub fn end(&mut self, limit: Option<Duration>) {
        let limit = limit.map(|limit| limit.as_millis().to_string()).unwrap_or_default();
        self.0.send(format!("{limit}\n").as_bytes());
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }

    pub fn wait(self, until: Instant, signals: &SignalPipe) -> TracerWork {
        TracerWork::from_received(self.0.receive(until, signals))
    }
}

/// In the tracer: the limit in what the launcher has sent. None where it waits for no delivery.
pub fn limit_in(message: &[u8]) -> Option<Duration> {
    let lines = std::str::from_utf8(message).ok()?.lines();
    lines.filter_map(|line| line.parse().ok()).next_back().map(Duration::from_millis)
}

impl TracerWork {
    fn from_received(received: Received) -> TracerWork {
        match received {
            Received::SoFar(_) => TracerWork::GoesOn,
            Received::All(words) => {
                let sentence = words.strip_prefix(BEGUN).and_then(|rest| rest.strip_suffix(DONE));
                match sentence {
                    None => TracerWork::Died,
                    Some([]) => TracerWork::Done(None),
                    Some(sentence) => TracerWork::Done(Some(String::from_utf8_lossy(sentence).into_owned())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tracer_sent_shows_how_far_it_came() {
        let table = [
            ("", TracerWork::Died),
            ("begun\n", TracerWork::Died),
            ("begun\nkept on di", TracerWork::Died),
            ("begun\n\ndone\n", TracerWork::Done(None)),
            ("begun\nkept\n  hint\ndone\n", TracerWork::Done(Some("kept\n  hint".into()))),
        ];
        for (sent, work) in table {
            assert_eq!(TracerWork::from_received(Received::All(sent.into())), work, "{sent:?}");
            assert_eq!(TracerWork::from_received(Received::SoFar(sent.into())), TracerWork::GoesOn);
        }
    }

    #[test]
    fn the_launcher_sends_a_jobs_limit_after_empty_lines() {
        let table = [("", None), ("\n\n", None), ("\n\n30000\n", Some(30_000)), ("0\n", Some(0))];
        for (sent, limit) in table {
            assert_eq!(limit_in(sent.as_bytes()), limit.map(Duration::from_millis), "{sent:?}");
        }
    }
}
