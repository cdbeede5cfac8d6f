//! Why a session became no trace.

use crate::queue::put::PutError;
use crate::queue::spool::SpoolError;
use common::disk;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("cannot read {0}: {1}")]
    Rollout(PathBuf, io::Error),
    #[error("cannot write to {0}: {reason}", reason = disk::reason(.1))]
    Record(PathBuf, io::Error),
    #[error("cannot keep the salt of placeholders in {0}: {reason}", reason = disk::reason(.1))]
    Salt(PathBuf, io::Error),
    #[error(transparent)]
    Put(#[from] PutError),
}

impl AssembleError {
    /// A delivery frees the room that the trace needs.
    pub fn wants_room(&self) -> bool {
        matches!(self, AssembleError::Put(PutError::Spool(_, SpoolError::Full { .. })))
    }
}
