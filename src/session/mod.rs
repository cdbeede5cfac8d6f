//! What happened in a thread: turns, model responses, tool calls, told by the lines of its rollout.

mod call;
pub mod chain;
mod compactions;
mod copied;
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

use crate::rollout::path::thread_of;
use crate::rollout::reader;
use model::Session;
use reducer::SessionReducer;
use std::io;
use std::path::Path;

/// Who may still write to the rollout that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A turn without an end is still running.
    Alive,
    /// A turn without an end will never have one: it is lost.
    Gone,
}

/// Reads a whole rollout. Only opening and reading can fail: any bytes give a session.
///
/// A file whose `session_meta` is damaged is still the thread's that its name tells.
pub fn read(path: &Path, writer: Writer) -> io::Result<Session> {
    let mut lines = reader::open(path)?;
    let mut reducer = SessionReducer::default();
    while let Some(line) = lines.next_line()? {
        reducer.observe(line);
    }
    Ok(named_by(
        path,
        match writer {
            Writer::Alive => reducer.snapshot(),
            Writer::Gone => reducer.finish(),
        },
    ))
}

fn named_by(path: &Path, mut session: Session) -> Session {
    if let (true, Some(thread)) = (session.meta.id.is_empty(), thread_of(path)) {
        session.meta.id = thread.to_string();
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_first_line_is_the_threads_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path =
            folder.path().join("rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl");
        for (bytes, thread, bad_lines) in [
            (&b"{\"type\":\"session_me"[..], "01a202b6-a73e-7ee3-8243-251c871b1d4f", 1),
            (b"{\"type\":\"session_meta\",\"payload\":{\"id\":\"another\"}}\n", "another", 0),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let session = read(&path, Writer::Gone).unwrap();
            assert_eq!((&*session.meta.id, session.bad_lines), (thread, bad_lines));
        }
    }
}
