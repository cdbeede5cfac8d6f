//! Watches a folder that may not exist yet, from its nearest existing ancestor.

use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use std::path::{Path, PathBuf};

pub(super) struct FolderWatch {
    /// The folder's ancestors and itself, outermost first. Codex creates them as it needs them; the launcher
    /// never does.
    rungs: Vec<PathBuf>,
    /// Events of the folder itself that are watched besides the creation of entries.
    also: AddWatchFlags,
    watched: Option<(usize, WatchDescriptor)>,
}

impl FolderWatch {
    /// The folder is at `above` plus `names`.
    pub(super) fn new<'a>(
        above: &Path,
        names: impl IntoIterator<Item = &'a str>,
        also: AddWatchFlags,
    ) -> FolderWatch {
        let mut rungs: Vec<PathBuf> = above.parent().into_iter().chain([above]).map(PathBuf::from).collect();
        for name in names {
            rungs.push(rungs[rungs.len() - 1].join(name));
        }
        FolderWatch { rungs, also, watched: None }
    }

    /// Whether the folder exists and is watched.
    pub(super) fn is_at_the_top(&self) -> bool {
        self.watched.is_some_and(|(rung, _)| rung + 1 == self.rungs.len())
    }

    /// Watches the innermost folder that exists; true when that is now the last one. A kernel has one watch per
    /// folder, so a watch that `other` uses stays.
    pub(super) fn climb(&mut self, inotify: &Inotify, other: Option<&FolderWatch>) -> bool {
        let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let reached = self.watched.map_or(0, |(rung, _)| rung + 1);
        for rung in (reached..self.rungs.len()).rev() {
            let flags = if rung + 1 == self.rungs.len() { made | self.also } else { made };
            if let Ok(watch) = inotify.add_watch(&self.rungs[rung], flags) {
                self.leave(inotify, other);
                self.watched = Some((rung, watch));
                // The next folder may have been created before the watch.
                return if self.is_at_the_top() { true } else { self.climb(inotify, other) };
            }
        }
        false
    }

    pub(super) fn leave(&mut self, inotify: &Inotify, other: Option<&FolderWatch>) {
        if let Some((_, watch)) = self.watched.take()
            && other.and_then(|other| other.watched).is_none_or(|(_, others)| others != watch)
        {
            let _ = inotify.rm_watch(watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::InitFlags;
    use std::fs;

    fn named(inotify: &Inotify) -> Vec<String> {
        let events = inotify.read_events().unwrap_or_default();
        events.iter().filter_map(|event| Some(event.name.as_ref()?.to_str()?.to_owned())).collect()
    }

    #[test]
    fn two_folders_that_come_step_by_step_are_reached_from_one_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let mut near = FolderWatch::new(&home, ["locks"], AddWatchFlags::IN_OPEN);
        let mut far = FolderWatch::new(&home, ["sessions", "2026", "11"], AddWatchFlags::empty());
        assert!(!near.climb(&inotify, None) && !far.climb(&inotify, Some(&near)));
        fs::create_dir(&home).unwrap();
        assert_eq!(named(&inotify), ["home"]);
        assert!(!near.climb(&inotify, Some(&far)) && !far.climb(&inotify, Some(&near)));
        fs::create_dir(home.join("locks")).unwrap();
        assert_eq!(named(&inotify), ["locks"]);
        assert!(near.climb(&inotify, Some(&far)) && near.is_at_the_top());
        assert!(!far.climb(&inotify, Some(&near)));
        // Still reported, though the other ladder has left this folder.
        fs::create_dir_all(home.join("sessions/2026/11")).unwrap();
        assert_eq!(named(&inotify), ["sessions"]);
        assert!(far.climb(&inotify, Some(&near)));
        fs::write(home.join("sessions/2026/11/made"), "").unwrap();
        fs::write(home.join("locks/made too"), "").unwrap();
        assert_eq!(named(&inotify), ["made", "made too", "made too"], "made, and made and opened");
        far.leave(&inotify, Some(&near));
        fs::write(home.join("sessions/2026/11/unseen"), "").unwrap();
        fs::write(home.join("anything"), "").unwrap();
        let rest = named(&inotify);
        assert!(rest.iter().all(String::is_empty), "{rest:?}");
    }
}
