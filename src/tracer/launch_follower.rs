//! Follows a launch while Codex works: its record, its session files, and its traces in their targets.

use super::live_sender::{Answer, LiveSender};
use super::live_thread::{LiveThread, Occasion, Workshop};
use super::pace::Pace;
use super::session_cache::SessionCache;
use crate::claim::claims::certain_claims_of;
use crate::claim::launch_record::{self, Destination, Launch};
use crate::codex::interface_log::Logged;
use crate::finish::context::Context;
use crate::finish::tracer_process::limit_in;
use crate::settings::modes::Live;
use codex_session::rollout::file_changes::Changes;
use codex_session::rollout::thread_files::ThreadFiles;
use codex_session::thread::ThreadId;
use launch::process::Process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the tracer waits for more lines after the first: Codex writes several at once.
const LINGER: Duration = Duration::from_millis(50);

/// The pace where no event comes: a rollout outside of Codex's home, a Codex without a descriptor.
const PACE: Duration = Duration::from_secs(2);

/// The shortest time between two searches for the threads of prompts.
const SEARCH: Duration = Duration::from_millis(250);

/// A thread leaves memory when nothing was written to it for so long.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// Of more threads in memory, those leave that were not written to for `RESTING`.
const MOST_LOADED: usize = 8;

const RESTING: Duration = Duration::from_secs(60);

pub(super) struct LaunchFollower<'c, 'w> {
    context: &'c Context<'w>,
    record: PathBuf,
    launch: Launch,
    /// The launcher writes a byte for each note; the end of this stream is the launcher's.
    launcher: Option<Stdin>,
    /// Readable when Codex ends.
    ending: Option<OwnedFd>,
    changes: Changes,
    shelf: ThreadFiles,
    cache: SessionCache,
    threads: BTreeMap<ThreadId, LiveThread>,
    /// What was searched: threads that Codex held, files that its interface logged.
    searched: BTreeSet<ThreadId>,
    /// Ids of prompts that the interface logged, and that no thread in memory holds yet.
    missing: BTreeSet<String>,
    known_prompts: usize,
    /// There is new evidence, or a file changed.
    is_search_wanted: bool,
    search_due: Instant,
    sender: LiveSender,
    pace: Pace,
    has_failed: bool,
    /// How long a job waits for the delivery.
    limit: Option<Duration>,
}

impl<'c, 'w> LaunchFollower<'c, 'w> {
    pub(super) fn new(
        context: &'c Context<'w>,
        record: PathBuf,
        launch: Launch,
    ) -> io::Result<LaunchFollower<'c, 'w>> {
        let (home, now) = (context.home().path(), Instant::now());
        let mut follower = LaunchFollower {
            context,
            record,
            ending: launch.child.as_ref().and_then(Process::ending),
            launch: launch.clone(),
            launcher: Some(io::stdin()),
            changes: Changes::begin(home),
            shelf: ThreadFiles::new(home),
            cache: SessionCache::default(),
            threads: BTreeMap::new(),
            searched: BTreeSet::new(),
            missing: BTreeSet::new(),
            known_prompts: 0,
            is_search_wanted: true,
            search_due: now,
            sender: LiveSender::start(context.access())?,
            pace: Pace::new(now),
            has_failed: false,
            limit: None,
        };
        follower.learn(launch);
        Ok(follower)
    }

    /// Returns at Codex's end, or when the launcher and Codex are gone: how long a job waits for the delivery. Receipts
    /// hold what targets took.
    pub(super) fn follow(mut self) -> Option<Duration> {
        while !self.is_over() {
            self.wait();
            self.take_changes();
            for answer in self.sender.take_answers() {
                self.answered(answer);
            }
            let now = Instant::now();
            self.find_threads(now);
            if self.next_update().is_some_and(|due| due <= now) {
                self.update(now);
            }
            self.unload_idle(now);
        }
        let (now, Self { sender, mut threads, context, limit, .. }) = (Instant::now(), self);
        for Answer { thread, trace, outcome } in sender.stop() {
            let _ = threads.get_mut(&thread).map(|thread| thread.answered(trace, outcome, now));
        }
        threads.values_mut().for_each(|thread| thread.unload(context));
        limit
    }

    fn is_over(&self) -> bool {
        let is_child_alive = || self.launch.child.as_ref().is_some_and(Process::is_alive);
        self.launch.exit.is_some() || (self.launcher.is_none() && !is_child_alive())
    }

