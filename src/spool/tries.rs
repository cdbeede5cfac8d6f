//! What became of the tries to deliver an entry: a small file beside it, which goes when the entry does.

use super::policy::{Lane, Rest};
use super::{Spool, SpoolError};
use crate::disk;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// How the file's name ends.
const TRIES: &str = "tries";

/// A file of another version, or none that can be read, is as good as none: the entry counts as not tried.
const VERSION: u32 = 1;

/// A trace that failed so often while its target took others is set aside. Fewer tries may all fall into one hour in
/// which a server is mended; each further one costs a launch its time.
pub const MOST_ALONE: u32 = 5;

/// The tries of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How many there were, the last one's time and reason, and until when launches leave the entry alone.
    pub rest: Rest,
    /// How many of them the trace itself may have failed.
    pub own: u32,
    /// How many it failed while its target took others, or showed that it was well.
    pub alone: u32,
    /// Whether nothing shows yet who was at fault the last time.
    pub open: bool,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    tries: Tries,
}

/// What a failed try counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Target,
    /// Its trace, as far as is known.
    Trace,
}

impl Tries {
    /// After one more try. A failure of the target is the target's to rest for.
    pub fn after(
        before: Option<&Tries>,
        lane: Lane,
        against: Against,
        reason: String,
        now: Timestamp,
        luck: f64,
    ) -> Tries {
        let (own, alone) = before.map_or((0, 0), |tries| (tries.own, tries.alone));
        let count = before.map_or(0, |tries| tries.rest.failures).saturating_add(1);
        match against {
            Against::Target => {
                let rest = Rest { failures: count, since: now, until: now, reason };
                Tries { rest, own, alone, open: false }
            }
            Against::Trace => {
                // As long as a server rests that failed as often.
                let pause = Rest::of_count(own.saturating_add(1), lane, reason, None, now, luck);
                Tries {
                    rest: Rest { failures: count, ..pause },
                    own: own.saturating_add(1),
                    alone,
                    open: true,
                }
            }
        }
    }

    /// Whether it failed alone so often that it is to be set aside.
    pub fn are_enough(&self) -> bool {
        self.alone >= MOST_ALONE
    }
}

impl Spool {
    /// None before the first try.
    pub fn tries(path: &Path) -> Option<Tries> {
        let on_disk: OnDisk = serde_json::from_slice(&fs::read(file_of(path)).ok()?).ok()?;
        (on_disk.version == VERSION).then_some(on_disk.tries)
    }

    /// Only for the one who delivers.
    pub fn note_tries(path: &Path, tries: &Tries) -> Result<(), SpoolError> {
        let on_disk = OnDisk { version: VERSION, tries: tries.clone() };
        let json = serde_json::to_vec(&on_disk).map_err(std::io::Error::from)?;
        Ok(disk::write_private(&file_of(path), &json)?)
    }

    pub(super) fn sweep_tries(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|extension| extension == TRIES);
            if is_ours && !path.with_extension("json").exists() {
                let _ = fs::remove_file(path);
            }
        }
    }
}

pub(super) fn file_of(entry: &Path) -> PathBuf {
    entry.with_extension(TRIES)
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn after(before: Option<&Tries>, against: Against, now: i64) -> Tries {
        Tries::after(before, Lane::Remote, against, format!("at {now}"), at(now), 1.0)
    }

    #[test]
    fn tries_add_up_and_only_the_traces_own_ones_make_it_rest() {
        let first = after(None, Against::Target, 10);
        let rest = |failures, since, until| Rest {
            failures,
            since: at(since),
            until: at(until),
            reason: format!("at {since}"),
        };
        assert_eq!(first, Tries { rest: rest(1, 10, 10), own: 0, alone: 0, open: false });
        let second = after(Some(&first), Against::Trace, 20);
        assert_eq!(second, Tries { rest: rest(2, 20, 50), own: 1, alone: 0, open: true });
        let third = after(Some(&Tries { alone: 1, ..second }), Against::Trace, 60);
        assert_eq!(third, Tries { rest: rest(3, 60, 120), own: 2, alone: 1, open: true });
        assert!(!third.are_enough());
        assert!(Tries { alone: MOST_ALONE, ..third }.are_enough());
    }

    #[test]
    fn tries_are_kept_as_long_as_their_entry() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().join("spool"));
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
        let aside = spool.put_aside(&path, "refused").unwrap();
        // What comes back begins anew.
        assert_eq!(Spool::tries(&spool.bring_back(&aside).unwrap()), None);
    }

    #[test]
    fn a_file_that_says_nothing_is_no_try() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().join("spool"));
        let path = spool.put(&entry("n"), at(1)).unwrap();
        for text in ["", "{", "{\"version\":2,\"tries\":{}}"] {
            fs::write(file_of(&path), text).unwrap();
            assert_eq!(Spool::tries(&path), None);
        }
    }
}
