//! Finds the files of threads in Codex's home: those of one thread, and those of threads made within a time.
//!
//! A home may hold a hundred thousand files, so the thread and its creation time come from file names alone. The
//! first line is read only of files whose thread was made while another one worked.

use super::files;
use super::path::files_below;
use super::path::{self, day_folder, time_of};
use crate::thread::ThreadId;
use common::disk::entries;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil::Date};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Days that are searched at most; of a longer time, the latest ones.
const MOST_DAYS: usize = 400;

/// Lists each folder once, reads the first line of a file once, and keeps both.
#[derive(Debug)]
pub struct ThreadFiles {
    home: PathBuf,
    /// Folders with session files, outside the home.
    further: Vec<PathBuf>,
    listed: HashMap<PathBuf, Vec<PathBuf>>,
    /// By file. A file without a first line yet has none.
    origins: HashMap<PathBuf, ThreadOrigin>,
}

/// The threads that a session file's first line names as those that started it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadOrigin {
    parent: Option<String>,
    session: Option<String>,
}

impl ThreadOrigin {
    /// Whether the thread, or one that it started, started this one.
    pub fn is_below(&self, thread: &str) -> bool {
        [&self.parent, &self.session].into_iter().flatten().any(|named| named == thread)
    }
}

/// The files of one thread, in the order in which Codex began them; each with its twins: an archived, a compressed
/// or a copied one.
pub type Parts = Vec<Vec<PathBuf>>;

impl ThreadFiles {
    pub fn new(home: &Path) -> ThreadFiles {
        ThreadFiles {
            home: home.to_path_buf(),
            further: Vec::new(),
            listed: HashMap::new(),
            origins: HashMap::new(),
        }
    }

    /// Forgets the lists: files were added or moved. Keeps the first lines.
    pub fn relist(&mut self) {
        self.listed.clear();
    }

    /// Adds a folder outside the home, with those below it.
    pub fn with_folder(mut self, folder: PathBuf) -> ThreadFiles {
        self.further.push(folder);
        self
    }

    /// The files of the thread that `file` belongs to. `file` may be a copy, in one folder with the thread's others.
    pub fn files_with(&mut self, file: &Path, thread: &ThreadId) -> Parts {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let others = self.list(&folder).iter().filter(|path| path::is_of(path, thread)).cloned();
        let mut files: Vec<PathBuf> = std::iter::once(file.to_path_buf()).chain(others).collect();
        files.extend(self.everywhere(thread));
        in_parts(thread, files)
    }

    /// The files of a thread, in any folder.
    ///
    /// A rewind begins a new file, in the folder of its own day. With `since`, the days before are searched only if
    /// the thread's first file was not written to since then, or if there is a later one: then it was rewound before.
    pub fn files_of(&mut self, thread: &ThreadId, since: Option<Timestamp>) -> Parts {
        let Some(first) = path::find(&self.home, thread) else { return Vec::new() };
        let mut files = vec![first];
        if let Some(since) = since {
            let days = days_of(&[(since, Timestamp::now())]);
            files.extend(self.on_days(&days).into_iter().filter(|path| path::is_of(path, thread)));
        }
        let is_plain = |path: &PathBuf| rollout_of(path).is_none_or(|rollout| rollout == *thread);
        let is_fresh = |since: Timestamp| {
            let written = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
            files.iter().filter_map(written).any(|at| at >= SystemTime::from(since))
        };
        if !since.is_some_and(is_fresh) || !files.iter().all(is_plain) {
            files.extend(self.everywhere(thread));
        }
        in_parts(thread, files)
    }

    /// The files of threads that were made within one of these times, in folders of those days and in `also_in`: a
    /// session that was moved or copied may have its sub-agents with it.
    pub fn made_within(&mut self, times: &[(Timestamp, Timestamp)], also_in: Option<&Path>) -> Vec<PathBuf> {
        let mut paths = self.on_days(&days_of(times));
        if let Some(folder) = also_in {
            paths.extend(self.list(folder).iter().cloned());
        }
        let made = |path: &Path| time_of(&ThreadId::from_rollout_name(path)?);
        let fits = |path: &PathBuf| {
            made(path).is_some_and(|at| times.iter().any(|(from, to)| (*from..=*to).contains(&at)))
        };
        let fitting: BTreeSet<PathBuf> =
            paths.into_iter().filter(|path| path::is_rollout(path)).filter(fits).collect();
        fitting.into_iter().collect()
    }

