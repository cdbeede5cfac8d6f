//! Gathers claims while Codex runs, and records each the moment it is learned.

use super::ancestry::Child;
use super::held_threads::HeldThreads;
use super::interface_log_reader::InterfaceLogReader;
use super::launch_record::{self, Launch, LaunchRecord, Note};
use super::verdict::{Attribution, Claim};
use crate::base::paths::CodexHome;
use crate::codex::interface_log::{self, InterfaceLog, Logged};
use common::disk::entries;
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
    pub record: Option<LaunchRecord>,
    /// The number of notes.
    pub noted: usize,
    held: HeldThreads,
    log: Option<InterfaceLogReader>,
    awaited: Option<Awaited>,
}

/// A home that Codex has not created yet: the first launch on a machine, or in a new container.
struct Awaited {
    home: PathBuf,
    /// Folder of the launch records, in that home.
    launches: PathBuf,
}

/// How soon the interface's log is read after the interface has drawn something: a trace follows its prompts within a
/// second.
const LOG_PACE: Duration = Duration::from_millis(250);

/// How often it is read while nothing is drawn.
const QUIET_LOG_PACE: Duration = Duration::from_secs(5);

impl Observer {
    /// `log` is that of Codex's full-screen interface, where it is used.
    pub fn new(
        home: &CodexHome,
        launch: Launch,
        record: Option<LaunchRecord>,
        log: Option<InterfaceLog>,
    ) -> Observer {
        let unlogged = launch.request.interface == Interface::FullScreen && log.is_none();
        let log = log.map(|log| InterfaceLogReader::new(log, launch.started_at));
        let mut observer =
            Observer { launch, record, noted: 0, held: HeldThreads::new(home), log, awaited: None };
        if unlogged {
            observer.blinded("the path of the interface's log is not known".to_owned());
        }
        observer
    }

    /// The record begins when Codex has created its home; a launcher that is killed after that loses no session.
    pub fn await_home(&mut self, home: &Path, launches: PathBuf) {
        self.awaited = Some(Awaited { home: home.to_owned(), launches });
    }

    fn begin_notes_that_waited(&mut self) {
        let Some(awaited) = self.awaited.take_if(|awaited| awaited.home.is_dir()) else { return };
        match LaunchRecord::create(&awaited.launches, &self.launch) {
            Ok(record) => self.record = Some(record),
            Err(error) => tracing::warn!("cannot begin the launch's record: {error}"),
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

/// Removes logs without a launch: an interface that a tool started created them after its launch had ended.
pub fn sweep_logs(folder: &Path) {
    for entry in entries(folder) {
        let path = entry.path();
        if let Some(launch) = interface_log::launch_of(&path)
            && !launch_record::path_of(folder, launch).exists()
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
        self.begin_notes_that_waited();
        let again = self.look_at_what_is_held();
        let Some(log) = &mut self.log else { return again };
        let logged = log.look();
        self.take(logged);
        Some(again.unwrap_or(QUIET_LOG_PACE).min(QUIET_LOG_PACE))
    }
}
