//! Finds session files: in Codex's folders, in copies of them, and single files that the user names.

use super::line::RolloutLine;
use super::rollout_item::RolloutItem;
use super::session_meta::SessionMeta;
use super::{path, reader};
use crate::thread::ThreadId;
use common::disk::entries;
use common::disk::file_state::FileState;
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that is a session's by its name or its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFile {
    pub path: PathBuf,
    pub thread: ThreadId,
    /// The thread that started this one as its sub-agent.
    pub parent: Option<String>,
    pub modified: SystemTime,
    pub state: FileState,
}

/// Collects session files; a file that several links or several folders lead to is found once.
#[derive(Debug, Default)]
pub struct SessionFiles {
    seen: HashSet<(u64, u64)>,
    /// In the order of their folders, sorted within each.
    pub files: Vec<SessionFile>,
    /// Session files by their names, and why they cannot be read.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

impl SessionFiles {
    /// Adds all session files below the folder, which need not exist.
    pub fn add_folder(&mut self, folder: &Path) {
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            // Links are followed, but each folder once: a link may lead to a folder above it.
            if !fs::metadata(&folder).is_ok_and(|found| self.is_new(&found)) {
                continue;
            }
            let mut paths: Vec<PathBuf> = entries(&folder).map(|entry| entry.path()).collect();
            paths.sort();
            let mut below = Vec::new();
            for path in paths {
                match fs::metadata(&path) {
                    Ok(found) if found.is_dir() => below.push(path),
                    Ok(found) if found.is_file() && may_be_session(&path) && self.is_new(&found) => {
                        match look(&path, &found) {
                            Ok(kind) => self.add(path, kind),
                            Err(error) if path::is_rollout(&path) => self.unreadable.push((path, error)),
                            Err(_) => {}
                        }
                    }
                    _ => {}
                }
            }
            folders.extend(below.into_iter().rev());
        }
    }

    fn add(&mut self, path: PathBuf, kind: FileKind) {
        match kind {
            FileKind::Session(file) => self.files.push(file),
            FileKind::WithoutId(why) => self.unreadable.push((path, io::Error::other(why))),
            FileKind::Other => {}
        }
    }

    /// Adds a single file. Ok(false) for one that is no session's.
    pub fn add_file(&mut self, file: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(file)?;
        let kind = look(file, &metadata)?;
        let is_session = !matches!(kind, FileKind::Other);
        if self.is_new(&metadata) {
            self.add(file.to_path_buf(), kind);
        }
        Ok(is_session)
    }

    fn is_new(&mut self, found: &Metadata) -> bool {
        self.seen.insert((found.dev(), found.ino()))
    }
}

/// Whether a file in a folder is opened at all: only those whose name may be of JSON lines.
pub fn may_be_session(path: &Path) -> bool {
    path::is_rollout(path) || path::is_compressed(path) || path.extension().is_some_and(|it| it == "jsonl")
}

enum FileKind {
    Session(SessionFile),
    /// A session's, without an id that a trace can have; and why.
    WithoutId(String),
    Other,
}

/// A file is a session's by its name, or by its first line if it was renamed.
fn look(path: &Path, found: &Metadata) -> io::Result<FileKind> {
    let first = first_of(path)?;
    // A first line of the right kind whose form is none that any Codex wrote.
    let is_meta = matches!(&first, Some(RolloutItem::Unknown { kind }) if kind == "session_meta");
    let meta = first.and_then(meta_in);
    let by_meta = || ThreadId::from_meta(&meta.as_ref()?.id);
    let Some(thread) = ThreadId::from_rollout_name(path).or_else(by_meta) else {
        return Ok(match meta {
            Some(meta) if !meta.id.is_empty() => FileKind::WithoutId(format!(
                "its session id \"{}\" can name no trace (1 to 128 letters, digits, `-`, `_` and `.`)",
                meta.id.escape_debug().take(60).collect::<String>()
            )),
            None if !is_meta => FileKind::Other,
            _ => FileKind::WithoutId("its first line has no session id".into()),
        });
    };
    Ok(FileKind::Session(SessionFile {
        path: path.to_path_buf(),
        thread,
        parent: meta.and_then(|meta| meta.parent().map(str::to_owned)),
        modified: found.modified()?,
        state: FileState::from_metadata(found),
    }))
}

/// The `session_meta` in the file's first line; None for a first line of another kind.
pub fn meta_of(path: &Path) -> io::Result<Option<SessionMeta>> {
    Ok(first_of(path)?.and_then(meta_in))
}

fn meta_in(item: RolloutItem) -> Option<SessionMeta> {
    if let RolloutItem::SessionMeta(meta) = item { Some(*meta) } else { None }
}

