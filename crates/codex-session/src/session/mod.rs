//! What happened in a thread: turns, model responses and tool calls, reduced from the lines of its rollout.

mod call;
mod compactions;
mod events;
mod failures;
pub mod family;
mod inferences;
pub mod model;
mod origin;
mod outcome;
pub mod reducer;
mod shell;
pub mod tokens;
mod tools;
mod turns;

use crate::rollout::prompts::client_id_of;
use crate::rollout::reader::{self, LONGEST_LINE};
use crate::thread::ThreadId;
use model::Session;
use reducer::SessionReducer;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use turns::is_context;

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

/// A session file that Codex still writes to: each line is read once.
#[derive(Debug, Default)]
pub struct Tail {
    path: PathBuf,
    inode: u64,
    /// Of the first line that is not read yet.
    offset: u64,
    reducer: SessionReducer,
    /// The ids that clients gave to the prompts in it.
    prompts: BTreeSet<String>,
}

impl Tail {
    pub fn new(path: &Path) -> Tail {
        Tail { path: path.to_path_buf(), ..Tail::default() }
    }

    /// Reads the complete lines that were added since the last call. True if there were any.
    pub fn read(&mut self) -> io::Result<bool> {
        // Opening a pipe of that name would block.
        if !fs::metadata(&self.path)?.is_file() {
            return Ok(false);
        }
        let mut file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        // Codex rewrites a file to migrate it.
        if metadata.ino() != self.inode || metadata.len() < self.offset {
            *self = Tail { inode: metadata.ino(), ..Tail::new(&self.path) };
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut lines, mut line, before) = (BufReader::new(file), Vec::new(), self.offset);
        while lines.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)? > 0 {
            let mut length = line.len() as u64;
            let whole = match line.strip_suffix(b"\n") {
                Some(whole) => whole,
                // No line of Codex is so long: its beginning counts as a bad one.
                None if line.len() == LONGEST_LINE => {
                    length += lines.skip_until(b'\n')? as u64;
                    &line
                }
                None => break,
            };
            self.reducer.observe(whole);
            self.prompts.extend(client_id_of(whole));
            self.offset += length;
            line.clear();
        }
        Ok(self.offset > before)
    }

    /// How many bytes of the file were read.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// Whether there are turns and none of them runs.
    pub fn is_at_rest(&self) -> bool {
        self.reducer.is_at_rest()
    }

    pub fn prompts(&self) -> &BTreeSet<String> {
        &self.prompts
    }

    /// An open turn is running.
    pub fn session(&self) -> Session {
        self.session_with(Writer::Alive)
    }

    /// As [`read`] gives it, but without a last line that has no end yet.
    pub fn session_with(&self, writer: Writer) -> Session {
        let session = match writer {
            Writer::Alive => self.reducer.snapshot(),
            Writer::Gone => self.reducer.clone().finish(),
        };
        named_by(&self.path, session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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

    fn corpus() -> Vec<u8> {
        fs::read("../../tests/corpus/0.169.0/exec-json-resume-1.jsonl").unwrap()
    }

    #[test]
    fn a_file_that_grows_in_pieces_becomes_the_session_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.jsonl");
        let mut file = File::create(&path).unwrap();
        let mut tail = Tail::new(&path);
        // Pieces that end in the middle of lines.
        for piece in corpus().chunks(1_000) {
            file.write_all(piece).unwrap();
            tail.read().unwrap();
        }
        assert!(!tail.read().unwrap(), "nothing was added");
        assert_eq!(tail.session(), read(&path, Writer::Alive).unwrap());
        assert!(tail.is_at_rest());
    }

    #[test]
    fn an_open_turn_is_lost_without_a_writer_and_goes_on_when_the_file_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.jsonl");
        let whole = corpus();
        let lines = whole.split_inclusive(|byte| *byte == b'\n');
        // Up to the first line after the turn's beginning.
        let begun = lines.clone().position(|line| String::from_utf8_lossy(line).contains("task_started"));
        let half: usize = lines.take(begun.unwrap() + 2).map(<[u8]>::len).sum();
        fs::write(&path, &whole[..half]).unwrap();
        let mut tail = Tail::new(&path);
        tail.read().unwrap();
        let statuses = [Writer::Alive, Writer::Gone].map(|writer| {
            let session = tail.session_with(writer);
            assert_eq!(session, read(&path, writer).unwrap());
            session.turns.last().unwrap().status.clone()
        });
        assert_eq!(statuses, [model::TurnStatus::Running, model::TurnStatus::Lost]);
        File::options().append(true).open(&path).unwrap().write_all(&whole[half..]).unwrap();
        tail.read().unwrap();
        assert_eq!(tail.session_with(Writer::Gone), read(&path, Writer::Gone).unwrap());
    }

    #[test]
    fn a_session_rests_when_its_turn_has_ended_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.jsonl");
        let (mut tail, mut rests, mut so_far) = (Tail::new(&path), Vec::new(), Vec::new());
        for line in corpus().split_inclusive(|byte| *byte == b'\n') {
            so_far.extend_from_slice(line);
            fs::write(&path, &so_far).unwrap();
            tail.read().unwrap();
            rests.push(tail.is_at_rest());
        }
        let ends = rests.windows(2).filter(|pair| pair == &[false, true]).count();
        assert_eq!((ends, rests.last()), (tail.session().turns.len(), Some(&true)));
    }

    #[test]
    fn a_file_that_was_replaced_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.jsonl");
        fs::write(&path, corpus()).unwrap();
        let mut tail = Tail::new(&path);
        tail.read().unwrap();
        let other = fs::read("../../tests/corpus/0.169.0/exec-basic.jsonl").unwrap();
        fs::write(folder.path().join("new"), &other).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(tail.read().unwrap());
        assert_eq!(tail.session(), read(&path, Writer::Alive).unwrap());
    }
}
