//! A launch's own notes, kept until its traces are in the spool: `launches/<launch>.jsonl`.
//!
//! One line per fact, appended when it is learned and never synced: the notes guard against our own
//! death, not the machine's. A launch that died leaves them behind, and the next one finishes its work.

#[cfg(test)]
mod tests;

use super::Claim;
use super::evidence::Sight;
use crate::codex::asked::{Asked, Front};
use crate::codex::tui_log::Logged;
use crate::config::content::Content;
use crate::config::granularity::Granularity;
use crate::config::target::{Experiment, Target};
use crate::disk::{is_abandoned, make_private_folder, private_options};
use crate::launch::exit::ChildExit;
use crate::launch::process::{Life, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    Launch {
        id: String,
        process: Process,
        started_at: Timestamp,
        destination: Destination,
        #[serde(default)]
        asked: Asked,
    },
    /// Left out where a trace is a session.
    Granularity(Granularity),
    /// Left out where all of it may be sent.
    Content(Content),
    Child(Process),
    Blind(String),
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
    pub destination: Destination,
    /// How much of it may be sent, as it was asked for then.
    pub content: Content,
    /// Of threads that it is the first to trace.
    pub granularity: Granularity,
    pub asked: Asked,
    pub child: Option<Process>,
    /// Why sessions may have been written that nobody saw.
    pub blind: Option<String>,
    pub claims: Vec<Claim>,
    /// What the interface's log told; the rollouts that it speaks of are looked for at the end.
    pub logged: Vec<Logged>,
    pub exit: Option<ChildExit>,
}

/// Where a launch's traces go, as it was asked for then: whoever finishes its work may be asked otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub target: Target,
    pub experiment: Experiment,
}

/// The open notes of this launch.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The last line may be a half one: the disk had no room for it.
    is_torn: bool,
}

impl Launch {
    /// Unique on this machine: a process has one number at a time.
    pub fn new(process: Process, started_at: Timestamp, destination: Destination, asked: Asked) -> Launch {
        let id = format!("{:x}-{:x}", started_at.as_nanosecond(), process.id);
        Launch {
            id,
            process,
            started_at,
            destination,
            content: Content::default(),
            granularity: Granularity::default(),
            asked,
            child: None,
            blind: None,
            claims: Vec::new(),
            logged: Vec::new(),
            exit: None,
        }
    }

    /// Whether a thread that it wrote would have been seen. Of the full-screen interface the log tells, which
    /// outlives us, unless something was done that has no id there; what else we had learned when we died may not be
    /// all.
    pub fn sight(&self) -> Sight {
        let died = self.exit.is_none() && self.asked.front == Front::Lines;
        let may_be_blind = died || self.blind.is_some() || self.logged.contains(&Logged::Deed);
        if may_be_blind && !self.asked.is_ephemeral { Sight::Blind } else { Sight::Clear }
    }

    /// Neither the launcher nor its Codex is there to go on with it. One from another container cannot be
    /// seen from here, so only its notes' age tells.
    fn is_over(&self, age: Duration) -> bool {
        let lives = [Some(self.process.life()), self.child.as_ref().map(Process::life)];
        let is_over = |life: &Life| match life {
            Life::Alive => false,
            Life::Gone => true,
            Life::Unknown => age > FORGOTTEN,
        };
        lives.iter().flatten().all(is_over)
    }
}

/// A launch in another container that learned nothing for so long is taken for dead. If it lives after all,
/// its own end puts right what was written meanwhile.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

impl Journal {
    pub fn begin(folder: &Path, launch: &Launch) -> io::Result<Journal> {
        make_private_folder(folder)?;
        let path = path_of(folder, &launch.id);
        let file = private_options().append(true).create_new(true).open(&path)?;
        let mut journal = Journal { path, file, is_torn: false };
        let Launch { id, process, started_at, destination, asked, .. } = launch.clone();
        let begun = journal.note(&Note::Launch { id, process, started_at, destination, asked });
        let granularity = Some(launch.granularity).filter(|asked| *asked != Granularity::default());
        let content = Some(launch.content).filter(|asked| !asked.is_full());
        let also = granularity.map(Note::Granularity).into_iter().chain(content.map(Note::Content));
        match also.fold(begun, |begun, note| begun.and_then(|()| journal.note(&note))) {
            Ok(()) => Ok(journal),
            // Nobody could make anything of a file without its first note.
            Err(error) => journal.end().and(Err(error)),
        }
    }

