//! The file of a spool entry: a head that can be read alone, the trace, and a seal that proves it complete.
//!
//! Version 2 is three lines of JSON. The seal holds the length and the SHA-256 of the two lines before it, so
//! a reader detects an entry that lost its end or part of its middle. Head and seal are small; a trace can be
//! 100 MB, so neither writer nor reader copies the JSON of a large one in memory. Version 3 is the same for a target that versions of
//! codex-traced before it do not know. Version 1 is one JSON object; it is still read.

use crate::redact::Redacted;
use common::disk;
use common::printable::hex;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::Trace;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The newest version that is read. A reader leaves later versions alone.
const NEWEST: u32 = 3;

/// In bytes; longer than any head, since a target is a path or an address.
const LONGEST_HEAD: u64 = 64 << 10;

/// In bytes; longer than any seal.
const LONGEST_SEAL: u64 = 256;

/// In bytes; a trace up to this size is parsed from memory, in a third of the time.
const READ_AT_ONCE: u64 = 8 << 20;

/// Bytes per read or write.
const CHUNK: usize = 64 << 10;

/// Why the spool could not put, read or remove an entry.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{}", disk::reason(.0))]
    Io(#[from] io::Error),
    #[error("not a whole spool entry: {0}")]
    Torn(String),
    #[error("an entry of version {0}, which a later codex-traced wrote")]
    Version(u32),
    #[error("the spool is full: {held} MiB of {most} wait there")]
    Full { held: u64, most: u64 },
    #[error("another codex-traced is delivering")]
    Busy,
}

impl SpoolError {
    /// Another process delivered or dropped the entry.
    pub fn is_gone(&self) -> bool {
        matches!(self, SpoolError::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A trace and its destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub target: Target,
    pub experiment: Experiment,
    /// `Redacted` is the spool's only input, so no entry holds an unredacted trace.
    pub trace: Redacted,
}

/// What a reader knows of an entry without reading its trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub target: Target,
    pub experiment: Experiment,
    pub trace: TraceId,
    pub rank: Rank,
}

/// Orders the forms of one trace: a later end is newer, then more spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    pub ended_at: Timestamp,
    pub spans: usize,
}

#[derive(Serialize, Deserialize)]
struct HeadLine<H> {
    version: u32,
    head: H,
}

#[derive(Serialize, Deserialize)]
struct Seal {
    /// Length of everything before the seal.
    bytes: u64,
    sha256: String,
}

#[derive(Deserialize)]
struct Version1 {
    entry: Entry,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Head {
    /// Reads only the head of an entry, except in one of version 1.
    pub fn load(path: &Path) -> Result<Head, SpoolError> {
        match EntryFile::open(path)? {
            EntryFile::Sealed { head, .. } => Ok(head),
            EntryFile::Version1(entry) => Ok(entry.head()),
        }
    }
}

impl Entry {
    pub fn load(path: &Path) -> Result<Entry, SpoolError> {
        let (head, file, seal) = match EntryFile::open(path)? {
            EntryFile::Version1(entry) => return Ok(Entry { trace: entry.trace.into_storable(), ..*entry }),
            EntryFile::Sealed { head, file, seal } => (head, file, seal),
        };
        let mut body = BufReader::with_capacity(CHUNK, Digesting::new(file.take(seal.bytes)));
        body.skip_until(b'\n')?;
        let trace: Result<Redacted, _> = if seal.bytes <= READ_AT_ONCE {
            let mut json = Vec::new();
            body.read_to_end(&mut json)?;
            serde_json::from_slice(&json)
        } else {
            serde_json::from_reader(&mut body)
        };
        io::copy(&mut body, &mut io::sink())?;
        if body.into_inner().digest() != seal.sha256 {
            return Err(SpoolError::Torn("its content is not what was written".into()));
        }
        let trace = trace.map_err(|error| SpoolError::Torn(error.to_string()))?.into_storable();
        Ok(Entry { target: head.target, experiment: head.experiment, trace })
    }

    /// Returns the number of bytes written.
    pub(super) fn write(&self, file: impl Write) -> io::Result<u64> {
        let mut out = BufWriter::with_capacity(CHUNK, Digesting::new(file));
        let version = if self.target.is_append_only() { 3 } else { 2 };
        serde_json::to_writer(&mut out, &HeadLine { version, head: self.head() })?;
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut out, &self.trace)?;
        out.write_all(b"\n")?;
        let mut out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut seal = serde_json::to_vec(&Seal { bytes: out.bytes, sha256: out.digest() })?;
        seal.push(b'\n');
        out.inner.write_all(&seal)?;
        Ok(out.bytes + seal.len() as u64)
    }

    pub fn head(&self) -> Head {
        Head {
            target: self.target.clone(),
            experiment: self.experiment.clone(),
            trace: self.trace.id,
            rank: Rank::from_trace(&self.trace),
        }
    }
}

