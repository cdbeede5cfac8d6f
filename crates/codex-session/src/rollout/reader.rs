//! The lines of a rollout, one at a time, however long the file is.

use super::path;
use memchr::memchr;
use ruzstd::decoding::StreamingDecoder;
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;
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
    // Kept, because a pipe cannot be rewound.
    let mut mark = Vec::with_capacity(2);
    (&mut bytes).take(2).read_to_end(&mut mark)?;
    let unit: Option<fn([u8; 2]) -> u16> = match &mark[..] {
        b"\xff\xfe" => Some(u16::from_le_bytes),
        b"\xfe\xff" => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = unit {
        return Ok(Lines::new(Box::new(Utf16 {
            source: BufReader::new(bytes),
            unit,
            text: VecDeque::new(),
        })));
    }
    if path::may_be_document(file) && bytes.metadata()?.len() <= LONGEST_LINE as u64 {
        let whole = fs::read(file)?;
        return Ok(Lines::new(Box::new(Cursor::new(lines_of_document(&whole).unwrap_or(whole)))));
    }
    let bytes = Cursor::new(mark).chain(bytes);
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

/// A session of the TypeScript Codex (April to June 2025), `rollout-<day>-<id>.json`: the same as a bare file.
#[derive(Deserialize)]
struct Document {
    /// `{"timestamp", "id", "instructions"}`.
    session: Value,
    /// Response items.
    items: Vec<Value>,
}

/// The document as the lines of a bare file; None for any other content.
fn lines_of_document(bytes: &[u8]) -> Option<Vec<u8>> {
    let document: Document = serde_json::from_slice(without_mark(bytes)).ok()?;
    let mut lines = Vec::with_capacity(bytes.len());
    for line in std::iter::once(&document.session).chain(&document.items) {
        serde_json::to_writer(&mut lines, line).ok()?;
        lines.push(b'\n');
    }
    Some(lines)
}

/// A line or document without its UTF-8 byte order mark. Codex writes none; editors and shells on Windows add them to
/// files that they copy. Concatenated files have marks in the middle, so any line may have one.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// UTF-16 units that are decoded at a time.
const CHUNK: usize = 4096;

/// Decodes UTF-16 to UTF-8. Unpaired surrogates become U+FFFD.
struct Utf16 {
    source: BufReader<File>,
    /// By the file's byte order.
    unit: fn([u8; 2]) -> u16,
    /// Decoded, not read yet.
    text: VecDeque<u8>,
}

impl Utf16 {
    /// None at the end of the file; an odd last byte is dropped.
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut bytes = [0; 2];
        match self.source.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Some((self.unit)(bytes))),
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut units = Vec::with_capacity(CHUNK);
        let is_half = |unit: &u16| (0xD800..0xDC00).contains(unit);
        while units.len() < CHUNK || units.last().is_some_and(is_half) {
            let Some(unit) = self.unit()? else { break };
            units.push(unit);
        }
        self.text = String::from_utf16_lossy(&units).into_bytes().into();
        Ok(())
    }
}

impl Read for Utf16 {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() {
            self.fill()?;
        }
        self.text.read(into)
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

    #[test]
    fn a_document_reads_as_the_lines_of_a_bare_file() {
        let document = "{\n  \"session\": {\"id\": \"t\", \"timestamp\": \"2025-05-01T10:00:00.000Z\"},\n  \"items\": [\n    {\"type\": \"message\"}\n  ]\n}";
        let lines = lines_of_document(document.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"id\":\"t\",\"timestamp\":\"2025-05-01T10:00:00.000Z\"}\n{\"type\":\"message\"}\n"
        );
        assert_eq!(lines_of_document(b"{\"type\":\"session_meta\",\"payload\":{}}\n{}\n"), None);
    }
}
