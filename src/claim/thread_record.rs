//! Facts about a thread that its rollout does not contain: which launches wrote it, by what evidence, how they
//! ended, and where its trace goes.
//!
//! One small file per thread, `threads/<thread>.json`. It is merged when a trace is built, so that a later
//! import of the same rollout does not erase it. It is changed under a lock, for two launches may end at once.
//!
//! The file is a JSON object with its version. 0.1 wrote no version and ignores one; its records differ in nothing
//! else.

use super::launch_record::Destination;
use super::verdict::Attribution;
use crate::base::later_version::{LaterVersion, VersionField};
use crate::settings::launch_context::LaunchContext;
use crate::settings::modes::{Content, Granularity};
use codex_session::thread::ThreadId;
use common::disk;
use jiff::Timestamp;
use launch::exit::ChildExit;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The version that is written. It rises when an older reader would misunderstand a record.
pub const VERSION: u32 = 1;

/// A change takes milliseconds, on a busy disk seconds. A process that was stopped with the lock delays others
/// for no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRecord {
    /// In the order in which they began.
    pub launches: Vec<LaunchEntry>,
    /// Where the first trace went; a setting that changed later applies to new threads. None before that, and
    /// in records written before this field existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// The strictest mode of its launches: content recorded under it is never sent later.
    #[serde(default, skip_serializing_if = "Content::is_full")]
    pub content: Content,
    /// The granularity of its first launch. None in records written before this field existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<Granularity>,
    /// Sampling left it out: its traces are not made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_left_out: bool,
    /// How the thread was found if no launch wrote it. Not stored: each caller sets it.
    #[serde(skip)]
    pub found: Option<Attribution>,
}

#[derive(Serialize)]
struct ThreadRecordFile<'a> {
    version: u32,
    #[serde(flatten)]
    record: &'a ThreadRecord,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchEntry {
    pub launch_id: String,
    pub attribution: Attribution,
    pub started_at: Timestamp,
    /// None when the launcher died before it learned the exit.
    pub exit: Option<ChildExit>,
    #[serde(default, skip_serializing_if = "LaunchContext::is_empty")]
    pub context: LaunchContext,
}

impl ThreadRecord {
    /// The evidence of the launch that wrote it last, else how it was found.
    pub fn attribution(&self) -> Option<Attribution> {
        self.launches.last().map(|launch| launch.attribution).or(self.found)
    }