    /// When the next update is to be made; None while there is none, or one is under way.
    fn next_update(&self) -> Option<Instant> {
        if self.sender.is_busy() {
            return None;
        }
        let due = |thread: &LiveThread| {
            thread.changed_at.map(|at| at + LINGER).into_iter().chain(thread.root_due).min()
        };
        let first = self.threads.values().filter(|thread| !thread.is_given_up).filter_map(due).min()?;
        Some(first.max(self.pace.due))
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let search = (self.is_search_wanted && self.misses_a_thread()).then_some(self.search_due);
        let next = self.next_update().into_iter().chain(search).min();
        let is_watched = self.ending.is_some() || self.launcher.is_some();
        let patience = if is_watched { IDLE } else { PACE };
        let patience = next.map_or(patience, |next| next.saturating_duration_since(now).min(patience));
        let stdin = self.launcher.as_ref().map(AsFd::as_fd);
        let ending = self.ending.as_ref().filter(|_| self.launcher.is_none()).map(AsFd::as_fd);
        let wakes = [stdin, ending, Some(self.sender.wakes())].into_iter().flatten();
        self.changes.wait(wakes, patience);
        self.hear_launcher();
    }

    /// Reads the launch's record again if the launcher has noted something.
    fn hear_launcher(&mut self) {
        let Some(stdin) = &mut self.launcher else { return };
        if !is_readable(stdin) {
            return;
        }
        let mut message = [0; 256];
        let count = stdin.read(&mut message).unwrap_or_default();
        self.limit = limit_in(&message[..count]).or(self.limit);
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
        for file in changed {
            let of = ThreadId::from_rollout_name(&file);
            let is_known = self.threads.values().any(|thread| thread.read.contains(&file));
            if !is_known {
                self.shelf.list_again();
            }
            let starter = self.shelf.starter_of(&file).cloned().unwrap_or_default();
            let owner =
                |thread: &&mut LiveThread| thread.owns(&file, of.as_ref(), |member| starter.is(member));
            for thread in self.threads.values_mut().filter(|thread| owner(thread)) {
                thread.change(now);
                if !is_known {
                    thread.look_for_files();
                }
            }
        }
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
        for claim in certain_claims_of(&self.launch, &self.context.paths) {
            self.searched.insert(claim.thread.clone());
            match self.threads.get_mut(&claim.thread) {
                Some(thread) => thread.claim = claim,
                None => _ = self.threads.insert(claim.thread.clone(), LiveThread::new(claim, now)),
            }
        }
        let held = self.launch.claims.iter().map(|claim| claim.thread.clone());
        self.searched.extend(held);
        // A search reads the session files of the day.
        let took = now.elapsed();
        self.search_due = Instant::now() + SEARCH.max(took * 20);
    }

    fn update(&mut self, now: Instant) {
        let Self { launch, context, cache, shelf, .. } = self;
        let settings = context.settings();
        let mut workshop = Workshop { launch, context, cache, shelf };
        let mut no_roots = Vec::new();
        for (id, thread) in &mut self.threads {
            let is_due = thread.changed_at.is_some_and(|at| at + LINGER <= now)
                || thread.root_due.is_some_and(|due| due <= now);
            if !is_due || thread.is_given_up {
                continue;
            }
            let wholes_only = thread.takes_wholes_only();
            let occasion = |destination: &Destination| match settings.live_for(&destination.target) {
                Live::On if !wholes_only => Occasion::Change,
                _ => Occasion::TurnsEnd,
            };
            match thread.updates(&mut workshop, occasion, now) {
                Ok(Some(updates)) => updates.into_iter().for_each(|update| self.sender.send(update)),
                Ok(None) => no_roots.push(id.clone()),
                Err(error) => {
                    tracing::info!("thread {id} is not followed now: {error}");
                    thread.look_for_files();
                }
            }
        }
        // A sub-agent's file was read before its first line named its parent.
        for thread in no_roots {
            self.threads.remove(&thread);
            self.searched.remove(&thread);
        }
        let cache = &self.cache;
        self.missing.retain(|prompt| !cache.holds_prompt(prompt));
        self.pace.began(now, now.elapsed());
    }

    fn answered(&mut self, Answer { thread, trace, outcome }: Answer) {
        let (now, Some(of)) = (Instant::now(), self.threads.get_mut(&thread)) else { return };
        match of.answered(trace, outcome, now) {
            Ok(()) => {
                self.pace.succeeded();
                self.has_failed = false;
            }
            Err(error) => {
                self.pace.failed(now);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::info!("the trace is not brought up to date while Codex works: {error}");
                }
            }
        }
    }

    /// Threads that are idle leave memory, and come back when they grow.
    fn unload_idle(&mut self, now: Instant) {
        if self.sender.is_busy() {
            return;
        }
        let mut loaded: Vec<&mut LiveThread> =
            self.threads.values_mut().filter(|thread| thread.may_leave_memory()).collect();
        loaded.sort_by_key(|thread| std::cmp::Reverse(thread.last_change));
        for (place, thread) in loaded.into_iter().enumerate() {
            let idle = now.saturating_duration_since(thread.last_change);
            if idle >= if place < MOST_LOADED { IDLE } else { RESTING } {
                thread.unload(self.context);
                self.cache.forget(&thread.read);
            }
        }
    }
}

fn is_readable(stdin: &Stdin) -> bool {
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