    /// Notes that could not be begun with the launch, with all that is known of it by now.
    pub fn begin_late(folder: &Path, launch: &Launch) -> io::Result<Journal> {
        let mut journal = Journal::begin(folder, launch)?;
        launch.child.iter().try_for_each(|child| journal.child(child.clone()))?;
        launch.claims.iter().try_for_each(|claim| journal.claim(claim))?;
        launch.logged.iter().try_for_each(|logged| journal.logged(logged))?;
        launch.blind.iter().try_for_each(|why| journal.blind(why.clone()))?;
        launch.exit.iter().try_for_each(|exit| journal.exit(*exit))?;
        Ok(journal)
    }

    pub fn path(&self) -> &Path {
        &self.path
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

    pub fn blind(&mut self, why: String) -> io::Result<()> {
        self.note(&Note::Blind(why))
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
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        let written = write(&mut self.file, note);
        self.is_torn = written.is_err();
        written
    }

    /// What is known of the launch and does not stand there yet: the disk may have room again.
    pub fn complete(&mut self, launch: &Launch) -> io::Result<()> {
        let noted = load(&self.path);
        let is_missing = |is_there: &dyn Fn(&Launch) -> bool| !noted.as_ref().is_some_and(is_there);
        for claim in launch.claims.iter().filter(|claim| is_missing(&|noted| noted.claims.contains(claim))) {
            self.claim(claim)?;
        }
        for logged in launch.logged.iter().filter(|logged| is_missing(&|noted| noted.logged.contains(logged)))
        {
            self.logged(logged)?;
        }
        for why in launch.blind.iter().filter(|why| is_missing(&|noted| noted.blind.as_ref() == Some(why))) {
            self.blind(why.clone())?;
        }
        match launch.exit.filter(|exit| is_missing(&|noted| noted.exit == Some(*exit))) {
            Some(exit) => self.exit(exit),
            None => Ok(()),
        }
    }
}

/// Into the notes of a launch that died.
pub fn add_logged(notes: &Path, told: &[Logged]) -> io::Result<()> {
    let mut file = private_options().append(true).open(notes)?;
    told.iter().try_for_each(|logged| write(&mut file, &Note::Logged(logged.clone())))
}

fn write(file: &mut File, note: &Note) -> io::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    file.write_all(&line)
}

pub fn path_of(folder: &Path, launch: &str) -> PathBuf {
    folder.join(format!("{launch}.jsonl"))
}

/// What the notes tell; None when they cannot be read.
pub fn load(notes: &Path) -> Option<Launch> {
    read(&fs::read_to_string(notes).ok()?)
}

/// The launches that left notes behind, with the file of each. What cannot be read is left alone.
pub fn left_behind(folder: &Path) -> Vec<(PathBuf, Launch)> {
    all(folder)
        .into_iter()
        .filter(|(_, _, is_over)| *is_over)
        .map(|(path, launch, _)| (path, launch))
        .collect()
}

/// The launches that still run, or finish their work.
pub fn under_way(folder: &Path) -> Vec<Launch> {
    all(folder).into_iter().filter(|(_, _, is_over)| !is_over).map(|(_, launch, _)| launch).collect()
}

/// What launches but this one know, that run or have yet to be finished.
pub fn of_others(folder: &Path, launch: &str) -> Vec<Launch> {
    all(folder).into_iter().map(|(_, other, _)| other).filter(|other| other.id != launch).collect()
}

fn all(folder: &Path) -> Vec<(PathBuf, Launch, bool)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut launches: Vec<(PathBuf, Launch, bool)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .filter_map(|path| {
            let launch = load(&path)?;
            let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
            let is_over = launch.is_over(age);
            Some((path, launch, is_over))
        })
        .collect();
    launches.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    launches
}

/// Removes notes that a launch died before it began: not a word in them, so nothing is to be finished.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_empty = entry.metadata().is_ok_and(|file| file.len() == 0);
        // Not a young one: its launch may be about to write.
        if is_empty && is_abandoned(&entry) && path.extension().is_some_and(|extension| extension == "jsonl")
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn read(notes: &str) -> Option<Launch> {
    // A disk that was full for a moment left half a line: what came after it counts.
    let mut notes = notes.lines().filter_map(|line| serde_json::from_str(line).ok());
    let Some(Note::Launch { id, process, started_at, destination, asked }) = notes.next() else {
        return None;
    };
    let mut launch = Launch { id, ..Launch::new(process, started_at, destination, asked) };
    for note in notes {
        match note {
            Note::Launch { .. } => {}
            Note::Granularity(asked) => launch.granularity = asked,
            Note::Content(asked) => launch.content = asked,
            Note::Child(child) => launch.child = Some(child),
            Note::Blind(why) => launch.blind = Some(why),
            Note::Claim(claim) => launch.claims.push(claim),
            Note::Logged(logged) => launch.logged.push(logged),
            Note::Exit(exit) => launch.exit = Some(exit),
        }
    }
    Some(launch)
}
