//! Byte order marks. Codex writes none; editors and shells on Windows add them to files that they copy.

use std::fs::File;
use std::io::{self, BufReader, Read};

const UTF_8: &[u8] = b"\xef\xbb\xbf";

/// A line or document without its UTF-8 mark. Concatenated files have marks in the middle, so any line may have one.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(UTF_8).unwrap_or(bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// The first two bytes of a file.
pub(super) enum Beginning {
    /// A mark of UTF-16, already read.
    Utf16(ByteOrder),
    /// Other bytes, already read: a pipe cannot be rewound.
    Other(Vec<u8>),
}

impl Beginning {
    pub(super) fn read_from(file: &mut impl Read) -> io::Result<Beginning> {
        let mut mark = Vec::with_capacity(2);
        file.take(2).read_to_end(&mut mark)?;
        Ok(match &mark[..] {
            b"\xff\xfe" => Beginning::Utf16(ByteOrder::Little),
            b"\xfe\xff" => Beginning::Utf16(ByteOrder::Big),
            _ => Beginning::Other(mark),
        })
    }
}

/// UTF-16 units that are decoded at a time.
const CHUNK: usize = 4096;

/// Decodes UTF-16 to UTF-8. Unpaired surrogates become U+FFFD.
pub(super) struct Utf16 {
    source: BufReader<File>,
    order: ByteOrder,
    /// Decoded, not read yet.
    text: Vec<u8>,
}

impl Utf16 {
    pub(super) fn new(file: File, order: ByteOrder) -> Utf16 {
        Utf16 { source: BufReader::new(file), order, text: Vec::new() }
    }

    /// None at the end of the file; an odd last byte is dropped.
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut bytes = [0; 2];
        match self.source.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(Some(match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut units = Vec::with_capacity(CHUNK);
        let is_half = |unit: &u16| (0xD800..0xDC00).contains(unit);
        while units.len() < CHUNK || units.last().is_some_and(is_half) {
            let Some(unit) = self.unit()? else { break };
            units.push(unit);
        }
        let characters = char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER));
        self.text = characters.collect::<String>().into_bytes();
        Ok(())
    }
}

impl Read for Utf16 {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() {
            self.fill()?;
        }
        let size = into.len().min(self.text.len());
        into[..size].copy_from_slice(&self.text[..size]);
        self.text.drain(..size);
        Ok(size)
    }
}
