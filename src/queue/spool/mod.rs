//! Durable queue of traces that wait for delivery. Every trace passes through it, but those that an import takes straight
//! to a local store (`queue::straight`).
//!
//! Invariants:
//! - An entry is complete or absent: the writer writes a temporary file, syncs it, renames it and syncs the
//!   folder. A reader reads the head without the trace, and detects by the seal an entry that the disk
//!   damaged.
//! - Entries never replace each other, and never change. Of the entries of one trace for one target only the
//!   newest is sent: newest by content (`Rank`), not by the clock. A form older than the target's is not
//!   sent.
//! - An entry is removed only after its target confirmed the trace and the receipt is written. A crash in
//!   between delivers the trace twice, which leaves one trace: ids are stable.
//! - An entry that its target refuses for good, or that is damaged, goes into quarantine with its reason, and
//!   leaves it only by a user's command. An entry of a later version stays in place. A form older than a
//!   quarantined one follows it.
//! - No entry blocks its target: after a failure that may be the trace's fault the drain tries the next one.
//!   Entries that failed before are tried last. A trace that fails repeatedly while its target takes others
//!   is quarantined.
//! - A full spool refuses new entries with an error; it never deletes entries to make room.
//! - A process that puts an entry delivers it, or leaves it to the process that holds the lock. The latter
//!   looks again after it released the lock, so no entry is left to a process that has already finished.

pub mod entry;
pub mod list;
mod quarantine;
pub mod retry;

pub use entry::SpoolError;

use common::disk;
use common::printable::hex;
use entry::{Entry, Head};
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use retry::{Backoff, Lane, TRIES};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// How long a user's command waits for other deliveries to end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Limit of all entries together, in bytes: some hundred thousand turns of usual size, and little on today's
/// disks. A spool reaches it only after a server was away for so long that the user should know.
const MOST_BYTES: u64 = 2 << 30;

#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
    most_bytes: u64,
}

impl Spool {
    pub fn new(folder: PathBuf) -> Spool {
        Spool { folder, most_bytes: MOST_BYTES }
    }

    /// Writes an entry durably: once this returns, it survives a crash of the process and of the machine.
    pub fn put(&self, entry: &Entry, now: Timestamp) -> Result<PathBuf, SpoolError> {
        let held = self.bytes();
        let full = || SpoolError::Full { held: held >> 20, most: self.most_bytes >> 20 };
        // Checked before the write too: an entry can be 100 MB, on a disk that may be full.
        if !has_room(held, 1, self.most_bytes) {
            return Err(full());
        }
        let mut aside = disk::aside(&self.folder)?;
        let size = entry.write(aside.as_file_mut())?;
        if !has_room(held, size, self.most_bytes) {
            return Err(full());
        }
        disk::sync(aside.as_file())?;
        // The clock may go back, so a quarantined entry may already have this name.
        let mut nanosecond = now.as_nanosecond();
        let path = loop {
            let name = format!("{nanosecond:020}-{}.json", entry.trace.id);
            nanosecond += 1;
            if self.quarantine_folder().join(&name).exists() {
                continue;
            }
            let path = self.folder.join(name);
            match aside.persist_noclobber(&path) {
                Ok(_) => break path,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => aside = error.file,
                Err(error) => return Err(error.error.into()),
            }
        };
        disk::sync_folder(&self.folder)?;
        Ok(path)
    }

    /// Entries that wait, oldest first; empty also when there is no folder.
    pub fn paths(&self) -> Vec<PathBuf> {
        entries_in(&self.folder)
    }

    /// Size of all entries, including those in quarantine.
    pub fn bytes(&self) -> u64 {
        let all = self.paths().into_iter().chain(self.quarantined());
        all.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
    }

    /// The trace's id, from the entry's file name.
    pub fn trace_of(path: &Path) -> Option<TraceId> {
        name_of(path)?.1.parse().ok()
    }

    /// When the entry was put, from its file name.
    pub fn put_at(path: &Path) -> Option<Timestamp> {
        Timestamp::from_nanosecond(name_of(path)?.0.parse().ok()?).ok()
    }

    /// Removes what a crash left: half-written files, reasons without a quarantined entry, and tries of
    /// entries that are gone.
    pub fn sweep(&self) {
        disk::sweep(&self.folder);
        sweep_besides(&self.folder, TRIES, |_| true);
        self.sweep_quarantine();
    }

    pub fn remove(path: &Path) -> Result<(), SpoolError> {
        Spool::remove_all([&path.to_owned()])
    }

    /// Removes the entries with one sync per folder. Each entry goes before its tries, which mean nothing
    /// without it.
    pub fn remove_all<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), SpoolError> {
        let with_tries = paths.into_iter().flat_map(|path| [path.clone(), path.with_extension(TRIES)]);
        Ok(disk::remove_all(with_tries)?)
    }

    /// The pauses of the lane's target, and of others of its kind. The caller may change that of a target only while it
    /// holds the target's lane.
    pub fn backoff(&self, lane: &Lane) -> Backoff {
        let [local, remote] = self.all_pauses();
        if *lane == Lane::Local { local } else { remote }
    }

    /// The pauses of local targets, and those of remote targets.
    pub fn all_pauses(&self) -> [Backoff; 2] {
        [".rests-local", ".rests-remote"].map(|name| Backoff::load(self.folder.join(name)))
    }

    /// The lanes of the entries that wait; the local one first.
    pub fn lanes(&self) -> Vec<Lane> {
        let mut lanes = vec![Lane::Local];
        for path in self.paths() {
            let Ok(head) = Head::load(&path) else { continue };
            let lane = Lane::from_target(&head.target);
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        lanes
    }

    /// Locks all lanes for a user's command. None while another process delivers.
    pub fn lock_all(&self) -> io::Result<Option<Vec<disk::FileLock>>> {
        let lanes = self.lanes();
        let locks = lanes.iter().map(|lane| self.lock(lane, PATIENCE).transpose());
        locks.collect::<Option<io::Result<_>>>().transpose()
    }

    /// Locks a lane for delivery. None while another process delivers there.
    pub fn lock(&self, lane: &Lane, patience: Duration) -> io::Result<Option<disk::FileLock>> {
        let name = match lane {
            Lane::Local => ".lock".to_owned(),
            Lane::Remote(target) => {
                let digest = Sha256::digest(target.to_string().as_bytes());
                format!(".lock-remote-{}", hex(&digest[..8]))
            }
        };
        disk::lock_within(&self.folder.join(name), patience)
    }
}