    /// What the file's first line names, read once; nothing for a file that cannot be read or has no such line yet.
    pub fn origin_of(&mut self, file: &Path) -> ThreadOrigin {
        if let Some(origin) = self.origins.get(file) {
            return origin.clone();
        }
        let Some(meta) = files::meta_of(file).ok().flatten() else { return ThreadOrigin::default() };
        let origin =
            ThreadOrigin { parent: meta.parent().map(str::to_owned), session: meta.session_id.clone() };
        self.origins.insert(file.to_path_buf(), origin.clone());
        origin
    }

    fn on_days(&mut self, days: &BTreeSet<Date>) -> Vec<PathBuf> {
        let sessions = self.home.join("sessions");
        let folders: Vec<PathBuf> = days.iter().map(|day| day_folder(&sessions, *day)).collect();
        folders.iter().flat_map(|folder| self.list(folder).to_vec()).collect()
    }

    fn list(&mut self, folder: &Path) -> &[PathBuf] {
        let paths = || {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let is_one = |path: &PathBuf| path::is_rollout(path) || path::non_uuid_id(path).is_some();
            entries(here).map(|entry| entry.path()).filter(is_one).collect()
        };
        self.listed.entry(folder.to_path_buf()).or_insert_with(paths)
    }

    fn everywhere(&self, thread: &ThreadId) -> Vec<PathBuf> {
        let mut folders = vec![self.home.join("sessions"), self.home.join("archived_sessions")];
        folders.extend(self.further.iter().cloned());
        files_below(folders).map(|entry| entry.path()).filter(|path| path::is_of(path, thread)).collect()
    }
}

/// The id of the file itself, where a thread has several: the thread's for the first, what follows `_` for others.
pub fn rollout_of(path: &Path) -> Option<ThreadId> {
    let thread = ThreadId::from_rollout_name(path)?;
    let name = path.file_name()?.to_str()?;
    let (_, rest) = name.split_once(thread.as_str())?;
    Some(rest.strip_prefix('_').and_then(|rest| ThreadId::parse(rest.get(..36)?)).unwrap_or(thread))
}

/// Sorts by the files' ids, which hold when each was begun; the first file has the thread's id.
pub fn in_parts(thread: &ThreadId, files: impl IntoIterator<Item = PathBuf>) -> Parts {
    let mut by_rollout: BTreeMap<(bool, Option<ThreadId>), Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let rollout = rollout_of(&file).filter(|rollout| rollout != thread);
        let twins = by_rollout.entry((rollout.is_some(), rollout)).or_default();
        if !twins.contains(&file) {
            twins.push(file);
        }
    }
    by_rollout.into_values().collect()
}

