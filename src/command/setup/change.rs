//! One change that setup makes on disk, and how it is taken back.

use super::{block, settings};
use common::disk;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file of this name, beside the one that is written, is what a kill left.
const ASIDE: &str = ".codex-traced-setup.tmp";

/// Only the user may read the settings: they may hold credentials.
const PRIVATE: u32 = 0o600;

/// Every change can be made and taken back twice: an interrupted setup does not show how far it came. A path is no link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Change {
    /// A folder that was missing.
    Folder { path: PathBuf },
    /// A block of lines in a file of the user.
    Lines { path: PathBuf, is_new: bool, had_no_newline: bool, block: String },
    /// A new file. `replaces` is the text that an earlier setup gave it.
    File { path: PathBuf, mode: u32, text: String, replaces: Option<String> },
    /// The configuration file.
    Settings { path: PathBuf, before: Option<Before>, text: String },
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) text: String,
    pub(super) mode: u32,
}

/// What became of a change that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenBack {
    Done,
    /// It was not made, or the user has taken it back before.
    NotThere,
    /// The user has changed the file since, and at least a part of the change stays.
    ChangedSince,
}

impl Change {
    pub(super) fn path(&self) -> &Path {
        match self {
            Change::Folder { path }
            | Change::Lines { path, .. }
            | Change::File { path, .. }
            | Change::Settings { path, .. } => path,
        }
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
            Change::Lines { path, block, .. } => {
                let content = read(path)?.unwrap_or_default();
                replace(path, &block::added(&content, block), None)
            }
            Change::File { path, mode, text, .. } => replace(path, text.as_bytes(), Some(*mode)),
            Change::Settings { path, text, .. } => replace(path, text.as_bytes(), Some(PRIVATE)),
        }
    }

    pub(super) fn take_back(&self) -> io::Result<TakenBack> {
        if let Change::Folder { path } = self {
            return match fs::remove_dir(path) {
                Ok(()) => Ok(TakenBack::Done),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(TakenBack::NotThere),
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(TakenBack::ChangedSince),
                Err(error) => Err(error),
            };
        }
        let _ = fs::remove_file(aside(self.path()));
        let Some(now) = read(self.path())? else { return Ok(TakenBack::NotThere) };
        match self {
            Change::Folder { .. } => unreachable!("a folder is no file"),
            Change::Lines { path, is_new, had_no_newline, .. } => {
                if block::is_torn(&now) {
                    return Ok(TakenBack::ChangedSince);
                }
                if block::place(&now).is_none() {
                    return Ok(TakenBack::NotThere);
                }
                let content = block::removed(&now, *had_no_newline);
                let goes = *is_new && content.is_empty();
                if goes {
                    fs::remove_file(path)?
                } else {
                    replace(path, &content, None)?
                }
                Ok(TakenBack::Done)
            }
            Change::File { path, text, replaces, .. } => {
                let is_ours = [Some(text), replaces.as_ref()].into_iter().flatten();
                if !is_ours.into_iter().any(|text| now == text.as_bytes()) {
                    return Ok(TakenBack::ChangedSince);
                }
                fs::remove_file(path)?;
                Ok(TakenBack::Done)
            }
            Change::Settings { path, before, text } => {
                let old = before.as_ref().map(|before| &*before.text);
                if old.is_some_and(|old| now == old.as_bytes()) {
                    return Ok(TakenBack::NotThere);
                }
                let (old, left) = match now == text.as_bytes() {
                    true => (old.map(str::to_owned), TakenBack::Done),
                    false => settings::restored(old, text, &now),
                };
                match old {
                    Some(old) => replace(path, old.as_bytes(), before.as_ref().map(|before| before.mode))?,
                    None => fs::remove_file(path)?,
                }
                Ok(left)
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

pub(super) fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).map(|file| file.permissions().mode() & 0o7777).ok()
}

fn aside(path: &Path) -> PathBuf {
    path.with_file_name(ASIDE)
}

/// Replaces the file at once and durably. Without a mode the file keeps its own; a new one has 0644.
fn replace(path: &Path, content: &[u8], wanted: Option<u32>) -> io::Result<()> {
    let aside = aside(path);
    // A file of this name may be a kill's, with other permissions.
    let _ = fs::remove_file(&aside);
    let mut file = disk::private_options().write(true).create_new(true).open(&aside)?;
    let written = fill(&mut file, content, wanted.or(mode(path)).unwrap_or(0o644));
    match written.and_then(|()| fs::rename(&aside, path)) {
        Ok(()) => disk::sync_folder(path.parent().unwrap_or(Path::new("/"))),
        Err(error) => {
            let _ = fs::remove_file(&aside);
            Err(error)
        }
    }
}

fn fill(file: &mut File, content: &[u8], mode: u32) -> io::Result<()> {
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    disk::sync(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path, is_new: bool) -> Change {
        let block = block::of("function codex { :; }\n");
        Change::Lines { path: path.to_owned(), is_new, had_no_newline: false, block }
    }

    #[test]
    fn lines_leave_the_file_and_its_mode_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".bashrc");
        for before in ["PS1=x\n", ""] {
            fs::write(&path, before).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
            let change = lines(&path, false);
            change.make().unwrap();
            change.make().unwrap();
            assert_eq!(change.take_back().unwrap(), TakenBack::Done);
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), (before, Some(0o640)));
            assert_eq!(change.take_back().unwrap(), TakenBack::NotThere);
        }
        fs::write(&path, "# <<< codex-traced <<<\n").unwrap();
        assert_eq!(lines(&path, false).take_back().unwrap(), TakenBack::ChangedSince);
        fs::remove_file(&path).unwrap();
        let change = lines(&path, true);
        change.make().unwrap();
        assert_eq!(mode(&path), Some(0o644));
        assert_eq!((change.take_back().unwrap(), path.exists()), (TakenBack::Done, false));
    }

    #[test]
    fn a_file_goes_with_this_text_or_the_one_before_and_stays_with_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codex");
        let replaces = Some("#!/bin/sh\n# old\n".to_owned());
        let change =
            Change::File { path: path.clone(), mode: 0o755, text: "#!/bin/sh\n".to_owned(), replaces };
        change.make().unwrap();
        assert_eq!(mode(&path), Some(0o755));
        assert_eq!(change.take_back().unwrap(), TakenBack::Done);
        for (text, left) in [("#!/bin/sh\n# old\n", TakenBack::Done), ("mine", TakenBack::ChangedSince)] {
            fs::write(&path, text).unwrap();
            assert_eq!(change.take_back().unwrap(), left, "{text}");
        }
    }

    #[test]
    fn settings_come_back_with_their_mode_and_go_where_there_were_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow_config.json");
        let before = Before { text: "{\"a\": 1}".to_owned(), mode: 0o644 };
        for before in [Some(before), None] {
            let _ = fs::remove_file(&path);
            if let Some(before) = &before {
                fs::write(&path, &before.text).unwrap();
            }
            let text = "{\"a\": 2}".to_owned();
            let change = Change::Settings { path: path.clone(), before: before.clone(), text };
            assert_eq!(change.take_back().unwrap(), TakenBack::NotThere);
            change.make().unwrap();
            assert_eq!((change.take_back().unwrap(), path.exists()), (TakenBack::Done, before.is_some()));
            if let Some(before) = before {
                assert_eq!(
                    (fs::read_to_string(&path).unwrap(), mode(&path)),
                    (before.text, Some(before.mode))
                );
            }
        }
    }

    #[test]
    fn what_a_kill_left_beside_a_file_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".bashrc");
        fs::write(aside(&path), "half").unwrap();
        lines(&path, true).take_back().unwrap();
        assert_eq!(disk::entries(folder.path()).count(), 0);
    }

    #[test]
    fn folders_that_were_missing_are_made_and_removed_when_they_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/file");
        let changes = Change::missing_folders(&file);
        let paths: Vec<_> = changes.iter().map(Change::path).collect();
        assert_eq!(paths, [folder.path().join("a"), folder.path().join("a/b")]);
        changes.iter().for_each(|change| change.make().unwrap());
        fs::write(&file, "").unwrap();
        let back = || changes.iter().rev().map(|change| change.take_back().unwrap()).collect::<Vec<_>>();
        assert_eq!(back(), [TakenBack::ChangedSince, TakenBack::ChangedSince]);
        fs::remove_file(&file).unwrap();
        assert_eq!(back(), [TakenBack::Done, TakenBack::Done]);
        assert_eq!(back(), [TakenBack::NotThere, TakenBack::NotThere]);
    }
}
