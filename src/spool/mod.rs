//! The durable queue between a trace and its target: the only road a trace takes.
//!
//! Invariants:
//! - An entry is whole or it is not there: written aside, synced, renamed, the folder synced.
//! - Entries never replace each other. Of those of one trace for one target only the newest is sent: newest by
//!   what the trace holds, not by the clock.
//! - It is removed only after its target said that it has the trace. A crash in between delivers it
//!   twice, which leaves one trace: ids are stable.
//! - What cannot be read (torn by the disk, written by a later version) stays where it is.

use crate::config::target::{Experiment, Target};
use crate::disk;
use crate::trace::ids::TraceId;
use crate::trace::model::Trace;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the entry's form on disk. A reader leaves other versions alone.
const VERSION: u32 = 1;

/// Nobody writes an entry for so long.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// A trace and where it is to go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub target: Target,
    pub experiment: Experiment,
    pub trace: Trace,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    entry: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a spool entry: {0}")]
    Torn(serde_json::Error),
    #[error("an entry of version {0}, which a later codex-traced wrote")]
    Version(u32),
}

#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

/// Held by the one who delivers.
#[derive(Debug)]
pub struct DrainLock {
    _file: File,
}

impl Spool {
    pub fn at(folder: PathBuf) -> Spool {
        Spool { folder }
    }

    /// Once this returns the entry survives our death and the machine's.
    pub fn put(&self, entry: &Entry, now: Timestamp) -> Result<PathBuf, SpoolError> {
        let path = self.folder.join(format!("{:020}-{}.json", now.as_nanosecond(), entry.trace.id));
        let bytes = serde_json::to_vec(&Versioned { version: VERSION, entry }).map_err(io::Error::from)?;
        disk::write_private(&path, &bytes)?;
        Ok(path)
    }

    /// Oldest first; empty also when there is no folder.
    pub fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_entry = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.ends_with(".json") && !name.starts_with('.')
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_entry).collect();
        paths.sort();
        paths
    }

    /// As the entry's name tells.
    pub fn trace_of(path: &Path) -> Option<TraceId> {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
        name.split_once('-')?.1.parse().ok()
    }

    /// Removes what a crash left half written.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_aside = entry.file_name().as_encoded_bytes().starts_with(disk::ASIDE.as_bytes());
            let age =
                entry.metadata().and_then(|file| file.modified()).map(|at| at.elapsed().unwrap_or_default());
            if is_aside && age.is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub fn load(path: &Path) -> Result<Entry, SpoolError> {
        let bytes = fs::read(path)?;
        let VersionOnly { version } = serde_json::from_slice(&bytes).map_err(SpoolError::Torn)?;
        if version != VERSION {
            return Err(SpoolError::Version(version));
        }
        let whole: Versioned<Entry> = serde_json::from_slice(&bytes).map_err(SpoolError::Torn)?;
        Ok(whole.entry)
    }

    pub fn remove(path: &Path) -> Result<(), SpoolError> {
        Ok(disk::remove(path)?)
    }

    /// None while another process delivers.
    pub fn try_lock(&self) -> io::Result<Option<DrainLock>> {
        disk::make_private_folder(&self.folder)?;
        let file = disk::private_options().write(true).create(true).open(self.folder.join(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DrainLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::model::TraceState;

    fn entry(name: &str) -> Entry {
        Entry {
            target: Target::Sqlite("/x.db".into()),
            experiment: Experiment::Name("e".into()),
            trace: Trace {
                id: TraceId([7; 16]),
                name: name.into(),
                state: TraceState::Ok,
                started_at: Timestamp::UNIX_EPOCH,
                ended_at: Timestamp::UNIX_EPOCH,
                request_preview: None,
                response_preview: None,
                metadata: [].into(),
                tags: [].into(),
                spans: Vec::new(),
            },
        }
    }

    #[test]
    fn entries_come_back_as_they_were_put_and_in_that_order() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().join("spool"));
        assert!(spool.paths().is_empty());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let second = spool.put(&entry("second"), at("2026-11-22T10:00:00.000000002Z")).unwrap();
        let first = spool.put(&entry("first"), at("2026-11-22T10:00:00.000000001Z")).unwrap();
        assert_eq!(spool.paths(), [first.clone(), second]);
        assert_eq!(Spool::load(&first).unwrap(), entry("first"));
        Spool::remove(&first).unwrap();
        assert_eq!(spool.paths().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-torn.json");
        for (text, why) in [
            (
                "{\"version\":1,\"entry\":{",
                "not a spool entry: EOF while parsing an object at line 1 column 22",
            ),
            ("{\"version\":2,\"entry\":{}}", "an entry of version 2, which a later codex-traced wrote"),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Spool::load(&path).unwrap_err().to_string(), why);
            assert_eq!(Spool::at(folder.path().into()).paths(), [path.as_path()]);
        }
    }

    #[test]
    fn only_one_delivers_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().into());
        let lock = spool.try_lock().unwrap();
        assert!(lock.is_some() && spool.try_lock().unwrap().is_none());
        drop(lock);
        assert!(spool.try_lock().unwrap().is_some());
        assert!(spool.paths().is_empty(), "the lock is no entry");
    }
}
