//! Walks folders of session files.

use std::fs::{self, DirEntry, ReadDir};
use std::iter;
use std::path::PathBuf;

/// The entries below these folders that are no folders themselves. Links to folders are not followed: they may lead
/// in circles.
pub fn files_below(folders: impl Into<Vec<PathBuf>>) -> impl Iterator<Item = DirEntry> {
    let (mut folders, mut open): (Vec<PathBuf>, Option<ReadDir>) = (folders.into(), None);
    iter::from_fn(move || {
        loop {
            let Some(entry) = open.as_mut().and_then(Iterator::next) else {
                open = fs::read_dir(folders.pop()?).ok();
                continue;
            };
            let Ok(entry) = entry else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => return Some(entry),
                Err(_) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_at_any_depth_are_found_once_and_links_to_folders_are_not_followed() {
        let (root, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = root.path().join("2026/11");
        fs::create_dir_all(&deep).unwrap();
        for file in [root.path().join("a"), deep.join("b")] {
            fs::write(file, "").unwrap();
        }
        symlink(root.path(), deep.join("circle")).unwrap();
        let roots = [empty.path().join("missing"), root.path().to_path_buf(), empty.path().to_path_buf()];
        let mut names: Vec<_> = files_below(roots).map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "circle"]);
    }
}
