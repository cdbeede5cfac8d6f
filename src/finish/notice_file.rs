//! The notice of a finisher that no launcher waited for: the next launcher prints it.

use crate::base::notice::Notices;
use crate::base::paths::Paths;
use crate::queue::spool;
use common::disk;
use launch::detached;
use std::fs;

/// Leaves the sentence in the file, then sends it to the launcher, if that still waits. Without a sentence the file of
/// an earlier one is removed once the spool is empty.
pub(super) fn leave(paths: &Paths, sentence: Option<&str>) {
    match sentence {
        Some(sentence) => {
            // The file comes first: the launcher removes it after it has printed the sentence.
            if let Err(error) = disk::write_private(&paths.notice(), sentence.as_bytes()) {
                tracing::warn!("cannot leave a notice for the next launch: {error}");
            }
            detached::report(sentence.as_bytes());
        }
        None if spool(paths).paths().is_empty() => _ = fs::remove_file(paths.notice()),
        None => {}
    }
}

/// Prints what an earlier finisher left, unless the spool was emptied since.
pub(super) fn print_left(paths: &Paths, notices: Notices) {
    if let Ok(sentence) = fs::read_to_string(paths.notice())
        && !spool(paths).paths().is_empty()
    {
        notices.print(&sentence);
        remove_printed(paths, notices);
    }
}

pub(super) fn remove_printed(paths: &Paths, notices: Notices) {
    if notices == Notices::Shown {
        let _ = fs::remove_file(paths.notice());
    }
}
