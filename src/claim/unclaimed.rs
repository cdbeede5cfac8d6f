//! Sessions that may belong to a launch or to another Codex: `unclaimed.json`, the last few of them.
//!
//! No launch claims them. `mlflow status` lists them, so that the user can import their own.

use super::launch_record::Launch;
use codex_session::thread::ThreadId;
use common::disk;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

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

impl Unclaimed {
    /// Why no launch claims it.
    pub fn why(&self) -> String {
        match self.of {
            0 | 1 => "nobody saw who wrote it, and it does not say where it was begun".to_owned(),
            of => format!("nobody saw who wrote it, and {of} sessions may be this launch's"),
        }
    }
}

/// The oldest first; empty where there is no file, or none that can be read.
pub fn all(file: &Path) -> Vec<Unclaimed> {
    fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Adds these, each thread once, and removes the oldest.
pub fn add(file: &Path, more: Vec<Unclaimed>) -> io::Result<()> {
    let _lock = disk::lock_within(&file.with_extension("lock"), PATIENCE).ok().flatten();
    let before = all(file);
    let mut kept = before.clone();
    kept.retain(|known| !more.iter().any(|new| new.thread == known.thread));
    kept.extend(more);
    kept.drain(..kept.len().saturating_sub(MOST));
    if kept == before { Ok(()) } else { disk::write_private(file, &serde_json::to_vec(&kept)?) }
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
        assert_eq!(all(&file), []);
        for number in 0..MOST + 3 {
            add(&file, vec![unclaimed(number, "first")]).unwrap();
        }
        add(&file, vec![unclaimed(10, "second")]).unwrap();
        let kept = all(&file);
        let expected = (3..MOST + 3).filter(|number| *number != 10).map(|number| unclaimed(number, "first"));
        assert_eq!(kept, expected.chain([unclaimed(10, "second")]).collect::<Vec<_>>());
        fs::write(&file, "damaged").unwrap();
        assert_eq!(all(&file), []);
    }
}
