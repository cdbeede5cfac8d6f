//! Many session files out of a few: each a copy with a thread id of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A copy at the path where Codex would have written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub thread: String,
    pub path: PathBuf,
}

/// `count` copies of these files in turn, below `sessions`, 100 to a day.
pub fn many(originals: &[PathBuf], sessions: &Path, count: usize) -> Vec<Copied> {
    (0..count).map(|number| copy(&originals[number % originals.len()], sessions, number)).collect()
}

/// The copy of this number; it replaces an earlier one.
pub fn copy(original: &Path, sessions: &Path, number: usize) -> Copied {
    let text = fs::read_to_string(original).unwrap();
    let folder = sessions.join(format!("2026/10/{:02}", 1 + number / 100 % 28));
    let thread = format!("01a1{number:04x}-0000-7000-8000-00000000{number:04x}");
    let path = folder.join(format!("rollout-2026-10-01T10-00-00-{thread}.jsonl"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(&path, text.replace(&thread_of(&text), &thread)).unwrap();
    Copied { thread, path }
}

/// The id in the first line.
fn thread_of(text: &str) -> String {
    let line = text.lines().next().expect("a session file has a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("a session file is JSON");
    line["payload"]["id"].as_str().expect("the first line tells the thread").to_owned()
}
