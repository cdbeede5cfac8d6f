//! The failed tries of an entry: a small file next to it, which is removed with the entry.

use super::error::SpoolError;
use super::policy::{FailedTry, Pause};
use super::{Spool, sweep_besides};
use common::disk;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Extension of the file.
const TRIES: &str = "tries";

/// A file of another version, or an unreadable one, counts as absent: the entry counts as not tried.
const VERSION: u32 = 1;

/// A trace that failed this often while its target took others is quarantined. Fewer tries may all fall into
/// one hour in which a server is repaired; each further try costs a launch time.
pub const MOST_ALONE: u32 = 5;

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
        let count = before.map_or(0, |tries| tries.pause.failures).saturating_add(1);
        match against {
            Against::Target => {
                let FailedTry { at, reason, .. } = failed;
                let pause = Pause { failures: count, since: at, until: at, reason };
                EntryTries { pause, own, alone, open: false }
            }
            Against::Trace => {
                // The same pause as for a server with as many failures.
                let pause = Pause::with_failures(own.saturating_add(1), failed);
                EntryTries {
                    pause: Pause { failures: count, ..pause },
                    own: own.saturating_add(1),
                    alone,
                    open: true,
                }
            }
        }
    }

    /// Whether the trace alone failed often enough to be quarantined.
    pub fn are_enough(&self) -> bool {
        self.alone >= MOST_ALONE
    }
}

impl Spool {
    /// None before the first try.
    pub fn tries(path: &Path) -> Option<EntryTries> {
        let on_disk: TriesFile = serde_json::from_slice(&fs::read(file_of(path)).ok()?).ok()?;
        (on_disk.version == VERSION).then_some(on_disk.tries)
    }

    /// Writes the tries of an entry. The caller holds the lane's lock.
    pub fn note_tries(path: &Path, tries: &EntryTries) -> Result<(), SpoolError> {
        let on_disk = TriesFile { version: VERSION, tries: tries.clone() };
        let json = serde_json::to_vec(&on_disk).map_err(std::io::Error::from)?;
        Ok(disk::write_private(&file_of(path), &json)?)
    }

    pub(super) fn sweep_tries(&self) {
        sweep_besides(&self.folder, TRIES, |_| true);
    }
}

pub(super) fn file_of(entry: &Path) -> PathBuf {
    entry.with_extension(TRIES)
}

#[cfg(test)]
mod tests {
    use super::super::policy::Lane;
    use super::super::tests::{entry, failed};
    use super::*;
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn after(before: Option<&EntryTries>, against: Against, now: i64) -> EntryTries {
        EntryTries::after(before, against, failed(Lane::Remote, &format!("at {now}"), at(now)))
    }

    #[test]
    fn tries_add_up_and_only_the_traces_own_failures_pause_it() {
        let first = after(None, Against::Target, 10);
        let pause = |failures, since, until| Pause {
            failures,
            since: at(since),
            until: at(until),
            reason: format!("at {since}"),
        };
        assert_eq!(first, EntryTries { pause: pause(1, 10, 10), own: 0, alone: 0, open: false });
        let second = after(Some(&first), Against::Trace, 20);
        assert_eq!(second, EntryTries { pause: pause(2, 20, 50), own: 1, alone: 0, open: true });
        let third = after(Some(&EntryTries { alone: 1, ..second }), Against::Trace, 60);
        assert_eq!(third, EntryTries { pause: pause(3, 60, 120), own: 2, alone: 1, open: true });
        assert!(!third.are_enough());
        assert!(EntryTries { alone: MOST_ALONE, ..third }.are_enough());
    }

    #[test]
    fn tries_exist_as_long_as_their_entry() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let tries = after(None, Against::Trace, 20);
        for gone in [
            |path: &Path| Spool::remove(path).unwrap(),
            |path: &Path| Spool::remove_all([&path.to_owned()]).unwrap(),
            |path: &Path| fs::remove_file(path).unwrap(),
        ] {
            let path = spool.put(&entry("n"), at(1)).unwrap();
            assert_eq!(Spool::tries(&path), None);
            Spool::note_tries(&path, &tries).unwrap();
            spool.sweep();
            assert_eq!((Spool::tries(&path), spool.paths().len()), (Some(tries.clone()), 1));
            gone(&path);
            spool.sweep();
            assert_eq!(Spool::tries(&path), None);
        }
        let path = spool.put(&entry("n"), at(1)).unwrap();
        Spool::note_tries(&path, &tries).unwrap();
        let aside = spool.quarantine(&path, "refused").unwrap();
        // An entry that comes back from quarantine starts without tries.
        assert_eq!(Spool::tries(&spool.bring_back(&aside).unwrap()), None);
    }

    #[test]
    fn an_unreadable_file_counts_as_no_try() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let path = spool.put(&entry("n"), at(1)).unwrap();
        for text in ["", "{", "{\"version\":2,\"tries\":{}}"] {
            fs::write(file_of(&path), text).unwrap();
            assert_eq!(Spool::tries(&path), None);
        }
    }
}
