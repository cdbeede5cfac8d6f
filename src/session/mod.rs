//! What happened in a thread: turns, model responses, tool calls, told by the lines of its rollout.

pub mod model;
mod outcome;
pub mod reducer;
mod tools;
mod turns;

use crate::rollout::reader::Lines;
use model::Session;
use reducer::SessionReducer;
use std::fs::File;
use std::io;
use std::path::Path;

/// Who may still write to the rollout that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A turn without an end is still running.
    Alive,
    /// A turn without an end will never have one: it is lost.
    Gone,
}

/// Reads a whole rollout. Only opening and reading can fail: any bytes give a session.
pub fn read(path: &Path, writer: Writer) -> io::Result<Session> {
    let mut lines = Lines::of(File::open(path)?);
    let mut reducer = SessionReducer::default();
    while let Some(line) = lines.next_line()? {
        reducer.observe(line);
    }
    Ok(match writer {
        Writer::Alive => reducer.snapshot(),
        Writer::Gone => reducer.finish(),
    })
}
