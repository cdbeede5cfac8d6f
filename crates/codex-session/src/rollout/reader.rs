//! The lines of a rollout, one at a time, however long the file is.

use super::encoding::{Beginning, Utf16};
use super::{document, path};
use memchr::memchr;
use ruzstd::decoding::StreamingDecoder;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

/// In bytes. Longer than any line seen from Codex (a few MB, with images), and the most that is kept in memory of
/// a file that is no session file.
pub const LONGEST_LINE: usize = 32 << 20;

/// Splits on LF only: text in a rollout may hold U+0085 and U+2028, which other splitters break at.
pub struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
}

/// The lines of a session file: compressed (`.jsonl.zst`) or not, or one document (`.json`), converted to lines.
pub fn open(file: &Path) -> io::Result<Lines<Box<dyn Read>>> {
    let mut bytes = File::open(file)?;
    let begun = match Beginning::read_from(&mut bytes)? {
        Beginning::Utf16(order) => return Ok(Lines::new(Box::new(Utf16::new(bytes, order)))),
        Beginning::Other(begun) => begun,
    };
    if path::may_be_document(file) && bytes.metadata()?.len() <= LONGEST_LINE as u64 {
        let whole = fs::read(file)?;
        return Ok(Lines::new(Box::new(Cursor::new(document::as_lines(&whole).unwrap_or(whole)))));
    }
    let bytes = Cursor::new(begun).chain(bytes);
    Ok(Lines::new(match path::is_compressed(file) {
        true => Box::new(StreamingDecoder::new(bytes).map_err(io::Error::other)?),
        false => Box::new(bytes),
    }))
}

impl<R: Read> Lines<R> {
    pub fn new(source: R) -> Lines<R> {
        Lines { source: BufReader::with_capacity(64 * 1024, source), line: Vec::new() }
    }

    /// The next line without its LF; None at the end. A last line without LF is a line too. A line is
    /// cut at `LONGEST_LINE`: no JSON, and so a bad line.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut is_none = true;
        loop {
            let chunk = match self.source.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Ok((!is_none).then_some(&self.line));
            }
            is_none = false;
            let end = memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            self.line.extend_from_slice(&part[..part.len().min(LONGEST_LINE - self.line.len())]);
            let read = part.len() + usize::from(end.is_some());
            self.source.consume(read);
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields `x` so many times.
    struct Endless {
        left: u64,
    }

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = into.len().min(usize::try_from(self.left).unwrap());
            into[..size].fill(b'x');
            self.left -= size as u64;
            Ok(size)
        }
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_is_whole() {
        let mut lines = Lines::new(Endless { left: 200 << 20 }.chain(&b"\nnext\n"[..]));
        assert_eq!(lines.next_line().unwrap().map(<[u8]>::len), Some(LONGEST_LINE));
        assert_eq!(lines.next_line().unwrap(), Some(&b"next"[..]));
        assert_eq!(lines.next_line().unwrap(), None);
        assert!(lines.line.capacity() <= 2 * LONGEST_LINE, "{} bytes kept", lines.line.capacity());
    }

    #[test]
    fn a_document_is_opened_as_lines_and_lines_of_that_name_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rollout-2025-05-01-01a202b6-a73e-7ee3-8243-251c871b1d4f.json");
        for (bytes, first) in [
            ("{\"session\":{\"id\":\"t\"},\n\"items\":[]}", "{\"id\":\"t\"}"),
            ("{\"type\":\"x\"}\n{}\n", "{\"type\":\"x\"}"),
        ] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(open(&file).unwrap().next_line().unwrap(), Some(first.as_bytes()));
        }
    }

    #[test]
    fn a_file_in_utf_16_reads_as_the_same_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file =
            folder.path().join("rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl");
        let text = format!("{{\"a\":\"{}\"}}\n{{}}\n", "ä😀\u{2028}".repeat(3_000));
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> =
                "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect();
            fs::write(&file, bytes).unwrap();
            let mut lines = open(&file).unwrap();
            for line in text.lines() {
                assert_eq!(lines.next_line().unwrap(), Some(line.as_bytes()));
            }
            assert_eq!(lines.next_line().unwrap(), None);
        }
    }

    fn lines(text: &str) -> Vec<String> {
        let mut lines = Lines::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn only_a_line_feed_ends_a_line() {
        assert_eq!(lines("a\nb\r\u{85}\u{2028}c\n\nd"), ["a", "b\r\u{85}\u{2028}c", "", "d"]);
        assert_eq!(lines("a\n"), ["a"]);
        assert!(lines("").is_empty());
    }
}
