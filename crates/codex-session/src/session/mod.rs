//! What happened in a thread: turns, model responses and tool calls, reduced from the lines of its rollout.

mod call;
pub mod chain;
mod compactions;
mod copied;
pub mod discrepancy;
mod events;
mod failures;
pub mod family;
mod in_force;
mod inferences;
mod mcp;
pub mod model;
mod outcome;
pub mod reducer;
mod responses;
mod shell;
pub mod tail;
mod timeline;
mod tokens;
mod tools;
mod turns;
pub mod usage;
mod user_shell;

use crate::rollout::reader;
use crate::thread::ThreadId;
use model::Session;
use reducer::SessionReducer;
use std::io;
use std::path::Path;

/// Whether a process may still write to the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A turn without an end is still running.
    Alive,
    /// A turn without an end will never have one: it is lost.
    Gone,
}

/// Reads a whole rollout. Only opening and reading can fail: any bytes give a session.
///
/// The thread is the one in the file's name, even where `session_meta` names another.
pub fn read(path: &Path, writer: Writer) -> io::Result<Session> {
    let mut lines = reader::open(path)?;
    let mut reducer = SessionReducer::default();
    while let Some(line) = lines.next_line()? {
        reducer.observe(line);
    }
    let session = if writer == Writer::Alive { reducer.snapshot() } else { reducer.finish() };
    Ok(named_by(path, session))
}

/// Sets the thread's id from the file's name. A damaged `session_meta` has no id, and a fork of Codex 0.120 may keep
/// the id of its parent. Codex resumes a thread by the name of its file, and launches claim it by that name.
fn named_by(path: &Path, mut session: Session) -> Session {
    let thread = ThreadId::from_rollout_name(path);
    if let Some(thread) = thread.filter(|thread| !thread.as_str().eq_ignore_ascii_case(&session.meta.id)) {
        session.meta.id = thread.to_string();
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_the_one_in_the_files_name_also_where_the_first_line_differs() {
        let folder = tempfile::tempdir().unwrap();
        let thread = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
        let first = format!("rollout-2026-11-22T10-04-14-{thread}.jsonl");
        let rewound =
            format!("rollout-2026-11-22T10-04-14-{thread}_01a21d00-0000-7000-8000-000000000001.jsonl");
        let another = "{\"type\":\"session_meta\",\"payload\":{\"id\":\"another\"}}\n";
        let capitals = another.replace("another", &thread.to_uppercase());
        for (name, text, expected, bad_lines) in [
            (&*first, "{\"type\":\"session_me", thread, 1),
            (&first, another, thread, 0),
            (&first, &capitals, &thread.to_uppercase(), 0),
            (&rewound, another, thread, 0),
            ("kept.jsonl", another, "another", 0),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let session = read(&path, Writer::Gone).unwrap();
            assert_eq!((&*session.meta.id, session.bad_lines), (expected, bad_lines), "{name} {text}");
        }
    }
}
