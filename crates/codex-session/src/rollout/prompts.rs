//! Finds the threads that hold given prompts, by the id that the client gave to each prompt.

use super::completed_item::Item;
use super::event::Event;
use super::line::RolloutLine;
use super::path::files_below;
use super::rollout_item::RolloutItem;
use super::{path, reader};
use crate::thread::ThreadId;
use common::disk::entries;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use memchr::memmem;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::{DirEntry, File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The part of Codex's prompt history that is read, from its end: some thousand prompts.
const HISTORY_BYTES: u64 = 512 << 10;

#[derive(Debug, PartialEq, Eq)]
pub struct PromptMatches {
    pub threads: Vec<ThreadId>,
    /// Ids of prompts that no thread holds.
    pub missing: BTreeSet<String>,
}

/// The threads under `home` (Codex's home) that hold a prompt of these ids, written since `since`.
///
/// Likely places first: the threads that Codex's history names, the folders of the days since. Only if an
/// id is still missing, every file that was written since.
pub fn threads_holding(home: &Path, client_ids: &BTreeSet<String>, since: Timestamp) -> PromptMatches {
    let mut missing = client_ids.clone();
    let mut seen = BTreeSet::new();
    let mut threads = Vec::new();
    let places: [&dyn Fn() -> Vec<PathBuf>; 3] =
        [&|| of_history(home, since), &|| of_days(home, since), &|| of_tree(home, since)];
    for place in places {
        if missing.is_empty() {
            break;
        }
        for file in place() {
            let Some(thread) = ThreadId::from_rollout_name(&file).filter(|_| seen.insert(file.clone()))
            else {
                continue;
            };
            let held = held_by(&file, client_ids);
            if !held.is_empty() && !threads.contains(&thread) {
                threads.push(thread);
            }
            missing.retain(|id| !held.contains(id));
        }
    }
    PromptMatches { threads, missing }
}

fn held_by(file: &Path, client_ids: &BTreeSet<String>) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    let Ok(mut lines) = reader::open(file) else { return held };
    while let Ok(Some(line)) = lines.next_line() {
        if let Some(id) = client_id_of(line)
            && client_ids.contains(&id)
        {
            held.insert(id);
        }
    }
    held
}

/// The id of the prompt that the line holds, if it holds one.
pub fn client_id_of(line: &[u8]) -> Option<String> {
    // Few lines do, and this search is cheaper than parsing.
    memmem::find(line, b"\"client_id\"")?;
    let item = RolloutLine::parse(line)?.item;
    let RolloutItem::Event(Event::ItemCompleted(completed)) = item else { return None };
    if let Item::UserMessage(message) = completed.item { message.client_id } else { None }
}

/// `history.jsonl`, which a user may switch off: `{"session_id", "ts" (seconds), "text"}`.
fn of_history(home: &Path, since: Timestamp) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Prompt {
        session_id: String,
        ts: i64,
    }
    let tail = || {
        let mut file = File::open(home.join("history.jsonl")).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(HISTORY_BYTES))).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let tail = tail().unwrap_or_default();
    let prompts = tail.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let threads: BTreeSet<ThreadId> = prompts
        .filter(|prompt: &Prompt| prompt.ts >= since.as_second())
        .filter_map(|prompt| ThreadId::parse(&prompt.session_id))
        .collect();
    threads.iter().filter_map(|thread| path::find(home, thread)).collect()
}

fn of_days(home: &Path, since: Timestamp) -> Vec<PathBuf> {
    let first = since.to_zoned(TimeZone::system()).date();
    // A launch that lasts longer finds its later threads in the whole tree.
    let days = (-1..=2).filter_map(|days| first.checked_add(days.days()).ok());
    let folders = days.map(|day| path::day_folder(&home.join("sessions"), day));
    let files = folders.flat_map(|folder| entries(&folder));
    files.filter(|entry| is_written_since(entry, since)).map(|entry| entry.path()).collect()
}

/// Every session file of the home that was written since.
pub fn of_tree(home: &Path, since: Timestamp) -> Vec<PathBuf> {
    let folders = [home.join("sessions"), home.join("archived_sessions")];
    files_below(folders).filter(|entry| is_written_since(entry, since)).map(|entry| entry.path()).collect()
}

fn is_written_since(entry: &DirEntry, since: Timestamp) -> bool {
    let is_new = |file: Metadata| file.modified().is_ok_and(|at| at >= SystemTime::from(since));
    entry.metadata().is_ok_and(|file| file.is_file() && is_new(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    const OTHER: &str = "01a202b6-ffff-7ee3-8243-251c871b1d4f";

    fn rollout(home: &Path, folder: &str, thread: &str, ids: &[&str]) {
        let folder = home.join("sessions").join(folder);
        fs::create_dir_all(&folder).unwrap();
        let lines: Vec<String> = ids
            .iter()
            .map(|id| {
                format!(
                    r#"{{"type":"event_msg","payload":{{"type":"item_completed","item":{{"type":"UserMessage","client_id":"{id}","content":[]}}}}}}"#
                )
            })
            .collect();
        fs::write(folder.join(format!("rollout-2026-11-22T10-04-14-{thread}.jsonl")), lines.join("\n"))
            .unwrap();
    }

    #[test]
    fn prompts_lead_to_their_threads_in_any_folder() {
        let since = Timestamp::now() - 1.minute();
        let thread = ThreadId::parse(THREAD).unwrap();
        for folder in ["2026/11/22", "2001/01/01"] {
            let home = tempfile::tempdir().unwrap();
            rollout(home.path(), folder, THREAD, &["older launch", "ours"]);
            rollout(home.path(), folder, OTHER, &["another client's"]);
            let holding =
                |id: &str| threads_holding(home.path(), &BTreeSet::from([id.to_owned()]), since).threads;
            assert_eq!(holding("ours"), std::slice::from_ref(&thread), "{folder}");
            assert_eq!(holding("unknown"), []);
            let history = format!(r#"{{"session_id":"{THREAD}","ts":{},"text":"x"}}"#, since.as_second() + 1);
            fs::write(home.path().join("history.jsonl"), history).unwrap();
            assert_eq!(holding("ours"), std::slice::from_ref(&thread), "{folder} by history");
        }
    }

    #[test]
    fn a_file_that_was_not_written_since_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        rollout(home.path(), "2026/11/22", THREAD, &["ours"]);
        let later = Timestamp::now() + 1.minute();
        let ours = BTreeSet::from(["ours".to_owned()]);
        let held = threads_holding(home.path(), &ours, later);
        assert_eq!(held, PromptMatches { threads: Vec::new(), missing: ours });
    }
}
