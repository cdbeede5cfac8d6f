//! A folder that may not be there yet, watched from the nearest one above it that is.

use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use std::path::{Path, PathBuf};

pub(super) struct Ladder {
    /// Folders that lead to it, outermost first. Codex makes them as it needs them, and we never do.
    rungs: Vec<PathBuf>,
    /// What else of the folder itself is to be told than what is made in it.
    also: AddWatchFlags,
    watched: Option<(usize, WatchDescriptor)>,
}

impl Ladder {
    /// From `above` the folder is reached by these names.
    pub(super) fn new<'a>(
        above: &Path,
        names: impl IntoIterator<Item = &'a str>,
        also: AddWatchFlags,
    ) -> Ladder {
        let mut rungs: Vec<PathBuf> = above.parent().into_iter().chain([above]).map(PathBuf::from).collect();
        for name in names {
            rungs.push(rungs[rungs.len() - 1].join(name));
        }
        Ladder { rungs, also, watched: None }
    }

    /// The folder is there, and watched.
    pub(super) fn is_at_the_top(&self) -> bool {
        self.watched.is_some_and(|(rung, _)| rung + 1 == self.rungs.len())
    }

    /// Watches the innermost folder that exists. True when that has become the last one. A kernel has one watch for
    /// each folder: another ladder may stand on the one that is left.
    pub(super) fn climb(&mut self, inotify: &Inotify, other: Option<&Ladder>) -> bool {
        let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let reached = self.watched.map_or(0, |(rung, _)| rung + 1);
        for rung in (reached..self.rungs.len()).rev() {
            let flags = if rung + 1 == self.rungs.len() { made | self.also } else { made };
            if let Ok(watch) = inotify.add_watch(&self.rungs[rung], flags) {
                self.leave(inotify, other);
                self.watched = Some((rung, watch));
                // The next folder may have come between.
                return if self.is_at_the_top() { true } else { self.climb(inotify, other) };
            }
        }
        false
    }

    /// Watches no more.
    pub(super) fn leave(&mut self, inotify: &Inotify, other: Option<&Ladder>) {
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

    fn told(inotify: &Inotify) -> Vec<String> {
        let events = inotify.read_events().unwrap_or_default();
        events.iter().filter_map(|event| Some(event.name.as_ref()?.to_str()?.to_owned())).collect()
    }

    #[test]
    fn two_folders_that_come_step_by_step_are_reached_from_one_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let mut near = Ladder::new(&home, ["locks"], AddWatchFlags::IN_OPEN);
        let mut far = Ladder::new(&home, ["sessions", "2026", "11"], AddWatchFlags::empty());
        assert!(!near.climb(&inotify, None) && !far.climb(&inotify, Some(&near)));
        fs::create_dir(&home).unwrap();
        assert_eq!(told(&inotify), ["home"]);
        assert!(!near.climb(&inotify, Some(&far)) && !far.climb(&inotify, Some(&near)));
        fs::create_dir(home.join("locks")).unwrap();
        assert_eq!(told(&inotify), ["locks"]);
        assert!(near.climb(&inotify, Some(&far)) && near.is_at_the_top());
        assert!(!far.climb(&inotify, Some(&near)));
        // Still told of, though the other ladder has left it.
        fs::create_dir_all(home.join("sessions/2026/11")).unwrap();
        assert_eq!(told(&inotify), ["sessions"]);
        assert!(far.climb(&inotify, Some(&near)));
        fs::write(home.join("sessions/2026/11/made"), "").unwrap();
        fs::write(home.join("locks/made too"), "").unwrap();
        assert_eq!(told(&inotify), ["made", "made too", "made too"], "made, and made and opened");
        far.leave(&inotify, Some(&near));
        fs::write(home.join("sessions/2026/11/unseen"), "").unwrap();
        fs::write(home.join("anything"), "").unwrap();
        let rest = told(&inotify);
        assert!(rest.iter().all(String::is_empty), "{rest:?}");
    }
}
