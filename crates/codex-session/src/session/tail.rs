//! A session file that Codex still writes to: each line is read once.

use super::model::Session;
use super::named_by;
use super::reducer::SessionReducer;
use crate::rollout::prompts::client_id_of;
use crate::rollout::reader::LONGEST_LINE;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

    /// Whether there are turns and none of them runs.
    pub fn is_at_rest(&self) -> bool {
        self.reducer.is_at_rest()
    }

    pub fn prompts(&self) -> &BTreeSet<String> {
        &self.prompts
    }

    pub fn session(&self) -> Session {
        named_by(&self.path, self.reducer.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Writer, read};
    use std::io::Write;

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
