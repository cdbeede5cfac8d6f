//! What a rollout cannot know about its thread: which launches wrote it, by what evidence, how they ended.
//!
//! One small file per thread, `threads/<thread>.json`. It is merged when a trace is built, so that a
//! later import of the same rollout does not erase it.

use crate::codex::thread::ThreadId;
use crate::launch::exit::ChildExit;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRecord {
    /// In the order in which they began.
    pub launches: Vec<LaunchRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    pub launch_id: String,
    pub attribution: Attribution,
    pub started_at: Timestamp,
    /// None when the launch itself died before it learned it.
    pub exit: Option<ChildExit>,
}

/// The evidence that made a rollout ours, strongest first (design §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// The interface's own log names a prompt that the thread holds.
    TuiLog,
    /// Codex's own process held the thread's writer lock.
    Held,
}

impl Attribution {
    pub fn as_str(self) -> &'static str {
        match self {
            Attribution::TuiLog => "tui_log",
            Attribution::Held => "held",
        }
    }
}

impl ThreadRecord {
    /// Empty when there is none. A record that cannot be read is an error: writing over it would lose it.
    pub fn load(folder: &Path, thread: &ThreadId) -> io::Result<ThreadRecord> {
        match fs::read(file_of(folder, thread)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ThreadRecord::default()),
            Err(error) => Err(error),
        }
    }

    /// Adds the launch, or replaces what was known of the same launch.
    pub fn add(&mut self, launch: LaunchRecord) {
        match self.launches.iter_mut().find(|known| known.launch_id == launch.launch_id) {
            Some(known) => *known = launch,
            None => {
                self.launches.push(launch);
                self.launches.sort_by(|a, b| (a.started_at, &a.launch_id).cmp(&(b.started_at, &b.launch_id)));
            }
        }
    }

    pub fn store(&self, folder: &Path, thread: &ThreadId) -> io::Result<()> {
        crate::disk::write_private(&file_of(folder, thread), &serde_json::to_vec(self)?)
    }
}

fn file_of(folder: &Path, thread: &ThreadId) -> PathBuf {
    folder.join(format!("{thread}.json"))
}
