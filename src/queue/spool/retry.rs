//! Retries: the pauses of targets and entries after failures, and the files that hold them.
//!
//! One file has the pauses of local targets and one those of remote targets: each is changed under a lock, since several
//! lanes are delivered at the same time. An entry that was tried has a small file next to it, removed with the entry. A
//! file of another version, or an unreadable one, counts as absent: then the target, or the entry, is tried again.

use common::disk;
use jiff::Timestamp;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Of both files.
const VERSION: u32 = 1;

/// Extension of the file of an entry's tries.
pub(super) const TRIES: &str = "tries";

/// A server that restarts usually needs less.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// A server that was away overnight gets its traces at most this long after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Limit of a server's `Retry-After`: a typing error there must not cost a week.
const LONGEST_ASKED: Duration = Duration::from_secs(DAY);

const DAY: u64 = 24 * 60 * 60;

/// A trace that failed this often while its target took others is quarantined. Fewer tries may all fall into
/// one hour in which a server is repaired; each further try costs a launch time.
pub const MOST_ALONE: u32 = 5;

/// The deliveries to all local targets, or to one remote target, one lock each: a server that hangs delays no trace of
/// another target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Local,
    Remote(Target),
}

impl Lane {
    pub fn from_target(target: &Target) -> Lane {
        if target.is_remote() { Lane::Remote(target.clone()) } else { Lane::Local }
    }
}

/// A target's pause after a failure: launches do not try it before `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Number of consecutive failures.
    pub failures: u32,
    pub since: Timestamp,
    pub until: Timestamp,
    pub reason: String,
}

/// A failed try, and what its pause depends on.
pub struct FailedTry {
    pub lane: Lane,
    pub reason: String,
    /// The pause that the target requested.
    pub asked: Option<Duration>,
    pub at: Timestamp,
    /// 0 to 1: spreads the retries of processes that failed at the same time.
    pub jitter: f64,
}

impl Pause {
    /// After one more failure.
    pub fn after(before: Option<&Pause>, failed: FailedTry) -> Pause {
        Pause::with_failures(before.map_or(0, |pause| pause.failures).saturating_add(1), failed)
    }

    /// After this number of failures.
    fn with_failures(failures: u32, failed: FailedTry) -> Pause {
        let FailedTry { lane, reason, asked, at, jitter } = failed;
        let until = at.saturating_add(pause(&lane, failures, asked, jitter)).unwrap_or(at);
        Pause { failures, since: at, until, reason }
    }

    /// Whether the pause lasts at `now`. It ends early if the clock went back, and after a day at most, so
    /// that a wrong clock or file cannot block a target forever.
    pub fn lasts(&self, now: Timestamp) -> bool {
        let at_most = self.since.saturating_add(LONGEST_ASKED).unwrap_or(self.since);
        self.since <= now && now < self.until.min(at_most)
    }
}

fn pause(lane: &Lane, failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    match lane {
        // Trying a file is cheap, and a user who repaired it expects the next launch to deliver.
        Lane::Local => Duration::ZERO,
        Lane::Remote(_) => {
            let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
            let usual = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            usual.max(asked.unwrap_or_default().min(LONGEST_ASKED))
        }
    }
}

/// How long to wait for another lane's change of the pauses, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pauses of local targets, or those of remote targets.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backoff {
    #[serde(skip)]
    path: PathBuf,
    version: u32,
    targets: Vec<PausedTarget>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PausedTarget {
    target: Target,
    #[serde(rename = "rest")]
    pause: Pause,
}

impl Backoff {
    pub(super) fn load(path: PathBuf) -> Backoff {
        let read: Option<Backoff> = read(&path).filter(|read: &Backoff| read.version == VERSION);
        Backoff { path, version: VERSION, targets: read.map(|read| read.targets).unwrap_or_default() }
    }

    pub fn get(&self, target: &Target) -> Option<&Pause> {
        self.targets.iter().find(|paused| paused.target == *target).map(|paused| &paused.pause)
    }

    /// Writes the target's pause; None, once it took a trace, removes it. The pauses of other targets are read again:
    /// another lane may have changed them.
    pub fn set(&mut self, target: &Target, pause: Option<Pause>) -> io::Result<()> {
        if pause.as_ref() == self.get(target) {
            return Ok(());
        }
        // Without locks, as on some network file systems, a lost pause means that a target is tried too early.
        let _lock = disk::lock_within(&self.path.with_extension("lock"), PATIENCE).ok().flatten();
        self.targets = Backoff::load(self.path.clone()).targets;
        self.targets.retain(|paused| paused.target != *target);
        self.targets.extend(pause.map(|pause| PausedTarget { target: target.clone(), pause }));
        if self.targets.is_empty() {
            return disk::remove(&self.path);
        }
        disk::write_private(&self.path, &serde_json::to_vec(self)?)
    }

    /// Removes all pauses, so that every target is tried again.
    pub fn clear(&mut self) -> io::Result<()> {
        self.targets.clear();
        disk::remove(&self.path)
    }
}

/// The tries of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryTries {
    /// Number of tries, time and reason of the last one, and until when launches do not try the entry.
    #[serde(rename = "rest")]
    pub pause: Pause,
    /// How many of them may be the trace's own failures.
    pub own: u32,
    /// How many failed while the target took other traces, or showed this trace when asked.
    pub alone: u32,
    /// Whether the cause of the last failure, trace or target, is still unknown.
    pub open: bool,
}

#[derive(Serialize, Deserialize)]
struct TriesFile {
    version: u32,
    tries: EntryTries,
}

/// What a failed try counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Target,
    /// The entry's trace, as far as is known.
    Trace,
}

impl EntryTries {
    /// After one more try. A failure of the target pauses the target, not the entry.
    pub fn after(before: Option<&EntryTries>, against: Against, failed: FailedTry) -> EntryTries {
        let (own, alone) = before.map_or((0, 0), |tries| (tries.own, tries.alone));
        let failures = before.map_or(0, |tries| tries.pause.failures).saturating_add(1);
        let (at, is_own) = (failed.at, against == Against::Trace);
        let own = own.saturating_add(u32::from(is_own));
        // The same pause as for a server with as many failures.
        let pause = Pause::with_failures(own, failed);
        let until = if is_own { pause.until } else { at };
        EntryTries { pause: Pause { failures, until, ..pause }, own, alone, open: is_own }
    }

    /// Whether the trace alone failed often enough to be quarantined.
    pub fn are_enough(&self) -> bool {
        self.alone >= MOST_ALONE
    }

    /// Those of an entry; None before the first try.
    pub fn load(entry: &Path) -> Option<EntryTries> {
        let read: TriesFile = read(&entry.with_extension(TRIES))?;
        (read.version == VERSION).then_some(read.tries)
    }

    /// Writes them next to the entry. The caller holds the lane's lock.
    pub fn write(&self, entry: &Path) -> io::Result<()> {
        let on_disk = TriesFile { version: VERSION, tries: self.clone() };
        disk::write_private(&entry.with_extension(TRIES), &serde_json::to_vec(&on_disk)?)
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests;