    /// Empty when there is no file. A record that cannot be read, or is of a later version, is an error: replacing
    /// it would lose its content.
    pub fn load(folder: &Path, thread: &ThreadId) -> io::Result<ThreadRecord> {
        let path = file_of(folder, thread);
        match fs::read(&path) {
            Ok(bytes) => match later_version(&path, &bytes) {
                Some(later) => Err(later.into()),
                None => Ok(serde_json::from_slice(&bytes)?),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ThreadRecord::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes the record and returns it. One that cannot be read is an error, and stays unchanged.
    pub fn update(
        folder: &Path,
        thread: &ThreadId,
        change: impl FnOnce(&mut ThreadRecord),
    ) -> io::Result<ThreadRecord> {
        // Without locks (a network file system), one of two launches that end at once may be lost.
        let _lock = disk::lock_within(&folder.join(".lock"), PATIENCE).ok().flatten();
        let before = ThreadRecord::load(folder, thread)?;
        let mut record = before.clone();
        change(&mut record);
        if record != before {
            record.store(folder, thread)?;
        }
        Ok(record)
    }

    /// Adds the launch, or replaces the entry of the same launch.
    pub fn add(&mut self, launch: LaunchEntry) {
        match self.launches.iter_mut().find(|known| known.launch_id == launch.launch_id) {
            Some(known) => *known = launch,
            None => {
                self.launches.push(launch);
                self.launches.sort_by(|a, b| (a.started_at, &a.launch_id).cmp(&(b.started_at, &b.launch_id)));
            }
        }
    }

    fn store(&self, folder: &Path, thread: &ThreadId) -> io::Result<()> {
        let on_disk = ThreadRecordFile { version: VERSION, record: self };
        disk::write_private(&file_of(folder, thread), &serde_json::to_vec(&on_disk)?)
    }
}

/// How many threads sampling left out.
pub fn count_left_out(folder: &Path) -> usize {
    let threads = disk::entries(folder).filter_map(|entry| fs::read(entry.path()).ok());
    let records = threads.filter_map(|bytes| serde_json::from_slice::<ThreadRecord>(&bytes).ok());
    records.filter(|record| record.is_left_out).count()
}

/// The records that a later codex-traced wrote.
pub fn later_versions(folder: &Path) -> Vec<LaterVersion> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let records = entries.map(|entry| entry.path());
    let records = records.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    records.filter_map(|path| later_version(&path, &fs::read(&path).ok()?)).collect()
}

fn later_version(path: &Path, record: &[u8]) -> Option<LaterVersion> {
    let VersionField { version } = serde_json::from_slice(record).ok()?;
    LaterVersion::check(path, version, VERSION)
}

pub(crate) fn file_of(folder: &Path, thread: &ThreadId) -> PathBuf {
    folder.join(format!("{thread}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread() -> ThreadId {
        ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap()
    }

    fn launch(id: usize) -> LaunchEntry {
        let started_at = Timestamp::from_second(id as i64).unwrap();
        LaunchEntry {
            launch_id: id.to_string(),
            attribution: Attribution::Held,
            started_at,
            exit: None,
            context: LaunchContext::default(),
        }
    }

    #[test]
    fn launches_that_end_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (folder_of, thread_of) = (folder.path(), &thread());
        std::thread::scope(|scope| {
            for id in 0..16 {
                let add = move |record: &mut ThreadRecord| record.add(launch(id));
                scope.spawn(move || ThreadRecord::update(folder_of, thread_of, add).unwrap());
            }
        });
        let record = ThreadRecord::load(folder.path(), &thread()).unwrap();
        assert_eq!(record.launches, (0..16).map(launch).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_without_a_destination_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let old = r#"{"launches":[{"launch_id":"7","attribution":"held","started_at":"1970-01-01T00:00:07Z","exit":null}]}"#;
        fs::write(file_of(folder.path(), &thread()), old).unwrap();
        let record = ThreadRecord::load(folder.path(), &thread()).unwrap();
        assert_eq!(record, ThreadRecord { launches: vec![launch(7)], ..ThreadRecord::default() });
        assert_eq!(serde_json::to_string(&record).unwrap(), old);
    }

    #[test]
    fn a_record_has_its_version_and_one_of_a_later_version_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), &thread());
        ThreadRecord::update(folder.path(), &thread(), |record| record.add(launch(1))).unwrap();
        let written = fs::read_to_string(&file).unwrap();
        assert!(written.starts_with("{\"version\":1,\"launches\":[{"), "{written}");
        assert_eq!(later_versions(folder.path()), []);
        for later in [written.replacen('1', "2", 1), "{\"version\":2,\"x\":{}}".to_owned()] {
            fs::write(&file, &later).unwrap();
            let error = ThreadRecord::update(folder.path(), &thread(), |record| record.add(launch(2)));
            let expected = LaterVersion::check(&file, 2, VERSION).unwrap();
            assert_eq!(LaterVersion::from_io(&error.unwrap_err()), Some(&expected));
            assert_eq!(later_versions(folder.path()), [expected]);
            assert_eq!(fs::read_to_string(&file).unwrap(), later);
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), &thread());
        fs::write(&file, "{\"launches\":7}").unwrap();
        assert!(ThreadRecord::update(folder.path(), &thread(), |record| record.add(launch(1))).is_err());
        assert_eq!(fs::read_to_string(file).unwrap(), "{\"launches\":7}");
    }
}
