//! Finds the holder of a thread by the files that the processes below the child may write to.
//!
//! For a Codex without locks (before 0.147), for file systems where locks do not work (network), and for
//! kernels that do not report them. A session's file stays open from a thread's start to its end, so polling is
//! enough. A session that begins late and ends at once (0.98: after 3 s without a network, held for 50 ms with
//! an answer) is found where inotify reports it, and may be missed elsewhere. Files of reviews and sub-agents
//! may be open for some milliseconds only, and are found by what their own files contain. An open lock is no
//! evidence: a Codex that starts opens the locks of all threads (0.169).

use super::ancestry::{Child, is_ours};
use super::processes::Processes;
use codex_session::thread::ThreadId;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// Interval at first, and when a session was made: the shortest run of `exec` holds its session for 70 ms (0.169).
pub(super) const AT_FIRST: Duration = Duration::from_millis(10);

const FIRST: Duration = Duration::from_secs(1);

/// Interval after that: a session that a person begins is held for longer. One poll costs about 0.4 ms.
const LATER: Duration = Duration::from_millis(100);

/// Age after which polls are rare: a session that a person works in stays open, and an interface whose sessions
/// the daemon writes never has one.
const SETTLED: Duration = Duration::from_secs(10);

/// Interval after that.
const SELDOM: Duration = Duration::from_secs(1);

/// Levels of wrappers that are searched; more is a loop, or no wrapper of Codex.
const DEEPEST: usize = 8;

#[derive(Debug)]
pub(super) struct OpenFiles<W> {
    writers: W,
    began: Option<Instant>,
    /// Why the child's open files cannot be seen.
    blind: Option<io::Error>,
}

impl<W: Processes> OpenFiles<W> {
    pub(super) fn new(writers: W) -> OpenFiles<W> {
        OpenFiles { writers, began: None, blind: None }
    }

    pub(super) fn blind(&self) -> Option<&io::Error> {
        self.blind.as_ref()
    }

    /// The threads that the child holds now, and when to look again.
    pub(super) fn look(&mut self, child: Child, now: Instant) -> (BTreeSet<ThreadId>, Duration) {
        let began = *self.began.get_or_insert(now);
        let mut held = BTreeSet::new();
        let mut level = vec![child.id];
        for _ in 0..DEEPEST {
            let mut below = Vec::new();
            for id in level {
                let Some(known) = self.writers.known(id) else {
                    // The process is gone, unless the system shows no process at all.
                    self.blind = self.blind.take().or(self.writers.sees().err());
                    continue;
                };
                held.extend(self.threads_of(id, child));
                // A tool's processes are not the launcher's Codex, and there may be many.
                if !known.is_codex {
                    below.extend(self.writers.children(id));
                }
            }
            level = below;
        }
        (held, pace(now.duration_since(began)))
    }

    fn threads_of(&mut self, id: u32, child: Child) -> BTreeSet<ThreadId> {
        let threads: BTreeSet<ThreadId> = match self.writers.written(id, ThreadId::from_rollout_name) {
            Ok(threads) => threads.into_iter().collect(),
            Err(error) => {
                // Other children of a wrapper do not matter.
                if id == child.id {
                    self.blind = Some(error);
                }
                return BTreeSet::new();
            }
        };
        let is_ours = threads.is_empty() || is_ours(id, child, |id| self.writers.known(id));
        if is_ours { threads } else { BTreeSet::new() }
    }
}

fn pace(age: Duration) -> Duration {
    match age {
        age if age < FIRST => AT_FIRST,
        age if age < SETTLED => LATER,
        _ => SELDOM,
    }
}

