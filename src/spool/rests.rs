//! The pauses of targets after failures: one small file per lane, written by the process that holds its lock.

use super::policy::Rest;
use crate::config::target::Target;
use crate::disk;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file of another version, or an unreadable one, counts as absent: targets are tried again.
const VERSION: u32 = 1;

#[derive(Debug)]
pub struct Rests {
    path: PathBuf,
    targets: Vec<Resting>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Resting {
    target: Target,
    rest: Rest,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    targets: Vec<Resting>,
}

impl Rests {
    pub(super) fn load(path: PathBuf) -> Rests {
        let targets = read(&path).unwrap_or_default();
        Rests { path, targets }
    }

    pub fn of(&self, target: &Target) -> Option<&Rest> {
        self.targets.iter().find(|resting| resting.target == *target).map(|resting| &resting.rest)
    }

    /// Writes the target's pause; None, once it took a trace, removes it.
    pub fn set(&mut self, target: &Target, rest: Option<Rest>) -> io::Result<()> {
        if rest.as_ref() == self.of(target) {
            return Ok(());
        }
        self.targets.retain(|resting| resting.target != *target);
        self.targets.extend(rest.map(|rest| Resting { target: target.clone(), rest }));
        if self.targets.is_empty() {
            return disk::remove(&self.path);
        }
        let on_disk = OnDisk { version: VERSION, targets: self.targets.clone() };
        disk::write_private(&self.path, &serde_json::to_vec(&on_disk)?)
    }

    /// Removes all pauses, so that every target is tried again.
    pub fn forget(&mut self) -> io::Result<()> {
        self.targets.clear();
        disk::remove(&self.path)
    }
}

fn read(path: &Path) -> Option<Vec<Resting>> {
    let on_disk: OnDisk = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
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
        let rest = Rest {
            failures: 1,
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            reason: "away".into(),
        };
        let mut rests = Rests::load(path.clone());
        rests.set(&one, Some(rest.clone())).unwrap();
        rests.set(&other, Some(rest.clone())).unwrap();
        rests.set(&one, None).unwrap();
        let mut again = Rests::load(path.clone());
        assert_eq!((again.of(&one), again.of(&other)), (None, Some(&rest)));
        again.set(&other, None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn an_unreadable_file_pauses_no_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rests");
        for text in ["", "{", "{\"version\":2,\"targets\":[]}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(Rests::load(path.clone()).targets, []);
        }
    }
}
