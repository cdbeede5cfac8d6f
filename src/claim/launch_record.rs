//! A launch's record, kept until its traces are in the spool: `launches/<launch>.jsonl`.
//!
//! One line per fact, appended when it is learned and never synced: the record protects against a crash of the
//! launcher, not of the machine. A launch that died leaves its record, and the next launch finishes its work.
//!
//! The first line is `{"launch":{"version":…}}` in every version, so that a reader knows the version of the rest.
//! 0.1 wrote no version and ignores one; its records differ in nothing else.

#[cfg(test)]
mod tests;

use super::verdict::{Claim, Coverage};
use crate::codex::command_line::SessionRequest;
use crate::codex::interface_log::Logged;
use crate::settings::Settings;
use crate::settings::further_targets::{FurtherTarget, TargetRoles};
use crate::settings::launch_context::LaunchContext;
use crate::settings::modes::{Content, Granularity};
use common::disk::{make_private_folder, private_options};
use jiff::Timestamp;
use launch::exit::ChildExit;
use launch::mode::Interface;
use launch::process::{Life, Process};
use mlflow_store::target::{Experiment, Target};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version that is written. It rises when an older reader would misunderstand a record.
pub const VERSION: u32 = 1;

/// A fact about a launch: a line of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    Launch {
        /// 0 in records of 0.1.
        #[serde(default)]
        version: u32,
        id: String,
        process: Process,
        started_at: Timestamp,
        destination: Destination,
        #[serde(default, rename = "asked")]
        request: SessionRequest,
    },
    /// Absent where a trace is a session.
    Granularity(Granularity),
    /// Absent in content mode full.
    Content(Content),
    /// Absent where the launch took over nothing.
    Context(LaunchContext),
    /// Absent where there is one target.
    Further(Vec<FurtherTarget>),
    Child(Process),
    Blind(String),
    Claim(Claim),
    Logged(Logged),
    Exit(ChildExit),
}

/// Everything known of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub id: String,
    pub process: Process,
    pub started_at: Timestamp,
    pub destination: Destination,
    /// Targets that get traces too.
    pub further: Vec<FurtherTarget>,
    /// The content mode at the launch's start.
    pub content: Content,
    /// For threads that no earlier launch traced.
    pub granularity: Granularity,
    pub context: LaunchContext,
    pub request: SessionRequest,
    pub child: Option<Process>,
    /// Why the observer may have missed sessions.
    pub blind: Option<String>,
    pub claims: Vec<Claim>,
    /// Facts from the interface's log; the finisher looks for the rollouts that they name.
    pub logged: Vec<Logged>,
    pub exit: Option<ChildExit>,
}

/// Where a launch's traces go, as set at its start: the finisher may run under other settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    pub target: Target,
    pub experiment: Experiment,
}

impl Launch {
    pub fn roles(&self) -> TargetRoles<'_> {
        TargetRoles { first: &self.destination.target, further: &self.further }
    }
}

impl Destination {
    pub fn from_settings(settings: &Settings) -> Destination {
        Destination { target: settings.target.value.clone(), experiment: settings.experiment.value.clone() }
    }

    pub fn from_further(further: &FurtherTarget) -> Destination {
        Destination { target: further.target.clone(), experiment: further.experiment.clone() }
    }
}

/// The open file of this launch.
#[derive(Debug)]
pub struct LaunchRecord {
    path: PathBuf,
    file: File,
    /// The last line may be incomplete: the disk was full.
    is_torn: bool,
}

impl Launch {
    /// The id is unique on this machine: at one time only one process has this number.
    pub fn new(
        process: Process,
        started_at: Timestamp,
        destination: Destination,
        request: SessionRequest,
    ) -> Launch {
        let id = format!("{:x}-{:x}", started_at.as_nanosecond(), process.id);
        Launch {
            id,
            process,
            started_at,
            destination,
            further: Vec::new(),
            content: Content::default(),
            granularity: Granularity::default(),
            context: LaunchContext::default(),
            request,
            child: None,
            blind: None,
            claims: Vec::new(),
            logged: Vec::new(),
            exit: None,
        }
    }

    pub fn learn(&mut self, note: Note) {
        match note {
            Note::Launch { .. } => {}
            Note::Granularity(asked) => self.granularity = asked,
            Note::Content(asked) => self.content = asked,
            Note::Context(context) => self.context = context,
            Note::Further(targets) => self.further = targets,
            Note::Child(child) => self.child = Some(child),
            Note::Blind(why) => self.blind = Some(why),
            Note::Claim(claim) => self.claims.push(claim),
            Note::Logged(logged) => self.logged.push(logged),
            Note::Exit(exit) => self.exit = Some(exit),
        }
    }

