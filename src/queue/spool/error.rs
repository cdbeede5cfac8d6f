//! Why the spool could not put, read or remove an entry.

use common::disk;
use std::io;

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
