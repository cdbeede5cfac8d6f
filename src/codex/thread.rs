//! The name of a thread: the UUID that Codex gives each session.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A thread's UUID as Codex writes it: 36 characters, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ThreadId(String);

impl ThreadId {
    /// None unless the text has the shape of a UUID: it becomes part of file names.
    pub fn parse(text: &str) -> Option<ThreadId> {
        let dashes = [8, 13, 18, 23];
        let fits = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
        fits.then(|| ThreadId(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
