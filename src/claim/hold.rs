//! The lock on a launch record: only its holder finishes the launch.
//!
//! The kernel releases the lock when its process ends. Where locks do not work (some network file systems), two
//! processes may put the same trace into the spool, which leaves one trace.

use common::disk::private_options;
use std::fs::{File, TryLockError};
use std::path::Path;

#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Hold {
    /// None when another process finishes the launch, or has finished it.
    pub fn take(notes: &Path) -> Option<Hold> {
        let file = private_options().append(true).open(notes).ok()?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return None;
        }
        // The previous holder may have removed the file.
        notes.exists().then_some(Hold { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_has_one_to_finish_it_until_its_notes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("1-a.jsonl");
        assert!(Hold::take(&notes).is_none());
        File::create(&notes).unwrap();
        let held = Hold::take(&notes);
        assert!(held.is_some() && Hold::take(&notes).is_none());
        drop(held);
        assert!(Hold::take(&notes).is_some());
    }
}
