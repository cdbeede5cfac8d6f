//! Sessions that may belong to a launch or to another Codex: `unclaimed.json`, the last few of them.
//!
//! No launch claims them. `mlflow status` lists them, so that the user can import their own.
//!
//! The file is a JSON array, as 0.1 wrote it; each element has its version, which 0.1 ignores. 0.1 takes a file in
//! another form for an empty one and replaces it.

use super::launch_record::Launch;
use crate::base::later_version::{LaterVersion, VersionField};
use codex_session::thread::ThreadId;
use common::disk;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

/// The version that is written. It rises when an older reader would misunderstand an element.
pub const VERSION: u32 = 1;

/// As many as a person reads.
const MOST: usize = 20;

/// A change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    pub thread: ThreadId,
    /// The launch that may have written it.
    pub launch_id: String,
    /// When that launch began.
    pub launched_at: Timestamp,
    /// Number of sessions that might have been the launch's.
    pub of: usize,
}

#[derive(Serialize)]
struct UnclaimedElement<'a> {
    version: u32,
    #[serde(flatten)]
    unclaimed: &'a Unclaimed,
}

impl Unclaimed {
    /// Why no launch claims it.
    pub fn why(&self) -> String {
        match self.of {
            0 | 1 => "nobody saw who wrote it, and it does not say where it was begun".to_owned(),
            of => format!("nobody saw who wrote it, and {of} sessions may be this launch's"),
        }
    }
}

/// The oldest first; empty where there is no file, or none that can be read. A file of a later version is an error.
pub fn all(file: &Path) -> Result<Vec<Unclaimed>, LaterVersion> {
    let Ok(bytes) = fs::read(file) else { return Ok(Vec::new()) };
    match LaterVersion::check(file, version_of(&bytes), VERSION) {
        Some(later) => Err(later),
        None => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
    }
}

/// The latest version in the array. A later format may be an object with a version of its own.
fn version_of(bytes: &[u8]) -> u32 {
    let elements: Vec<VersionField> = serde_json::from_slice(bytes)
        .or_else(|_| serde_json::from_slice(bytes).map(|object| vec![object]))
        .unwrap_or_default();
    elements.iter().map(|element| element.version).max().unwrap_or_default()
}

/// Adds these, each thread once, and removes the oldest. A file of a later version is an error, and stays as it is.
pub fn add(file: &Path, more: Vec<Unclaimed>) -> io::Result<()> {
    let _lock = disk::lock_within(&file.with_extension("lock"), PATIENCE).ok().flatten();
    let before = all(file)?;
    let mut kept = before.clone();
    kept.retain(|known| !more.iter().any(|new| new.thread == known.thread));
    kept.extend(more);
    kept.drain(..kept.len().saturating_sub(MOST));
    if kept == before {
        return Ok(());
    }
    let elements = kept.iter().map(|unclaimed| UnclaimedElement { version: VERSION, unclaimed });
    disk::write_private(file, &serde_json::to_vec(&elements.collect::<Vec<_>>())?)
}

/// Keeps these threads, which may be the launch's, and logs why no launch claims them.
pub fn keep(file: &Path, launch: &Launch, threads: &[ThreadId]) {
    if threads.is_empty() {
        return;
    }
    let unclaimed = |thread: &ThreadId| Unclaimed {
        thread: thread.clone(),
        launch_id: launch.id.clone(),
        launched_at: launch.started_at,
        of: threads.len(),
    };
    let more: Vec<Unclaimed> = threads.iter().map(unclaimed).collect();
    for one in &more {
        tracing::warn!("thread {} is left unclaimed by launch {}: {}", one.thread, launch.id, one.why());
    }
    if let Err(error) = add(file, more) {
        tracing::warn!("cannot keep which sessions are unclaimed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unclaimed(number: usize, launch: &str) -> Unclaimed {
        let thread = ThreadId::parse(&format!("01a202b6-a73e-7ee3-8243-{number:012x}")).unwrap();
        Unclaimed { thread, launch_id: launch.into(), launched_at: Timestamp::UNIX_EPOCH, of: 2 }
    }

    #[test]
    fn each_thread_is_kept_once_and_only_the_last_few_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unclaimed.json");
        assert_eq!(all(&file), Ok(vec![]));
        for number in 0..MOST + 3 {
            add(&file, vec![unclaimed(number, "first")]).unwrap();
        }
        add(&file, vec![unclaimed(10, "second")]).unwrap();
        let kept = all(&file).unwrap();
        let expected = (3..MOST + 3).filter(|number| *number != 10).map(|number| unclaimed(number, "first"));
        assert_eq!(kept, expected.chain([unclaimed(10, "second")]).collect::<Vec<_>>());
        fs::write(&file, "damaged").unwrap();
        assert_eq!(all(&file), Ok(vec![]));
    }

    #[test]
    fn a_file_of_a_later_version_is_reported_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unclaimed.json");
        add(&file, vec![unclaimed(1, "first")]).unwrap();
        let written = fs::read_to_string(&file).unwrap();
        assert!(written.starts_with("[{\"version\":1,\"thread\":"), "{written}");
        for later in [written.replacen('1', "2", 1), "{\"version\":2,\"x\":[]}".to_owned()] {
            fs::write(&file, &later).unwrap();
            let expected = LaterVersion::check(&file, 2, VERSION).unwrap();
            let error = add(&file, vec![unclaimed(2, "second")]).unwrap_err();
            assert_eq!(LaterVersion::from_io(&error), Some(&expected));
            assert_eq!(all(&file), Err(expected));
            assert_eq!(fs::read_to_string(&file).unwrap(), later);
        }
    }
}
