//! A system whose processes cannot be seen: none is known, and a search for files is an error.

use super::{ProcessInfo, Processes, ThreadOf};
use codex_session::thread::ThreadId;
use std::io;

#[derive(Clone, Copy, Debug)]
pub(in crate::claim) struct LocalProcesses;

impl Processes for LocalProcesses {
    fn known(&self, _: u32) -> Option<ProcessInfo> {
        None
    }

    fn children(&self, _: u32) -> Vec<u32> {
        Vec::new()
    }

    fn all(&self) -> Vec<u32> {
        Vec::new()
    }

    fn written(&self, _: u32, _: ThreadOf) -> io::Result<Vec<ThreadId>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}