    /// Everything known, as notes.
    fn notes(&self) -> Vec<Note> {
        let launch = self.clone();
        let Launch { id, process, started_at, destination, request, .. } = launch;
        let begun = Note::Launch { version: VERSION, id, process, started_at, destination, request };
        let granularity = Some(self.granularity).filter(|asked| *asked != Granularity::default());
        let content = Some(self.content).filter(|asked| !asked.is_full());
        let context = Some(launch.context).filter(|context| !context.is_empty());
        let further = Some(launch.further).filter(|further| !further.is_empty());
        std::iter::once(begun)
            .chain(granularity.map(Note::Granularity))
            .chain(content.map(Note::Content))
            .chain(context.map(Note::Context))
            .chain(further.map(Note::Further))
            .chain(launch.child.map(Note::Child))
            .chain(launch.claims.into_iter().map(Note::Claim))
            .chain(launch.logged.into_iter().map(Note::Logged))
            .chain(launch.blind.map(Note::Blind))
            .chain(launch.exit.map(Note::Exit))
            .collect()
    }

    /// Whether the observer would have seen every thread that the launch wrote. Of the full-screen interface
    /// the log reports all, also after the launcher's death, except operations that have no id. Without that
    /// log, what a launcher that died had learned may be incomplete.
    ///
    /// No observer sees what an app server writes for `exec --remote` (0.171). With exit code 0 it has written a
    /// session; with any other end nothing shows whether it has.
    pub fn coverage(&self) -> Coverage {
        let died = self.exit.is_none() && self.request.interface == Interface::Lines;
        let may_be_blind = match (&self.request.remote, self.request.interface) {
            (Some(_), Interface::Lines) => self.exit == Some(ChildExit::Code(0)),
            _ => died || self.blind.is_some() || self.logged.contains(&Logged::UntaggedOp),
        };
        if may_be_blind && !self.request.is_ephemeral { Coverage::Partial } else { Coverage::Complete }
    }

    /// Whether neither the launcher nor its Codex runs. A process of another container cannot be seen, so the
    /// age of the record decides.
    pub(super) fn is_over(&self, age: Duration) -> bool {
        let lives = [Some(self.process.life()), self.child.as_ref().map(Process::life)];
        let is_over = |life: &Life| match life {
            Life::Alive => false,
            Life::Gone => true,
            Life::Unknown => age > FORGOTTEN,
        };
        lives.iter().flatten().all(is_over)
    }
}

/// A launch in another container that learned nothing for so long counts as dead. If it lives, its own end
/// corrects what was written before.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

impl LaunchRecord {
    /// Creates the file, with everything known by now.
    pub fn create(folder: &Path, launch: &Launch) -> io::Result<LaunchRecord> {
        make_private_folder(folder)?;
        let path = path_of(folder, &launch.id);
        let file = private_options().append(true).create_new(true).open(&path)?;
        let mut record = LaunchRecord { path, file, is_torn: false };
        let lines: io::Result<Vec<Vec<u8>>> = launch.notes().iter().map(line_of).collect();
        match lines.and_then(|lines| record.file.write_all(&lines.concat())) {
            Ok(()) => Ok(record),
            // A file without its first note cannot be read.
            Err(error) => record.remove().and(Err(error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file: the traces are in the spool.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// In one write: a launcher that dies leaves no incomplete line.
    pub fn note(&mut self, note: &Note) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        let written = write(&mut self.file, note);
        self.is_torn = written.is_err();
        written
    }

    /// Appends what is known of the launch and missing in the file: the disk may have room again.
    pub fn complete(&mut self, launch: &Launch) -> io::Result<()> {
        let noted = load(&self.path).map(|launch| launch.notes()).unwrap_or_default();
        let known = launch.notes();
        // All of it but the exit, as a rule. A server has hundreds of notes.
        let same = known.iter().zip(&noted).take_while(|(known, noted)| known == noted).count();
        known[same..].iter().filter(|note| !noted.contains(note)).try_for_each(|note| self.note(note))
    }
}

/// Appends to the record of a launch that died.
pub fn add_logged(notes: &Path, logged: &[Logged]) -> io::Result<()> {
    let mut file = private_options().append(true).open(notes)?;
    logged.iter().try_for_each(|logged| write(&mut file, &Note::Logged(logged.clone())))
}

fn write(file: &mut File, note: &Note) -> io::Result<()> {
    file.write_all(&line_of(note)?)
}

fn line_of(note: &Note) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    Ok(line)
}

pub fn path_of(folder: &Path, launch: &str) -> PathBuf {
    folder.join(format!("{launch}.jsonl"))
}

/// When a launch of this id began.
pub fn begun_at(launch: &str) -> Option<Timestamp> {
    let (nanoseconds, _) = launch.rsplit_once('-')?;
    Timestamp::from_nanosecond(i128::from_str_radix(nanoseconds, 16).ok()?).ok()
}

/// Reads a launch's file; None when it cannot be read, or is of a later version.
pub fn load(notes: &Path) -> Option<Launch> {
    read(&fs::read_to_string(notes).ok()?)
}

fn read(notes: &str) -> Option<Launch> {
    // A disk that was full left an incomplete line; the lines after it count.
    let mut notes = notes.lines().filter_map(|line| serde_json::from_str(line).ok());
    let Some(Note::Launch { version: ..=VERSION, id, process, started_at, destination, request }) =
        notes.next()
    else {
        return None;
    };
    let mut launch = Launch { id, ..Launch::new(process, started_at, destination, request) };
    notes.for_each(|note| launch.learn(note));
    Some(launch)
}
