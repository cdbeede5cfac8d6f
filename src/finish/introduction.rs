//! What a user learns of a target before the first trace goes there, once.

use crate::base::paths::Paths;
use common::disk;
use mlflow_store::target::Target;
use std::fs;

/// None when the target needs no introduction, or had it. A file remembers that: the target's own disk may not
/// answer.
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
