//! Files whose format a later codex-traced made: they stay as they are.

use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// A file of a version that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} has version {version}, which a later codex-traced wrote; it stays as it is (update codex-traced to use it)",
    path.display()
)]
pub struct LaterVersion {
    path: PathBuf,
    version: u32,
}

/// The `version` of a JSON object; 0 where it has none, as in files of 0.1.
#[derive(Deserialize)]
pub struct VersionField {
    #[serde(default)]
    pub version: u32,
}

impl LaterVersion {
    /// None when the file's version is not above the newest known one.
    pub fn check(path: &Path, version: u32, newest: u32) -> Option<LaterVersion> {
        (version > newest).then(|| LaterVersion { path: path.to_owned(), version })
    }

    /// Reverses the conversion into an `io::Error`.
    pub fn from_io(error: &io::Error) -> Option<&LaterVersion> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<LaterVersion> for io::Error {
    fn from(later: LaterVersion) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, later)
    }
}
