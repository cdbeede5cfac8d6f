//! Which threads started which sub-agents, among the session files that were found.

use codex_session::rollout::files::SessionFile;
use codex_session::thread::ThreadId;
use std::collections::{BTreeMap, HashSet};

#[derive(Debug, Default)]
pub(super) struct Subagents {
    parents: BTreeMap<ThreadId, ThreadId>,
    /// By parent, then by thread: all files with the thread's id.
    children: BTreeMap<ThreadId, BTreeMap<ThreadId, Vec<SessionFile>>>,
}

impl Subagents {
    pub(super) fn from_files(files: &[SessionFile]) -> Subagents {
        let mut subagents = Subagents::default();
        for file in files {
            let Some(parent) = file.parent.as_deref().and_then(ThreadId::from_meta) else { continue };
            subagents.parents.entry(file.thread.clone()).or_insert_with(|| parent.clone());
            let files = subagents.children.entry(parent).or_default().entry(file.thread.clone()).or_default();
            if !files.iter().any(|known| known.path == file.path) {
                files.push(file.clone());
            }
        }
        subagents
    }

    /// The first thread in the chain of parents.
    pub(super) fn root_of<'a>(&'a self, thread: &'a ThreadId) -> &'a ThreadId {
        let (mut root, mut seen) = (thread, HashSet::new());
        while let Some(parent) = self.parents.get(root).filter(|_| seen.insert(root)) {
            root = parent;
        }
        root
    }

    pub(super) fn children(&self, parent: &ThreadId) -> impl Iterator<Item = &[SessionFile]> {
        self.children.get(parent).into_iter().flatten().map(|(_, files)| &**files)
    }

    /// The files of all direct and indirect sub-agents of this thread.
    pub(super) fn below(&self, thread: &ThreadId) -> Vec<&SessionFile> {
        let (mut found, mut seen, mut next) = (Vec::new(), HashSet::new(), vec![thread]);
        while let Some(parent) = next.pop() {
            for (child, files) in self.children.get(parent).into_iter().flatten() {
                if seen.insert(child) {
                    found.extend(files);
                    next.push(child);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn thread(number: u8) -> ThreadId {
        ThreadId::parse(&format!("01a202b6-a73e-7ee3-8243-2500000000{number:02}")).unwrap()
    }

    fn subagents(started: &[(u8, u8)]) -> Subagents {
        let file = |(child, parent): &(u8, u8)| SessionFile {
            path: format!("/{child}").into(),
            thread: thread(*child),
            parent: Some(thread(*parent).to_string()),
            modified: SystemTime::UNIX_EPOCH,
            bytes: 1,
        };
        Subagents::from_files(&started.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn roots_and_subagents_are_found_also_in_circles_of_parents() {
        let subagents = subagents(&[(2, 1), (3, 2), (4, 1), (6, 7), (7, 6)]);
        assert_eq!(subagents.root_of(&thread(3)), &thread(1));
        assert_eq!(subagents.root_of(&thread(9)), &thread(9));
        let below = |number| {
            let mut names: Vec<_> =
                subagents.below(&thread(number)).iter().map(|file| file.path.clone()).collect();
            names.sort();
            names.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(below(1), ["/2", "/3", "/4"]);
        assert_eq!(below(6), ["/6", "/7"]);
        assert!([thread(6), thread(7)].contains(subagents.root_of(&thread(6))));
        assert_eq!(subagents.children(&thread(1)).count(), 2);
    }
}
