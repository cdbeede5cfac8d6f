//! Sentences for the user that outlive a process: the notice of a finisher, which the next launcher prints, and the
//! introductions of targets.

use crate::base::notice::Notices;
use crate::base::paths::Paths;
use crate::queue::spool;
use common::disk;
use launch::detached;
use mlflow_store::target::Target;
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

/// What a user learns of a target before the first trace goes there, once. None when the target needs no introduction,
/// or had it. A file remembers that: the target's own disk may not answer.
pub(super) fn introduce(target: &Target, paths: &Paths) -> Option<String> {
    let sentence = mlflow_store::introduction(target)?;
    let path = paths.introduced();
    let known = fs::read_to_string(&path).unwrap_or_default();
    let line = target.to_string();
    if known.lines().any(|known| known == line) {
        return None;
    }
    if let Err(error) = disk::write_private(&path, format!("{known}{line}\n").as_bytes()) {
        tracing::warn!("cannot remember that {target} was introduced: {error}");
    }
    Some(sentence)
}
