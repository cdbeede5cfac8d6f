//! Gathers claims while Codex runs, and records each the moment it is learned.

use super::ancestry::Child;
use super::held_threads::HeldThreads;
use super::interface_log_reader::InterfaceLogReader;
use super::launch_record::{self, Launch, LaunchRecord, Note};
use super::verdict::{Attribution, Claim};
use crate::base::paths::CodexHome;
use crate::codex::interface_log::{self, InterfaceLog, Logged};
use common::disk::entries;
use jiff::{SignedDuration, Timestamp};
use launch::companion::Companion;
use launch::mode::Interface;
use launch::process::Process;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A launch that is being observed. A failure here is logged and costs the trace, never the launch.
pub struct Observer {
    pub launch: Launch,
    /// None until Codex runs and has a home: Codex's start does not wait for the disk.
    pub record: Option<LaunchRecord>,
    /// The number of notes.
    pub noted: usize,
    held: HeldThreads,
    log: Option<InterfaceLogReader>,
    unrecorded: Option<Unrecorded>,
}

/// A launch whose record has yet to begin.
struct Unrecorded {
    /// Codex creates it, in the first launch on a machine or in a new container.
    home: PathBuf,
    /// Folder of the launch records, in that home.
    launches: PathBuf,
}

/// How soon the interface's log is read after the interface has drawn something: a trace follows its prompts within a
/// second.
const LOG_PACE: Duration = Duration::from_millis(250);

/// How often it is read while nothing is drawn.
const QUIET_LOG_PACE: Duration = Duration::from_secs(5);

/// How long a launch may take to begin its record, on a machine that does much else.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

impl Observer {
    /// `launches`: the folder of the launch records. `log` is that of Codex's full-screen interface, where it is used.
    pub fn new(home: &CodexHome, launches: PathBuf, launch: Launch, log: Option<InterfaceLog>) -> Observer {
        let unlogged = launch.request.interface == Interface::FullScreen && log.is_none();
        let log = log.map(|log| InterfaceLogReader::new(log, launch.started_at));
        let unrecorded = Some(Unrecorded { home: home.path().to_owned(), launches });
        let held = HeldThreads::new(home);
        let mut observer = Observer { launch, record: None, noted: 0, held, log, unrecorded };
        if unlogged {
            observer.blinded("the path of the interface's log is not known".to_owned());
        }
        observer
    }

    /// Once Codex runs and its home exists: a launcher that is killed after that loses no session.
    fn begin_record(&mut self) {
        let Some(unrecorded) = self.unrecorded.take_if(|unrecorded| unrecorded.home.is_dir()) else { return };
        match LaunchRecord::create(&unrecorded.launches, &self.launch) {
            Ok(record) => self.record = Some(record),
            Err(error) => {
                tracing::warn!("cannot begin the launch's record: {error}");
                // Codex's log would be in the same folder.
                if self.log.is_some() {
                    self.blinded("the interface's log may be missing".to_owned());
                }
            }
        }
    }

    /// Recorded at once: if the launcher dies, the next one must know.
    fn blinded(&mut self, why: String) {
        tracing::warn!("this launch may have sessions that cannot be seen: {why}");
        self.learn(Note::Blind(why));
    }

    fn take(&mut self, logged: Vec<Logged>) {
        logged.into_iter().for_each(|fact| self.learn(Note::Logged(fact)));
    }

    /// Records what the child holds; returns when to look again.
    fn look_at_what_is_held(&mut self) -> Option<Duration> {
        let child = Child { id: self.launch.child.as_ref()?.id, is_server: self.launch.request.is_server };
        let (threads, again) = self.held.look(child, Instant::now());
        if self.launch.blind.is_none()
            && let Some(why) = self.held.blind().map(|error| format!("codex's open files: {error}"))
        {
            self.blinded(why);
        }
        for thread in threads {
            self.learn(Note::Claim(Claim { thread, attribution: Attribution::Held }));
        }
        again
    }

    fn learn(&mut self, note: Note) {
        if let Some(record) = &mut self.record
            && let Err(error) = record.note(&note)
        {
            tracing::warn!("cannot write the launch's record: {error}");
        }
        self.launch.learn(note);
        self.noted += 1;
    }
}