fn entries_in(folder: &Path) -> Vec<PathBuf> {
    // Files with other names are not entries.
    let paths = disk::entries(folder).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| Spool::trace_of(path).is_some()).collect();
    paths.sort();
    paths
}

/// Removes files with this extension whose entry is gone.
fn sweep_besides(folder: &Path, extension: &str, is_old: impl Fn(&fs::DirEntry) -> bool) {
    for file in disk::entries(folder) {
        let path = file.path();
        let is_beside = path.extension().is_some_and(|found| found == extension);
        if is_beside && is_old(&file) && !path.with_extension("json").exists() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether another entry of this size fits; all in bytes.
fn has_room(held: u64, size: u64, most: u64) -> bool {
    held.saturating_add(size) <= most
}

/// The two parts of an entry's file name: when it was put, and its trace.
fn name_of(path: &Path) -> Option<(&str, &str)> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.split_once('-')
}

#[cfg(test)]
pub(in crate::queue) mod tests {
    use super::retry::FailedTry;
    use super::*;
    use crate::redact::Redacted;
    use mlflow_store::target::{Experiment, Target};
    use mlflow_store::trace::{Trace, TraceState};

    pub(in crate::queue) fn entry(name: &str) -> Entry {
        Entry {
            target: Target::Sqlite("/x.db".into()),
            experiment: Experiment::Name("e".into()),
            trace: Redacted::with_built_in_rules(Trace {
                id: TraceId([7; 16]),
                name: name.into(),
                state: TraceState::Ok,
                started_at: Timestamp::UNIX_EPOCH,
                ended_at: Timestamp::UNIX_EPOCH,
                request_preview: None,
                response_preview: None,
                context: Default::default(),
                metadata: [].into(),
                tags: [].into(),
                spans: Vec::new(),
            }),
        }
    }

    pub(super) fn remote() -> Lane {
        Lane::Remote(Target::Http("http://a".into()))
    }

    pub(super) fn failed(lane: Lane, reason: &str, at: Timestamp) -> FailedTry {
        FailedTry { lane, reason: reason.to_owned(), asked: None, at, jitter: 1.0 }
    }

    #[test]
    fn entries_come_back_as_they_were_put_ordered_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        assert!(spool.paths().is_empty());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let second = spool.put(&entry("second"), at("2026-11-22T10:00:00.000000002Z")).unwrap();
        let first = spool.put(&entry("first"), at("2026-11-22T10:00:00.000000001Z")).unwrap();
        assert_eq!(spool.paths(), [first.clone(), second]);
        assert_eq!(Entry::load(&first).unwrap(), entry("first"));
        assert_eq!(Spool::put_at(&first), Some(at("2026-11-22T10:00:00.000000001Z")));
        Spool::remove(&first).unwrap();
        assert_eq!(spool.paths().len(), 1);
    }

    #[test]
    fn two_forms_of_a_trace_put_at_the_same_moment_are_two_entries() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().into());
        for name in ["one", "two"] {
            spool.put(&entry(name), Timestamp::UNIX_EPOCH).unwrap();
        }
        let names: Vec<_> =
            spool.paths().iter().map(|path| Entry::load(path).unwrap().trace.name.clone()).collect();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn a_full_spool_refuses_an_entry_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().into());
        spool.put(&entry("fits"), Timestamp::UNIX_EPOCH).unwrap();
        let size = spool.bytes();
        for most in [size, 2 * size - 1] {
            let limited = Spool { most_bytes: most, ..spool.clone() };
            let why = limited.put(&entry("fits"), Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(matches!(why, SpoolError::Full { .. }), "{why}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        Spool { most_bytes: 2 * size, ..spool }.put(&entry("fits"), Timestamp::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn the_spool_is_full_when_one_more_would_not_fit() {
        let table =
            [(0, 10, 10, true), (1, 10, 10, false), (u64::MAX, 1, u64::MAX, true), (9, u64::MAX, 10, false)];
        for (held, size, most, expected) in table {
            assert_eq!(has_room(held, size, most), expected, "{held} {size} {most}");
        }
    }

    #[test]
    fn only_one_process_delivers_in_a_lane_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().into());
        let lock = |lane: &Lane| spool.lock(lane, Duration::ZERO).unwrap();
        let remote = |url: &str| Lane::Remote(Target::Http(url.into()));
        let (local, one) = (lock(&Lane::Local), lock(&remote("http://a")));
        assert!(local.is_some() && lock(&Lane::Local).is_none() && one.is_some());
        assert!(lock(&remote("http://a")).is_none() && lock(&remote("http://b")).is_some());
        drop(local);
        assert!(lock(&Lane::Local).is_some());
        assert!(spool.paths().is_empty(), "the lock is no entry");
    }
}