impl Rank {
    pub fn from_trace(trace: &Trace) -> Rank {
        Rank { ended_at: trace.ended_at, spans: trace.spans.len() }
    }
}

enum EntryFile {
    /// Head and seal are present; the file is positioned at its start.
    Sealed {
        head: Head,
        file: File,
        seal: Seal,
    },
    Version1(Box<Entry>),
}

impl EntryFile {
    fn open(path: &Path) -> Result<EntryFile, SpoolError> {
        let mut file = File::open(path)?;
        let mut line = Vec::new();
        BufReader::new((&file).take(LONGEST_HEAD)).read_until(b'\n', &mut line)?;
        file.rewind()?;
        if line.last() == Some(&b'\n') && version(&line)? > 1 {
            let head: HeadLine<Head> = serde_json::from_slice(&line).map_err(torn)?;
            let seal = seal(&mut file)?;
            file.rewind()?;
            return Ok(EntryFile::Sealed { head: head.head, file, seal });
        }
        let mut whole = Vec::new();
        file.read_to_end(&mut whole)?;
        match version(&whole)? {
            1 => {
                let whole: Version1 = serde_json::from_slice(&whole).map_err(torn)?;
                Ok(EntryFile::Version1(Box::new(whole.entry)))
            }
            _ => Err(SpoolError::Torn("it ends within its first line".into())),
        }
    }
}

/// The `version` of a JSON object in any format.
pub(crate) fn version_of(json: &[u8]) -> Result<u32, serde_json::Error> {
    serde_json::from_slice(json).map(|VersionOnly { version }| version)
}

/// A later version is an error: this reader cannot know its format.
fn version(json: &[u8]) -> Result<u32, SpoolError> {
    let version = version_of(json).map_err(torn)?;
    if version > NEWEST { Err(SpoolError::Version(version)) } else { Ok(version) }
}

/// The last line, if it begins at the offset that it records.
fn seal(file: &mut File) -> Result<Seal, SpoolError> {
    let cut = || SpoolError::Torn("its end is missing".into());
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_SEAL);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let line = end.strip_suffix(b"\n").ok_or_else(cut)?;
    let begin = line.iter().rposition(|byte| *byte == b'\n').ok_or_else(cut)? + 1;
    let seal: Seal = serde_json::from_slice(&line[begin..]).map_err(|_| cut())?;
    if seal.bytes == from + begin as u64 { Ok(seal) } else { Err(cut()) }
}

fn torn(error: serde_json::Error) -> SpoolError {
    SpoolError::Torn(error.to_string())
}

/// Counts and hashes the bytes that pass through.
struct Digesting<T> {
    inner: T,
    bytes: u64,
    hash: Sha256,
}

impl<T> Digesting<T> {
    fn new(inner: T) -> Digesting<T> {
        Digesting { inner, bytes: 0, hash: Sha256::new() }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.pass(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.pass(&into[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use std::fs;

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = entry("n").write(&mut bytes).unwrap();
        assert_eq!(length, bytes.len() as u64);
        bytes
    }

    fn read_back(bytes: &[u8]) -> Result<Entry, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let whole = Entry::load(file.path()).map_err(|error| error.to_string());
        if let Ok(entry) = &whole {
            assert_eq!(Head::load(file.path()).unwrap(), entry.head());
        }
        whole
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        assert_eq!(read_back(&written()), Ok(entry("n")));
    }

    #[test]
    fn an_entry_for_a_collector_has_a_version_that_older_programs_leave_alone() {
        let target = Target::Otlp("http://host:4318/v1/traces".to_owned());
        let entry = Entry { target, ..entry("n") };
        let mut bytes = Vec::new();
        entry.write(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"{\"version\":3,"));
        assert_eq!(read_back(&bytes), Ok(entry));
    }

    #[test]
    fn an_entry_of_the_first_version_is_still_read() {
        let old = format!(r#"{{"version":1,"entry":{}}}"#, serde_json::to_string(&entry("old")).unwrap());
        assert_eq!(read_back(old.as_bytes()), Ok(entry("old")));
    }

    #[test]
    fn an_entry_cut_anywhere_or_changed_anywhere_is_torn() {
        let whole = written();
        for end in 0..whole.len() {
            let why = read_back(&whole[..end]).unwrap_err();
            assert!(why.starts_with("not a whole spool entry: "), "cut at {end}: {why}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            // Changes a digit or a letter.
            changed[at] ^= 1;
            let why = read_back(&changed).unwrap_err();
            assert!(why.starts_with("not a whole spool entry: "), "changed at {at}: {why}");
        }
    }

    #[test]
    fn a_later_version_is_named_in_any_format() {
        for text in ["{\"version\":4,\"x\":{}}", "{\"version\":4}\nbytes\n"] {
            let why = read_back(text.as_bytes()).unwrap_err();
            assert_eq!(why, "an entry of version 4, which a later codex-traced wrote");
        }
    }
}