/// With one day before and after: Codex names folders by local time, and the time zone may have changed since.
fn days_of(times: &[(Timestamp, Timestamp)]) -> BTreeSet<Date> {
    let day = |at: Timestamp| at.to_zoned(TimeZone::system()).date();
    let mut days = BTreeSet::new();
    for (from, to) in times.iter().rev() {
        let (first, mut next) = (day(*from), Some(day(*to)));
        while let Some(at) = next.filter(|at| *at >= first && days.len() < MOST_DAYS) {
            days.extend((-1..=1).filter_map(|off| at.checked_add(off.days()).ok()));
            next = at.checked_sub(1.day()).ok();
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    const MADE: &str = "2026-11-22T10:04:14.526Z";
    const REWOUND: &str = "01a21d00-0000-7000-8000-000000000001";

    fn name(rollout: Option<&str>) -> String {
        let suffix = rollout.map(|id| format!("_{id}")).unwrap_or_default();
        format!("rollout-2026-11-22T10-04-14-{THREAD}{suffix}.jsonl")
    }

    fn put(home: &Path, folder: &str, name: &str) -> PathBuf {
        let folder = home.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        File::create(&path).unwrap();
        path
    }

    fn age(path: &Path) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_rewound_threads_files_come_in_the_order_of_their_ids_from_any_folder() {
        let home = tempfile::tempdir().unwrap();
        let thread = ThreadId::parse(THREAD).unwrap();
        let mut thread_files = ThreadFiles::new(home.path());
        assert_eq!(thread_files.files_of(&thread, None), Parts::new());
        let first = put(home.path(), "sessions/2026/11/22", &name(None));
        assert_eq!(ThreadFiles::new(home.path()).files_of(&thread, None), [[first.clone()]]);
        let later = put(home.path(), "sessions/2026/11/20", &name(Some(REWOUND)));
        let zst = format!("{}.zst", name(Some(REWOUND)));
        let twin = put(home.path(), "archived_sessions", &zst);
        put(home.path(), "sessions/2026/11/22", &name(None).replace("a73e", "0000"));
        let files = |thread_files: ThreadFiles| {
            let mut parts = { thread_files }.files_of(&thread, None);
            parts.iter_mut().for_each(|twins| twins.sort());
            parts
        };
        assert_eq!(
            files(ThreadFiles::new(home.path())),
            [vec![first.clone()], vec![twin.clone(), later.clone()]]
        );
        let further = tempfile::tempdir().unwrap();
        let copy = put(further.path(), "2026", &name(None));
        let with_further = files(ThreadFiles::new(home.path()).with_folder(further.path().into()));
        assert_eq!(with_further[0].iter().collect::<BTreeSet<_>>(), [&first, &copy].into());
        let mut with_copy = ThreadFiles::new(home.path()).files_with(&copy, &thread);
        with_copy.iter_mut().for_each(|twins| twins.sort());
        assert_eq!(with_copy.concat().iter().collect::<BTreeSet<_>>(), [&first, &copy, &twin, &later].into());
    }

    #[test]
    fn without_a_sign_of_a_rewind_only_the_days_since_are_searched() {
        let home = tempfile::tempdir().unwrap();
        let thread = ThreadId::parse(THREAD).unwrap();
        let first = put(home.path(), "sessions/2026/11/22", &name(None));
        let old = put(home.path(), "sessions/2001/01/01", &name(Some(REWOUND)));
        let since = Timestamp::now() - 1.minute();
        let files = || ThreadFiles::new(home.path()).files_of(&thread, Some(since)).concat();
        // The first file is written to, so the thread was not rewound.
        assert_eq!(files(), std::slice::from_ref(&first));
        age(&first);
        assert_eq!(files(), [first.clone(), old.clone()]);
        let today = Timestamp::now().to_zoned(TimeZone::system()).strftime("sessions/%Y/%m/%d").to_string();
        File::options().write(true).open(&first).unwrap().set_modified(SystemTime::now()).unwrap();
        let other = REWOUND.replace("01a21d", "01a21e");
        let new = put(home.path(), &today, &name(Some(&other)));
        assert_eq!(files(), [first, old, new]);
    }

    #[test]
    fn threads_are_found_by_the_time_in_their_names() {
        let home = tempfile::tempdir().unwrap();
        let made: Timestamp = MADE.parse().unwrap();
        let path = put(home.path(), "sessions/2026/11/22", &name(None));
        let copied = put(home.path(), "copies", &name(None));
        let mut thread_files = ThreadFiles::new(home.path());
        let mut within = |from: i64, to: i64, also_in: Option<&Path>| {
            thread_files.made_within(&[(made + from.seconds(), made + to.seconds())], also_in)
        };
        assert_eq!(within(-1, 1, None), std::slice::from_ref(&path));
        assert_eq!(within(1, 9, None), [""; 0].map(PathBuf::from));
        assert_eq!(within(-9_000_000, 1, copied.parent()), [copied, path]);
    }

    #[test]
    fn a_first_line_is_kept_once_it_is_there_and_new_files_are_listed_on_request() {
        let home = tempfile::tempdir().unwrap();
        let path = put(home.path(), "sessions/2026/11/22", &name(None));
        let mut thread_files = ThreadFiles::new(home.path());
        assert_eq!(thread_files.origin_of(&path), ThreadOrigin::default(), "no line yet");
        let line = r#"{"type":"session_meta","payload":{"id":"a","session_id":"r","parent_thread_id":"p"}}"#;
        fs::write(&path, format!("{line}\n")).unwrap();
        let is_below = |origin: ThreadOrigin| ["a", "p", "r"].map(|thread| origin.is_below(thread));
        assert_eq!(is_below(thread_files.origin_of(&path)), [false, true, true]);
        fs::remove_file(&path).unwrap();
        assert_eq!(is_below(thread_files.origin_of(&path)), [false, true, true]);
        let made: Timestamp = MADE.parse().unwrap();
        let times = [(made - 1.seconds(), made + 1.seconds())];
        assert_eq!(thread_files.made_within(&times, None), [""; 0].map(PathBuf::from));
        let path = put(home.path(), "sessions/2026/11/22", &name(None));
        assert_eq!(thread_files.made_within(&times, None), [""; 0].map(PathBuf::from));
        thread_files.relist();
        assert_eq!(thread_files.made_within(&times, None), [path]);
    }
}
