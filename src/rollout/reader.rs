//! The lines of a rollout, one at a time, however long the file is.

use super::path;
use ruzstd::decoding::StreamingDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Splits on LF only: text in a rollout may hold U+0085 and U+2028, which other splitters break at.
pub struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
}

/// The lines of a session file, compressed (`.jsonl.zst`) or not.
pub fn open(file: &Path) -> io::Result<Lines<Box<dyn Read>>> {
    let bytes = File::open(file)?;
    Ok(Lines::of(match path::is_compressed(file) {
        true => Box::new(StreamingDecoder::new(bytes).map_err(io::Error::other)?),
        false => Box::new(bytes),
    }))
}

impl<R: Read> Lines<R> {
    pub fn of(source: R) -> Lines<R> {
        Lines { source: BufReader::with_capacity(64 * 1024, source), line: Vec::new() }
    }

    /// The next line without its LF; None at the end. A last line without LF is a line too.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        if self.source.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut lines = Lines::of(text.as_bytes());
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