fn first_of(path: &Path) -> io::Result<Option<RolloutItem>> {
    // Opening a pipe would block, and reading it would take its data from its real reader.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut lines = reader::open(path)?;
    let line = lines.next_line()?.and_then(RolloutLine::parse);
    Ok(line.map(|line| line.item))
}

/// The thread whose trace holds what this one did: itself, or the first of those that started it. Files are looked
/// for in this home of Codex; a parent without a file ends the search.
pub fn root_of(thread: &ThreadId, home: &Path) -> ThreadId {
    let (mut root, mut seen) = (thread.clone(), HashSet::new());
    while seen.insert(root.clone())
        && let Some(meta) = find_meta(&root, home)
        && meta.parent().is_some()
    {
        let by_session = meta.session_id.as_deref().filter(|session| *session != meta.id);
        let candidates = [by_session, meta.parent()].into_iter().flatten().filter_map(ThreadId::parse);
        match candidates.into_iter().find(|above| path::find(home, above).is_some()) {
            Some(above) => root = above,
            None => break,
        }
    }
    root
}

fn find_meta(thread: &ThreadId, home: &Path) -> Option<SessionMeta> {
    meta_of(&path::find(home, thread)?).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    const NAME: &str = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";

    fn meta(parent: &str) -> String {
        format!(r#"{{"type":"session_meta","payload":{{"id":"{THREAD}"{parent}}}}}"#)
    }

    fn found(folder: &Path) -> Vec<(String, bool)> {
        let mut found_files = SessionFiles::default();
        found_files.add_folder(folder);
        let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        found_files.files.iter().map(|file| (name(&file.path), file.parent.is_some())).collect()
    }

    #[test]
    fn a_session_is_known_by_its_name_or_by_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(NAME, "not a line");
        write("kept.jsonl", &meta(r#","parent_thread_id":"p""#));
        write("history.jsonl", r#"{"session_id":"x","ts":1,"text":"hi"}"#);
        write("session.json", &meta(""));
        write("rollout-2026-11-22T10-04-14-sess-abc.jsonl", &meta("").replace(THREAD, "sess-abc"));
        write("bad.jsonl", &meta("").replace(THREAD, "../up"));
        write("none.jsonl", r#"{"type":"session_meta","payload":{}}"#);
        let other = "rollout-2026-11-22T10-04-14-sess-abc.jsonl".to_owned();
        let expected = [("kept.jsonl".to_owned(), true), (NAME.to_owned(), false), (other, false)];
        assert_eq!(found(folder.path()), expected);
        let mut found_files = SessionFiles::default();
        found_files.add_folder(folder.path());
        let reasons: Vec<String> = found_files.unreadable.iter().map(|(_, why)| why.to_string()).collect();
        assert_eq!(reasons[1], "its first line has no session id");
        assert!(reasons[0].starts_with("its session id \"../up\" can name no trace"), "{reasons:?}");
        let mut found_files = SessionFiles::default();
        assert!(
            found_files.add_file(&folder.path().join("session.json")).unwrap(),
            "a file that the user names"
        );
        assert!(!found_files.add_file(&folder.path().join("history.jsonl")).unwrap());
        assert!(found_files.add_file(&folder.path().join("nothing")).is_err());
    }

    #[test]
    fn a_session_file_that_cannot_be_read_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{NAME}.zst")), "not compressed").unwrap();
        fs::write(folder.path().join("other.jsonl.zst"), "not compressed").unwrap();
        let mut found_files = SessionFiles::default();
        found_files.add_folder(folder.path());
        assert_eq!((found_files.files.len(), found_files.unreadable.len()), (0, 1));
    }

    #[test]
    fn links_are_followed_and_each_file_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let (year, other) = (folder.path().join("2026/11"), folder.path().join("z"));
        fs::create_dir_all(&year).unwrap();
        fs::write(year.join(NAME), meta("")).unwrap();
        symlink(folder.path(), year.join("back")).unwrap();
        symlink(&year, &other).unwrap();
        symlink(year.join(NAME), folder.path().join("zz.jsonl")).unwrap();
        symlink("nowhere", folder.path().join("broken.jsonl")).unwrap();
        assert_eq!(found(folder.path()).len(), 1);
    }

    #[test]
    fn a_compressed_session_is_read_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{}\n{}\n", meta(""), "x".repeat(300_000));
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let bytes = ruzstd::encoding::compress_to_vec(text.as_bytes(), level);
        fs::write(folder.path().join(format!("{NAME}.zst")), bytes).unwrap();
        assert_eq!(found(folder.path()).len(), 1);
        let mut lines = reader::open(&folder.path().join(format!("{NAME}.zst"))).unwrap();
        assert_eq!(lines.next_line().unwrap().unwrap(), meta("").as_bytes());
        assert_eq!(lines.next_line().unwrap().unwrap().len(), 300_000);
    }
}
