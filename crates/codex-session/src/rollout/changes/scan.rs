//! Polling: compares the length and time of all session files.

use crate::rollout::path::{is_compressed, is_rollout, non_uuid_id};
use crate::rollout::walk::files_below;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub struct Scan {
    folder: PathBuf,
    known: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl Scan {
    pub(super) fn begin(folder: &Path) -> Scan {
        Scan { folder: folder.to_path_buf(), known: look(folder) }
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        let before = std::mem::replace(&mut self.known, look(&self.folder));
        let changed = self.known.iter().filter(|(path, now)| before.get(*path) != Some(now));
        changed.map(|(path, _)| path.clone()).collect()
    }
}

fn look(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let live = files_below([folder.to_path_buf()]).filter(|entry| is_live(&entry.path()));
    let states = live.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some((entry.path(), (metadata.len(), modified)))
    });
    states.collect()
}

/// Whether Codex may write to the file.
pub(super) fn is_live(path: &Path) -> bool {
    (is_rollout(path) || non_uuid_id(path).is_some()) && !is_compressed(path)
}

/// All session files below the folder that Codex may write to.
pub(super) fn all(folder: &Path) -> impl Iterator<Item = PathBuf> {
    look(folder).into_keys()
}
