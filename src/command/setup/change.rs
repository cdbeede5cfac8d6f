//! One change that setup makes on disk, and how it is taken back.

use common::disk;
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every change can be made and taken back twice: an interrupted setup does not show how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Change {
    /// A folder that was missing.
    Folder { path: PathBuf },
    /// Lines at the end of a file of the user; `text` is exactly what is added.
    Lines { path: PathBuf, text: String },
    /// A whole file. `before` is None where there was none.
    File { path: PathBuf, mode: u32, before: Option<String>, text: String },
}

/// What became of a change that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TakenBack {
    Done,
    /// It was not made, or the user has taken it back before.
    NotThere,
    /// The user has changed the file since.
    ChangedSince,
}

impl Change {
    pub(super) fn path(&self) -> &Path {
        match self {
            Change::Folder { path } | Change::Lines { path, .. } | Change::File { path, .. } => path,
        }
    }

    /// Lines for this file. A file without a last newline gets one.
    pub(super) fn with_lines(path: PathBuf, lines: &str) -> io::Result<Change> {
        let before = read(&path)?.unwrap_or_default();
        let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
        Ok(Change::Lines { path, text: format!("{gap}{lines}") })
    }

    /// The missing folders above this path, the outermost first.
    pub(super) fn missing_folders(path: &Path) -> Vec<Change> {
        let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
        let mut folders: Vec<Change> = missing.map(|path| Change::Folder { path: path.to_owned() }).collect();
        folders.reverse();
        folders
    }

    pub(super) fn make(&self) -> io::Result<()> {
        match self {
            Change::Folder { path } => match fs::create_dir(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                made => made,
            },
            Change::Lines { path, text } => {
                let mut content = read(path)?.unwrap_or_default();
                if position(&content, text.as_bytes()).is_some() {
                    return Ok(());
                }
                content.extend_from_slice(text.as_bytes());
                replace(path, &content, None)
            }
            Change::File { path, mode, text, .. } => replace(path, text.as_bytes(), Some(*mode)),
        }
    }

    pub(super) fn take_back(&self) -> io::Result<TakenBack> {
        match self {
            Change::Folder { path } => match fs::remove_dir(path) {
                Ok(()) => Ok(TakenBack::Done),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(TakenBack::NotThere),
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(TakenBack::ChangedSince),
                Err(error) => Err(error),
            },
            Change::Lines { path, text } => {
                let Some(mut content) = read(path)? else { return Ok(TakenBack::NotThere) };
                let Some(start) = position(&content, text.as_bytes()) else {
                    let is_changed = text.lines().any(|line| position(&content, line.as_bytes()).is_some());
                    return Ok(if is_changed { TakenBack::ChangedSince } else { TakenBack::NotThere });
                };
                content.drain(start..start + text.len());
                if content.is_empty() {
                    fs::remove_file(path)?
                } else {
                    replace(path, &content, None)?
                }
                Ok(TakenBack::Done)
            }
            Change::File { path, before, text, .. } => {
                let now = read(path)?;
                match (before, now) {
                    (None, None) => return Ok(TakenBack::NotThere),
                    (Some(before), Some(now)) if now == before.as_bytes() => return Ok(TakenBack::NotThere),
                    (_, Some(now)) if now == text.as_bytes() => {}
                    _ => return Ok(TakenBack::ChangedSince),
                }
                match before {
                    None => fs::remove_file(path)?,
                    Some(before) => replace(path, before.as_bytes(), None)?,
                }
                Ok(TakenBack::Done)
            }
        }
    }
}

/// None for a missing file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn position(content: &[u8], text: &[u8]) -> Option<usize> {
    content.windows(text.len()).position(|window| window == text)
}

