//! Every byte that was written, and what must not be among them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file below the folder, with what is in it.
pub(crate) fn below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(below(&path)),
            false => all.push((path.clone(), fs::read(&path).expect("read a file"))),
        }
    }
    all
}

pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Where one of these is found, as sentences.
pub(crate) fn found(secrets: &[&str], places: &[(PathBuf, Vec<u8>)]) -> Vec<String> {
    let in_place = |(path, bytes): &(PathBuf, Vec<u8>)| -> Vec<String> {
        let found = secrets.iter().filter(|secret| holds(bytes, secret));
        found.map(|secret| format!("{secret} in {}", path.display())).collect()
    };
    places.iter().flat_map(in_place).collect()
}

/// The folder and all below it, with their modes.
pub(crate) fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| fs::symlink_metadata(path).expect("metadata").permissions().mode() & 0o7777;
    let mut all = vec![(folder.to_owned(), mode(folder))];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(modes(&path)),
            false => all.push((path.clone(), mode(&path))),
        }
    }
    all
}
