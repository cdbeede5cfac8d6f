//! The pauses of targets after failures: one small file per lane, written by the process that holds its lock.

use super::policy::Pause;
use common::disk;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file of another version, or an unreadable one, counts as absent: targets are tried again.
const VERSION: u32 = 1;

#[derive(Debug)]
pub struct Backoff {
    path: PathBuf,
    targets: Vec<PausedTarget>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PausedTarget {
    target: Target,
    #[serde(rename = "rest")]
    pause: Pause,
}

#[derive(Serialize, Deserialize)]
struct BackoffFile {
    version: u32,
    targets: Vec<PausedTarget>,
}

impl Backoff {
    pub(super) fn load(path: PathBuf) -> Backoff {
        let targets = read(&path).unwrap_or_default();
        Backoff { path, targets }
    }

    pub fn get(&self, target: &Target) -> Option<&Pause> {
        self.targets.iter().find(|paused| paused.target == *target).map(|paused| &paused.pause)
    }

    /// Writes the target's pause; None, once it took a trace, removes it.
    pub fn set(&mut self, target: &Target, pause: Option<Pause>) -> io::Result<()> {
        if pause.as_ref() == self.get(target) {
            return Ok(());
        }
        self.targets.retain(|paused| paused.target != *target);
        self.targets.extend(pause.map(|pause| PausedTarget { target: target.clone(), pause }));
        if self.targets.is_empty() {
            return disk::remove(&self.path);
        }
        let on_disk = BackoffFile { version: VERSION, targets: self.targets.clone() };
        disk::write_private(&self.path, &serde_json::to_vec(&on_disk)?)
    }

    /// Removes all pauses, so that every target is tried again.
    pub fn clear(&mut self) -> io::Result<()> {
        self.targets.clear();
        disk::remove(&self.path)
    }
}

fn read(path: &Path) -> Option<Vec<PausedTarget>> {
    let on_disk: BackoffFile = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (on_disk.version == VERSION).then_some(on_disk.targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_pause_is_kept_until_its_target_took_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rests");
        let one = Target::Http("http://a".into());
        // Another workspace is another target.
        let other = one.clone().with_workspace(Some("team".to_owned()));
        let pause = Pause {
            failures: 1,
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            reason: "away".into(),
        };
        let mut backoff = Backoff::load(path.clone());
        backoff.set(&one, Some(pause.clone())).unwrap();
        backoff.set(&other, Some(pause.clone())).unwrap();
        backoff.set(&one, None).unwrap();
        let mut again = Backoff::load(path.clone());
        assert_eq!((again.get(&one), again.get(&other)), (None, Some(&pause)));
        again.set(&other, None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn an_unreadable_file_pauses_no_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rests");
        for text in ["", "{", "{\"version\":2,\"targets\":[]}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(Backoff::load(path.clone()).targets, []);
        }
    }
}