/// A Codex that may write to the thread's session; for systems without a list of locks.
pub(super) fn writer_of(writers: &impl Processes, thread: &ThreadId) -> Option<u32> {
    writers.all().into_iter().find(|id| {
        let is_codex = writers.known(*id).is_some_and(|known| known.is_codex);
        is_codex
            && writers.written(*id, ThreadId::from_rollout_name).is_ok_and(|threads| threads.contains(thread))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::processes::{ProcessInfo, ThreadOf};
    use std::path::Path;

    const MINE: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
    const OTHERS: &str = "01a202b6-ffff-7ee3-8243-251c871b1d4f";

    /// A system that shows no process.
    struct Dark;

    impl Processes for Dark {
        fn known(&self, _: u32) -> Option<ProcessInfo> {
            None
        }

        fn children(&self, _: u32) -> Vec<u32> {
            Vec::new()
        }

        fn all(&self) -> Vec<u32> {
            Vec::new()
        }

        fn sees(&self) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn written(&self, _: u32, _: ThreadOf) -> io::Result<Vec<ThreadId>> {
            self.sees().map(|()| Vec::new())
        }
    }

    /// Number, parent, kind, and the file that it may write to.
    struct Stage(Vec<(u32, u32, &'static str, Option<String>)>);

    impl Processes for Stage {
        fn known(&self, id: u32) -> Option<ProcessInfo> {
            let (_, parent, kind, _) =
                self.0.iter().find(|(known, _, kind, _)| *known == id && *kind != "ending")?;
            Some(ProcessInfo {
                parent: *parent,
                file: Some((1, kind.len() as u64)),
                is_codex: matches!(*kind, "codex" | "server"),
                is_server: *kind == "server",
            })
        }

        fn children(&self, id: u32) -> Vec<u32> {
            self.0.iter().filter(|(_, parent, ..)| *parent == id).map(|(id, ..)| *id).collect()
        }

        fn all(&self) -> Vec<u32> {
            self.0.iter().map(|(id, ..)| *id).collect()
        }

        fn written(&self, id: u32, thread_of: ThreadOf) -> io::Result<Vec<ThreadId>> {
            match self.0.iter().find(|(known, ..)| *known == id) {
                Some((_, _, "hidden" | "ending", _)) => Err(io::ErrorKind::PermissionDenied.into()),
                Some((_, _, _, file)) => {
                    Ok(file.iter().filter_map(|file| thread_of(Path::new(file))).collect())
                }
                None => Ok(Vec::new()),
            }
        }
    }

    /// A child whose command is no server.
    fn user(id: u32) -> Child {
        Child { id, is_server: false }
    }

    fn rollout(thread: &str) -> Option<String> {
        Some(format!("/old/sessions/2026/11/22/rollout-2026-11-22T10-04-14-{thread}.jsonl"))
    }

    fn lock(thread: &str) -> Option<String> {
        Some(format!("/home/thread-writer-locks/{thread}.lock"))
    }

    #[test]
    fn only_files_that_the_launchers_codex_may_write_to_are_held() {
        let table = [
            ("the child's own session", vec![(100, 50, "codex", rollout(MINE))], true),
            ("a lock", vec![(100, 50, "codex", lock(MINE))], false),
            ("no session's", vec![(100, 50, "codex", Some("/home/history.jsonl".into()))], false),
            ("below npm's launcher", vec![(100, 50, "node", None), (101, 100, "codex", rollout(MINE))], true),
            (
                "a tool's",
                vec![(100, 50, "codex", None), (101, 100, "sh", None), (102, 101, "codex", rollout(MINE))],
                false,
            ),
            ("the daemon's", vec![(100, 50, "node", None), (101, 100, "server", rollout(MINE))], false),
            ("a neighbour's", vec![(100, 50, "codex", None), (200, 50, "codex", rollout(MINE))], false),
        ];
        for (what, processes, ours) in table {
            let (held, _) = OpenFiles::new(Stage(processes)).look(user(100), Instant::now());
            let expected =
                if ours { BTreeSet::from([ThreadId::parse(MINE).unwrap()]) } else { BTreeSet::new() };
            assert_eq!(held, expected, "{what}");
        }
    }

    #[test]
    fn a_server_that_was_asked_for_holds_its_clients_sessions() {
        let processes = vec![(100, 50, "node", None), (101, 100, "server", rollout(MINE))];
        for is_server in [true, false] {
            let child = Child { id: 100, is_server };
            let (held, _) = OpenFiles::new(Stage(processes.clone())).look(child, Instant::now());
            assert_eq!(held.len(), usize::from(is_server));
        }
    }

    #[test]
    fn a_child_that_cannot_be_seen_blinds_the_observer_and_one_that_is_gone_does_not() {
        // A process that is about to end is visible to root only, and shows no program any more.
        for (kind, blind) in [("hidden", true), ("ending", false), ("codex", false)] {
            let mut descriptors = OpenFiles::new(Stage(vec![(100, 50, kind, None)]));
            descriptors.look(user(100), Instant::now());
            descriptors.look(user(300), Instant::now());
            assert_eq!(descriptors.blind().is_some(), blind, "{kind}");
        }
        let mut dark = OpenFiles::new(Dark);
        dark.look(user(100), Instant::now());
        assert!(dark.blind().is_some(), "no process can be seen");
    }

    #[test]
    fn polls_become_rare_after_the_first_second() {
        let mut descriptors = OpenFiles::new(Stage(vec![]));
        let began = Instant::now();
        for (after, pace) in [
            (0, AT_FIRST),
            (999, AT_FIRST),
            (1001, LATER),
            (9999, LATER),
            (10_001, SELDOM),
            (100_000, SELDOM),
        ] {
            assert_eq!(descriptors.look(user(1), began + Duration::from_millis(after)).1, pace, "{after} ms");
        }
    }

    #[test]
    fn the_writer_of_a_thread_is_found_among_all_codexes() {
        let stage = Stage(vec![
            (7, 1, "less", rollout(MINE)),
            (8, 1, "codex", rollout(OTHERS)),
            (9, 1, "server", rollout(MINE)),
        ]);
        assert_eq!(writer_of(&stage, &ThreadId::parse(MINE).unwrap()), Some(9));
        assert_eq!(writer_of(&stage, &ThreadId::parse(&MINE.replace('7', "8")).unwrap()), None);
    }
}
