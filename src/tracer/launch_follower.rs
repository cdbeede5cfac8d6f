//! Follows a launch while Codex works: its record, its session files, and its traces in their targets.

use super::live_targets::LiveTargets;
use super::live_threads::IDLE;
use super::pace::cpu_time;
use super::thread_source::ThreadSource;
use crate::claim::claims::certain_claims_of;
use crate::claim::launch_record::{self, Launch};
use crate::claim::verdict::Claim;
use crate::codex::interface_log::Logged;
use crate::finish::context::Context;
use crate::finish::tracer_process::limit_in;
use codex_session::rollout::file_changes::Changes;
use codex_session::thread::ThreadId;
use launch::process::Process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The pace where no event comes: a rollout outside of Codex's home, a Codex without a descriptor.
const PACE: Duration = Duration::from_secs(2);

/// The shortest time between two searches for the threads of prompts.
const SEARCH: Duration = Duration::from_millis(250);

pub(super) struct LaunchFollower<'c, 'w> {
    context: &'c mut Context<'w>,
    record: PathBuf,
    launch: Launch,
    /// The launcher writes a byte for each note; the end of this stream is the launcher's.
    launcher: Option<Stdin>,
    /// Readable when Codex ends.
    ending: Option<OwnedFd>,
    changes: Changes,
    threads: LiveTargets,
    claims: BTreeMap<ThreadId, Claim>,
    /// What was searched: threads that Codex held, files that its interface logged.
    searched: BTreeSet<ThreadId>,
    /// Ids of prompts that the interface logged, and that no thread in memory holds yet.
    missing: BTreeSet<String>,
    known_prompts: usize,
    /// There is new evidence, or a file changed.
    is_search_wanted: bool,
    search_due: Instant,
    /// How long a job waits for the delivery.
    until: Option<Instant>,
}

impl<'c, 'w> LaunchFollower<'c, 'w> {
    pub(super) fn new(
        context: &'c mut Context<'w>,
        record: PathBuf,
        launch: Launch,
    ) -> io::Result<LaunchFollower<'c, 'w>> {
        let (changes, now) = (Changes::begin(context.home().path()), Instant::now());
        let mut follower = LaunchFollower {
            threads: LiveTargets::new(context, &launch.further)?,
            context,
            record,
            ending: launch.child.as_ref().and_then(Process::ending),
            launch: launch.clone(),
            launcher: Some(io::stdin()),
            changes,
            claims: BTreeMap::new(),
            searched: BTreeSet::new(),
            missing: BTreeSet::new(),
            known_prompts: 0,
            is_search_wanted: true,
            search_due: now,
            until: None,
        };
        follower.learn(launch);
        Ok(follower)
    }

    /// Returns at Codex's end, or when the launcher and Codex are gone: how long a job waits for the delivery. Receipts
    /// hold what targets took.
    pub(super) fn follow(mut self) -> Option<Instant> {
        while !self.is_over() {
            self.wait();
            self.take_changes();
            self.threads.take_answers();
            let now = Instant::now();
            self.find_threads(now);
            self.update(now);
            self.threads.unload_idle(self.context, now);
        }
        self.threads.end(self.context);
        self.until
    }

    fn is_over(&self) -> bool {
        let is_child_alive = || self.launch.child.as_ref().is_some_and(Process::is_alive);
        self.launch.exit.is_some() || (self.launcher.is_none() && !is_child_alive())
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let search = (self.is_search_wanted && self.misses_a_thread()).then_some(self.search_due);
        let next = self.threads.due().into_iter().chain(search).min();
        let is_watched = self.ending.is_some() || self.launcher.is_some();
        let patience = if is_watched { IDLE } else { PACE };
        let patience = next.map_or(patience, |next| next.saturating_duration_since(now).min(patience));
        let stdin = self.launcher.as_ref().map(AsFd::as_fd);
        let ending = self.ending.as_ref().filter(|_| self.launcher.is_none()).map(AsFd::as_fd);
        let wakes = [stdin, ending].into_iter().flatten().chain(self.threads.wakes());
        self.changes.wait(wakes, patience);
        self.hear_launcher();
    }

    /// Reads the launch's record again if the launcher has noted something.
    fn hear_launcher(&mut self) {
        let Some(stdin) = &mut self.launcher else { return };
        if !is_readable(stdin) {
            return;
        }
        // As large as the buffer of stdin: what that kept back would wake no poll.
        let mut message = [0; 8192];
        let count = stdin.read(&mut message).unwrap_or_default();
        self.until = limit_in(&message[..count]).map(|limit| Instant::now() + limit).or(self.until);
        if count == 0 {
            self.launcher = None;
        }
        if let Some(launch) = launch_record::load(&self.record) {
            self.learn(launch);
        }
    }

    fn learn(&mut self, launch: Launch) {
        let prompts = launch.logged.iter().filter_map(|logged| match logged {
            Logged::Prompt { client_id } => Some(client_id),
            Logged::Rollout(_) | Logged::UntaggedOp => None,
        });
        self.missing.extend(prompts.clone().skip(self.known_prompts).cloned());
        self.known_prompts = prompts.count();
        self.is_search_wanted = true;
        self.launch = launch;
    }

    fn take_changes(&mut self) {
        let (now, changed) = (Instant::now(), self.changes.take());
        self.is_search_wanted |= !changed.is_empty();
        changed.iter().for_each(|file| self.threads.file_changed(file, now));
    }

    /// Whether evidence of the launch leads to no thread that is followed yet.
    fn misses_a_thread(&self) -> bool {
        let is_new = |thread: &ThreadId| !self.searched.contains(thread);
        let is_missing = |logged: &Logged| match logged {
            Logged::Rollout(file) => ThreadId::from_rollout_name(file).as_ref().is_some_and(is_new),
            Logged::Prompt { .. } | Logged::UntaggedOp => false,
        };
        !self.missing.is_empty()
            || self.launch.claims.iter().any(|claim| is_new(&claim.thread))
            || self.launch.logged.iter().any(is_missing)
    }

    fn find_threads(&mut self, now: Instant) {
        if now < self.search_due || !self.is_search_wanted || !self.misses_a_thread() {
            return;
        }
        self.is_search_wanted = false;
        let before = cpu_time();
        for claim in certain_claims_of(&self.launch, &self.context.paths) {
            self.searched.insert(claim.thread.clone());
            self.threads.add(&claim.thread, now);
            self.claims.insert(claim.thread.clone(), claim);
        }
        let held = self.launch.claims.iter().map(|claim| claim.thread.clone());
        self.searched.extend(held);
        // A search reads the session files of the day.
        let took = cpu_time() - before;
        self.search_due = Instant::now() + SEARCH.max(took * 20);
    }

    fn update(&mut self, now: Instant) {
        if self.threads.next_update().is_none_or(|due| due > now) {
            return;
        }
        if self.context.reread_settings() {
            self.threads.redact_again();
        }
        let Self { launch, claims, context, threads, .. } = self;
        let source = |thread: &ThreadId| Some(ThreadSource::Launch { launch, claim: claims.get(thread)? });
        for sub_agent in threads.update(source, context, now) {
            self.searched.remove(&sub_agent);
        }
        let threads = &self.threads;
        self.missing.retain(|prompt| !threads.holds_prompt(prompt));
    }
}

fn is_readable(stdin: &Stdin) -> bool {
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
