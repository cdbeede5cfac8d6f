//! A launch's own notes, kept until its traces are in the spool: `launches/<launch>.jsonl`.
//!
//! One line per fact, appended when it is learned and never synced: the notes guard against our own
//! death, not the machine's. A launch that died leaves them behind, and the next one finishes its work.

use super::Claim;
use crate::codex::tui_log::Logged;
use crate::disk::{make_private_folder, private_options};
use crate::launch::exit::ChildExit;
use crate::launch::process::Process;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    Launch { id: String, process: Process, started_at: Timestamp },
    Child(Process),
    Claim(Claim),
    Logged(Logged),
    Exit(ChildExit),
}

/// What is known of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub id: String,
    pub process: Process,
    pub started_at: Timestamp,
    pub child: Option<Process>,
    pub claims: Vec<Claim>,
    /// What the interface's log told; the rollouts that it speaks of are looked for at the end.
    pub logged: Vec<Logged>,
    pub exit: Option<ChildExit>,
}

/// The open notes of this launch.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Launch {
    /// Unique on this machine: a process has one number at a time.
    pub fn new(process: Process, started_at: Timestamp) -> Launch {
        let id = format!("{:x}-{:x}", started_at.as_nanosecond(), process.id);
        Launch { id, process, started_at, child: None, claims: Vec::new(), logged: Vec::new(), exit: None }
    }

    /// Neither the launcher nor its Codex is there to go on with it.
    pub fn is_over(&self) -> bool {
        !self.process.is_alive() && self.child.is_none_or(|child| !child.is_alive())
    }
}

impl Journal {
    pub fn begin(folder: &Path, launch: &Launch) -> io::Result<Journal> {
        make_private_folder(folder)?;
        let path = path_of(folder, &launch.id);
        let file = private_options().append(true).create_new(true).open(&path)?;
        let mut journal = Journal { path, file };
        let Launch { id, process, started_at, .. } = launch.clone();
        journal.note(&Note::Launch { id, process, started_at })?;
        Ok(journal)
    }

    pub fn child(&mut self, child: Process) -> io::Result<()> {
        self.note(&Note::Child(child))
    }

    pub fn claim(&mut self, claim: &Claim) -> io::Result<()> {
        self.note(&Note::Claim(claim.clone()))
    }

    pub fn logged(&mut self, logged: &Logged) -> io::Result<()> {
        self.note(&Note::Logged(logged.clone()))
    }

    pub fn exit(&mut self, exit: ChildExit) -> io::Result<()> {
        self.note(&Note::Exit(exit))
    }

    /// The traces are in the spool.
    pub fn end(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// In one write, so that our death leaves no half of a note.
    fn note(&mut self, note: &Note) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

pub fn path_of(folder: &Path, launch: &str) -> PathBuf {
    folder.join(format!("{launch}.jsonl"))
}

/// The launches that left notes behind, with the file of each. What cannot be read is left alone.
pub fn left_behind(folder: &Path) -> Vec<(PathBuf, Launch)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut launches: Vec<(PathBuf, Launch)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .filter_map(|path| {
            let launch = read(&fs::read_to_string(&path).ok()?)?;
            launch.is_over().then_some((path, launch))
        })
        .collect();
    launches.sort_by(|(a, _), (b, _)| a.cmp(b));
    launches
}

fn read(notes: &str) -> Option<Launch> {
    let mut notes = notes.lines().map_while(|line| serde_json::from_str(line).ok());
    let Some(Note::Launch { id, process, started_at }) = notes.next() else { return None };
    let mut launch = Launch { id, ..Launch::new(process, started_at) };
    for note in notes {
        match note {
            Note::Launch { .. } => {}
            Note::Child(child) => launch.child = Some(child),
            Note::Claim(claim) => launch.claims.push(claim),
            Note::Logged(logged) => launch.logged.push(logged),
            Note::Exit(exit) => launch.exit = Some(exit),
        }
    }
    Some(launch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::record::Attribution;
    use crate::codex::thread::ThreadId;

    fn gone() -> Process {
        Process { id: std::process::id(), born: Some(1) }
    }

    #[test]
    fn a_launch_that_died_is_found_with_all_it_had_learned() {
        let folder = tempfile::tempdir().unwrap();
        let mut launch = Launch::new(gone(), "2026-11-22T10:00:00Z".parse().unwrap());
        let mut journal = Journal::begin(folder.path(), &launch).unwrap();
        let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
        launch.claims.push(Claim { thread, attribution: Attribution::Held });
        journal.claim(&launch.claims[0]).unwrap();
        journal.exit(ChildExit::Signal(9)).unwrap();
        launch.exit = Some(ChildExit::Signal(9));
        let path = folder.path().join(format!("{}.jsonl", launch.id));
        assert_eq!(left_behind(folder.path()), [(path, launch)]);
    }

    #[test]
    fn a_launch_that_lives_or_whose_codex_lives_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let _lives = Journal::begin(folder.path(), &Launch::new(Process::ourselves(), now)).unwrap();
        let mut orphaned =
            Journal::begin(folder.path(), &Launch::new(Process { id: 1, born: Some(0) }, now)).unwrap();
        orphaned.child(Process::ourselves()).unwrap();
        assert_eq!(left_behind(folder.path()), []);
    }

    #[test]
    fn notes_that_end_in_the_middle_keep_what_came_before() {
        let launch =
            r#"{"launch":{"id":"a","process":{"id":7,"born":1},"started_at":"2026-11-22T10:00:00Z"}}"#;
        let read = read(&format!("{launch}\n{{\"exit\":{{\"code\":0}}}}\n{{\"cla")).unwrap();
        assert_eq!((read.id.as_str(), read.exit), ("a", Some(ChildExit::Code(0))));
    }
}
