//! Where a thread's rollout is: `sessions/YYYY/MM/DD/rollout-<local time>-<thread>.jsonl`.
//!
//! Codex may compress old ones (`.jsonl.zst`), and decompresses them when they are resumed.

use crate::thread::ThreadId;
use common::disk::entries;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil::Date};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, ReadDir};
use std::iter;
use std::path::{Path, PathBuf};

/// The rollout of a thread under `home` (Codex's home), if there is one.
///
/// A thread's UUID (version 7) holds the time it was made, and a resumed thread keeps its file. So three day folders
/// are searched before the whole tree: Codex names folders by local time, which may differ by a day after a change
/// of time zone.
pub fn find(home: &Path, thread: &ThreadId) -> Option<PathBuf> {
    let sessions = home.join("sessions");
    likely_days(thread)
        .into_iter()
        .find_map(|day| in_folder(&day_folder(&sessions, day), thread))
        .or_else(|| in_folder(&home.join("archived_sessions"), thread))
        .or_else(|| files_below([sessions]).map(|entry| entry.path()).find(|path| is_of(path, thread)))
}

/// By its name alone.
pub fn is_rollout(path: &Path) -> bool {
    let written_as = is_compressed(path) || extension_of(path) == "jsonl" || may_be_document(path);
    written_as && ThreadId::from_rollout_name(path).is_some()
}

/// By its name alone. Only a UUID is found in a name; another id is compared with what takes the UUID's place.
pub fn is_of(path: &Path, thread: &ThreadId) -> bool {
    if thread.is_uuid() {
        return is_rollout(path) && ThreadId::from_rollout_name(path).as_ref() == Some(thread);
    }
    non_uuid_id(path) == Some(thread.as_str())
}

/// The id in place of a UUID, in the name of a session file without one.
pub fn non_uuid_id(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".jsonl.zst"))?;
    let rest = stem.strip_prefix("rollout-")?.get("2026-11-22T10-04-14-".len()..)?;
    Some(rest).filter(|rest| !rest.is_empty() && ThreadId::from_rollout_name(path).is_none())
}

/// By its name alone: the TypeScript Codex wrote one document per session.
pub(super) fn may_be_document(path: &Path) -> bool {
    extension_of(path) == "json"
}

/// By its name alone.
pub fn is_compressed(path: &Path) -> bool {
    extension_of(path) == "zst" && extension_of(Path::new(path.file_stem().unwrap_or_default())) == "jsonl"
}

fn extension_of(path: &Path) -> &OsStr {
    path.extension().unwrap_or_default()
}

fn likely_days(thread: &ThreadId) -> Vec<Date> {
    let Some(made) = time_of(thread) else { return Vec::new() };
    let day = made.to_zoned(TimeZone::system()).date();
    [Some(day), day.checked_sub(1.day()).ok(), day.checked_add(1.day()).ok()].into_iter().flatten().collect()
}

/// When a UUID of version 7 was made; None for other versions.
pub fn time_of(thread: &ThreadId) -> Option<Timestamp> {
    let text = thread.as_str();
    if !thread.is_uuid() || text.as_bytes()[14] != b'7' {
        return None;
    }
    let millis = i64::from_str_radix(&format!("{}{}", &text[..8], &text[9..13]), 16).ok()?;
    Timestamp::from_millisecond(millis).ok()
}

pub(super) fn day_folder(sessions: &Path, day: Date) -> PathBuf {
    sessions.join(day.strftime("%Y/%m/%d").to_string())
}

/// Prefers the plain file, to which Codex writes, if its compressed twin still exists.
fn in_folder(folder: &Path, thread: &ThreadId) -> Option<PathBuf> {
    let paths = entries(folder).map(|entry| entry.path());
    paths.filter(|path| is_of(path, thread)).min_by_key(|path| is_compressed(path))
}

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
    use std::fs;
    use std::os::unix::fs::symlink;

    const NAME: &str = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";

    fn thread() -> ThreadId {
        ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap()
    }

    #[test]
    fn a_uuid_of_version_7_holds_its_time() {
        assert_eq!(time_of(&thread()), Some("2026-11-22T10:04:14.526Z".parse().unwrap()));
        for other in ["4d679419-7109-4462-8543-36676833d737", "abc", "sess-abc-and-more-than-14"] {
            assert_eq!(time_of(&ThreadId::from_meta(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_rollout_is_found_in_its_day_in_the_archive_and_in_any_other_folder() {
        for folder in ["sessions/2026/11/22", "archived_sessions", "sessions/2020/01/01"] {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(
                folder.join("rollout-2026-11-22T10-04-14-01a202b6-0000-7ee3-8243-251c871b1d4f.jsonl"),
                "",
            )
            .unwrap();
            assert_eq!(find(home.path(), &thread()), None);
            fs::write(folder.join(NAME), "").unwrap();
            assert_eq!(find(home.path(), &thread()), Some(folder.join(NAME)));
        }
    }

    #[test]
    fn a_compressed_rollout_is_found_where_no_plain_one_exists() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("sessions/2026/11/22");
        fs::create_dir_all(&folder).unwrap();
        let compressed = folder.join(format!("{NAME}.zst"));
        fs::write(&compressed, "").unwrap();
        assert_eq!(find(home.path(), &thread()), Some(compressed));
        fs::write(folder.join(NAME), "").unwrap();
        assert_eq!(find(home.path(), &thread()), Some(folder.join(NAME)));
        assert!(!is_rollout(&folder.join(NAME.replace("jsonl", "zst"))));
    }

    #[test]
    fn a_file_name_without_a_uuid_must_hold_the_whole_id() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("sessions/2026/11/22");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("rollout-2026-11-22T10-04-14-sess-abc.jsonl");
        fs::write(&path, "").unwrap();
        fs::write(folder.join(NAME), "").unwrap();
        let found = |id: &str| find(home.path(), &ThreadId::from_meta(id).unwrap());
        assert_eq!((found("sess-abc"), found("abc")), (Some(path), None));
        assert_eq!(found(thread().as_str()), Some(folder.join(NAME)));
        assert_eq!(non_uuid_id(&folder.join(NAME)), None);
    }

    #[test]
    fn a_rollout_is_known_by_its_name() {
        let table = [
            (NAME, true),
            ("rollout-2026-11-22T10-04-14-nonsense.jsonl", false),
            ("rollout-2025-05-01-01a202b6-a73e-7ee3-8243-251c871b1d4f.json", true),
            ("rollout-2025-05-01-nonsense.json", false),
            ("history.jsonl", false),
        ];
        for (name, known) in table {
            assert_eq!(is_rollout(Path::new(name)), known, "{name}");
        }
    }

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