/// Moves the facts in the log of a launch that died into its record, then removes the log, which contains
/// prompts in clear. If they cannot be recorded the log stays, for the next launch to try.
pub fn take_log_of(launch: &mut Launch, folder: &Path) {
    let log = InterfaceLog::Launchers(interface_log::path_of(folder, &launch.id));
    let mut follow = InterfaceLogReader::new(log, launch.started_at);
    let mut logged = follow.look();
    logged.retain(|fact| !launch.logged.contains(fact));
    match launch_record::add_logged(&launch_record::path_of(folder, &launch.id), &logged) {
        Ok(()) => drop(follow.end()),
        Err(error) => tracing::warn!("cannot record what the interface logged: {error}"),
    }
    launch.logged.extend(logged);
}

/// Removes logs without a launch: an interface that a tool started created them after its launch had ended. A launch that
/// began lately may have yet to begin its record.
pub fn sweep_logs(folder: &Path, now: Timestamp) {
    for entry in entries(folder) {
        let path = entry.path();
        if let Some(launch) = interface_log::launch_of(&path)
            && !launch_record::path_of(folder, launch).exists()
            && launch_record::begun_at(launch).is_none_or(|begun| now.duration_since(begun) >= YOUNG)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

impl Companion for Observer {
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.held.wakes()
    }

    fn began(&mut self, child: u32) {
        self.learn(Note::Child(Process::from_id(child)));
    }

    fn ended(&mut self) {
        self.held.stop();
        if let Some(mut log) = self.log.take() {
            let logged = log.end();
            self.take(logged);
        }
    }

    fn after_output(&self) -> Option<Duration> {
        self.log.is_some().then_some(LOG_PACE)
    }

    fn attend(&mut self) -> Option<Duration> {
        self.begin_record();
        let again = self.look_at_what_is_held();
        let Some(log) = &mut self.log else { return again };
        let logged = log.look();
        self.take(logged);
        Some(again.unwrap_or(QUIET_LOG_PACE).min(QUIET_LOG_PACE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use crate::claim::launch_record::Destination;
    use crate::codex::command_line::SessionRequest;
    use mlflow_store::target::{Experiment, Target};

    fn launch(started_at: Timestamp, process: u32) -> Launch {
        let destination =
            Destination { target: Target::Sqlite("/x.db".into()), experiment: Experiment::Name("e".into()) };
        let process = Process { id: process, ..Process::current() };
        Launch::new(process, started_at, destination, SessionRequest::default())
    }

    #[test]
    fn a_launch_whose_record_cannot_begin_is_blind_where_its_log_would_be() {
        let folder = tempfile::tempdir().unwrap();
        let home = CodexHome::from_world(&World {
            variables: [("CODEX_HOME", folder.path().to_str().unwrap())].into(),
            ..World::read()
        });
        let [folder_of_records, file] = ["launches", "file"].map(|name| folder.path().join(name));
        fs::write(&file, "").unwrap();
        for (launches, is_recorded) in [(folder_of_records, true), (file, false)] {
            let launch = launch(Timestamp::now(), 1);
            let log = InterfaceLog::Launchers(interface_log::path_of(&launches, &launch.id));
            let mut observer = Observer::new(home.as_ref().unwrap(), launches, launch, Some(log));
            observer.attend();
            assert_eq!(
                (observer.record.is_some(), observer.launch.blind.is_none()),
                (is_recorded, is_recorded)
            );
        }
    }

    #[test]
    fn a_log_without_a_record_is_removed_once_its_launch_is_not_young() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let launch = |age: SignedDuration, process: u32| launch(now - age, process);
        let second = SignedDuration::from_secs(1);
        let [young, recorded, left] = [launch(YOUNG - second, 1), launch(YOUNG, 2), launch(YOUNG, 3)];
        let logs = [&young, &recorded, &left].map(|launch| interface_log::path_of(folder.path(), &launch.id));
        logs.iter().for_each(|log| fs::write(log, "").unwrap());
        let _record = LaunchRecord::create(folder.path(), &recorded).unwrap();
        sweep_logs(folder.path(), now);
        assert_eq!(logs.map(|log| log.exists()), [true, true, false]);
    }
}
