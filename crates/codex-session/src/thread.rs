//! The id of a thread: the UUID that Codex gives each session, or another program's id in its place.

use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// A longer id leaves no room for the affixes of a file name.
const LONGEST: usize = 128;

/// A thread's UUID as Codex writes it: 36 characters, lower case. Files that other programs wrote may have another id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ThreadId(String);

impl ThreadId {
    /// None unless the text has the shape of a UUID: the id becomes part of file names.
    pub fn parse(text: &str) -> Option<ThreadId> {
        let dashes = [8, 13, 18, 23];
        let fits = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
        fits.then(|| ThreadId(text.to_ascii_lowercase()))
    }

    /// From a session file's first line, a UUID or not; None for text that cannot be part of a file name.
    pub fn from_meta(text: &str) -> Option<ThreadId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits =
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.');
        ThreadId::parse(text).or_else(|| fits.then(|| ThreadId(text.to_owned())))
    }

    pub fn is_uuid(&self) -> bool {
        ThreadId::parse(&self.0).is_some()
    }

    /// From a session file's name: `rollout-<local time>-<thread>.jsonl`, after a rewind
    /// `rollout-<time>-<thread>_<rollout>.jsonl`, and its compressed twin. The TypeScript Codex of 2025 wrote
    /// `rollout-<day>-<thread>.json`.
    pub fn from_rollout_name(file: &Path) -> Option<ThreadId> {
        let is_document = file.extension().is_some_and(|extension| extension == "json");
        let time = if is_document { "2025-05-01-" } else { "2026-11-22T10-04-14-" };
        let rest = file.file_name()?.to_str()?.strip_prefix("rollout-")?.get(time.len()..)?;
        ThreadId::parse(rest.get(..36)?)
    }

    /// From a writer lock's name. The same folder contains `.coordination.lock`: only a thread's id counts.
    pub fn from_lock_name(name: &OsStr) -> Option<ThreadId> {
        ThreadId::parse(name.to_str()?.strip_suffix(".lock")?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";

    #[test]
    fn only_a_rollouts_name_has_a_thread() {
        let after_a_rewind =
            format!("rollout-2026-11-22T10-04-14-{THREAD}_01a202b6-a73e-7ee3-8243-251c871b1d40.jsonl");
        let table = [
            (format!("rollout-2026-11-22T10-04-14-{THREAD}.jsonl"), true),
            (format!("rollout-2026-11-22T10-04-14-{THREAD}.jsonl.zst"), true),
            (after_a_rewind, true),
            (format!("rollout-2025-05-01-{THREAD}.json"), true),
            ("rollout-2026-11-22T10-04-14-nonsense.jsonl".into(), false),
            ("rollout-ä.jsonl".into(), false),
            ("history.jsonl".into(), false),
        ];
        for (name, known) in table {
            let thread = known.then(|| ThreadId::parse(THREAD).unwrap());
            assert_eq!(ThreadId::from_rollout_name(Path::new(&name)), thread, "{name}");
        }
    }

    #[test]
    fn an_id_that_is_no_uuid_is_one_as_long_as_it_can_name_a_file() {
        let long = "a".repeat(129);
        let table = [
            (THREAD, true, true),
            ("sess-abc", true, false),
            ("run_1.2", true, false),
            ("", false, false),
            (".hidden", false, false),
            ("../up", false, false),
            ("two words", false, false),
            ("ü", false, false),
            (&long, false, false),
        ];
        for (text, is_one, is_uuid) in table {
            let thread = ThreadId::from_meta(text);
            assert_eq!(
                (thread.is_some(), thread.is_some_and(|id| id.is_uuid())),
                (is_one, is_uuid),
                "{text}"
            );
        }
    }

    #[test]
    fn only_a_threads_lock_names_a_thread() {
        assert_eq!(ThreadId::from_lock_name(OsStr::new(&format!("{THREAD}.lock"))), ThreadId::parse(THREAD));
        assert_eq!(ThreadId::from_lock_name(OsStr::new(".coordination.lock")), None);
        assert_eq!(ThreadId::from_lock_name(OsStr::new(THREAD)), None);
    }
}