/// Replaces the file at once and durably. A link stays a link. Without a mode the file keeps its own; a new one has 0644.
fn replace(path: &Path, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    let path = disk::followed(path);
    let own = fs::metadata(&path).map(|file| file.permissions().mode() & 0o7777).ok();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut aside = disk::aside(folder)?;
    aside.write_all(content)?;
    aside.as_file().set_permissions(Permissions::from_mode(mode.or(own).unwrap_or(0o644)))?;
    disk::sync(aside.as_file())?;
    aside.persist(&path)?;
    disk::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn lines(path: &Path) -> Change {
        Change::with_lines(path.to_owned(), "# ours\ncodex() { :; }\n").unwrap()
    }

    #[test]
    fn lines_are_added_once_and_taken_back_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".bashrc");
        for before in [&b"PS1=x\n"[..], b"PS1=x", b"\xff\n", b""] {
            fs::write(&path, before).unwrap();
            let change = lines(&path);
            change.make().unwrap();
            change.make().unwrap();
            let text = fs::read(&path).unwrap();
            assert_eq!(text.windows(6).filter(|window| window == b"# ours").count(), 1);
            // What the user adds later stays.
            fs::write(&path, [&text[..], b"later\n"].concat()).unwrap();
            assert_eq!(change.take_back().unwrap(), TakenBack::Done);
            assert_eq!(fs::read(&path).unwrap(), [before, b"later\n"].concat());
            assert_eq!(change.take_back().unwrap(), TakenBack::NotThere);
        }
    }

    #[test]
    fn a_file_that_held_only_our_lines_is_removed_and_one_with_other_lines_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".zshrc");
        let change = lines(&path);
        change.make().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!((change.take_back().unwrap(), path.exists()), (TakenBack::Done, false));
        fs::write(&path, "# ours\ncodex() { echo mine; }\n").unwrap();
        assert_eq!((change.take_back().unwrap(), path.exists()), (TakenBack::ChangedSince, true));
    }

    #[test]
    fn a_file_gets_its_mode_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let change =
            Change::File { path: at("codex"), mode: 0o755, before: None, text: "#!/bin/sh\n".to_owned() };
        change.make().unwrap();
        assert_eq!(fs::metadata(at("codex")).unwrap().permissions().mode() & 0o777, 0o755);
        fs::write(at("codex"), "mine").unwrap();
        assert_eq!(change.take_back().unwrap(), TakenBack::ChangedSince);

        fs::write(at("dotfile"), "a\n").unwrap();
        fs::set_permissions(at("dotfile"), Permissions::from_mode(0o600)).unwrap();
        symlink("dotfile", at("link")).unwrap();
        lines(&at("link")).make().unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::metadata(at("dotfile")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(lines(&at("link")).take_back().unwrap(), TakenBack::Done);
        assert_eq!(fs::read(at("dotfile")).unwrap(), b"a\n");
    }

    #[test]
    fn a_file_that_was_there_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow_config.json");
        fs::write(&path, "{}").unwrap();
        let (before, text) = (Some("{}".to_owned()), "{\"a\": 1}".to_owned());
        let change = Change::File { path: path.clone(), mode: 0o600, before, text };
        assert_eq!(change.take_back().unwrap(), TakenBack::NotThere);
        change.make().unwrap();
        assert_eq!(change.take_back().unwrap(), TakenBack::Done);
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }

    #[test]
    fn folders_that_were_missing_are_made_and_removed_when_they_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/file");
        let changes = Change::missing_folders(&file);
        assert_eq!(
            changes.iter().map(Change::path).collect::<Vec<_>>(),
            [folder.path().join("a"), folder.path().join("a/b")]
        );
        changes.iter().for_each(|change| change.make().unwrap());
        fs::write(&file, "").unwrap();
        let back = || changes.iter().rev().map(|change| change.take_back().unwrap()).collect::<Vec<_>>();
        assert_eq!(back(), [TakenBack::ChangedSince, TakenBack::ChangedSince]);
        fs::remove_file(&file).unwrap();
        assert_eq!(back(), [TakenBack::Done, TakenBack::Done]);
        assert_eq!(back(), [TakenBack::NotThere, TakenBack::NotThere]);
    }
}
