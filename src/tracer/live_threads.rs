//! The threads that are followed: which of them changed, when they are sent, and which stay in memory.

use super::live_sender::{Answer, LiveSender};
use super::live_thread::{BuildInputs, LiveThread, Occasion};
use super::pace::{Pace, Work, cpu_time};
use super::session_cache::SessionCache;
use super::thread_source::ThreadSource;
use crate::claim::launch_record::Destination;
use crate::finish::context::Context;
use crate::queue::receipts;
use crate::queue::receipts::Receipts;
use crate::settings::further_targets::FurtherTarget;
use crate::settings::modes::Live;
use codex_session::rollout::thread_files::{ThreadFiles, ThreadOrigin};
use codex_session::thread::ThreadId;
use launch::detached;
use mlflow_store::target::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the tracer waits for more lines after the first: Codex writes several at once.
const LINGER: Duration = Duration::from_millis(50);

/// A thread leaves memory when nothing was written to it for so long.
pub(super) const IDLE: Duration = Duration::from_secs(10 * 60);

/// Of more threads in memory, those leave that were not written to for `RESTING`.
const MOST_LOADED: usize = 8;

const RESTING: Duration = Duration::from_secs(60);

/// An update of so much CPU time leaves much free memory behind.
const MUCH_WORK: Duration = Duration::from_millis(50);

pub struct LiveThreads {
    pub cache: SessionCache,
    /// The target of the traces; None where each thread has its first one.
    further: Option<FurtherTarget>,
    shelf: ThreadFiles,
    threads: BTreeMap<ThreadId, LiveThread>,
    /// Files that belong to none of them.
    foreign: BTreeSet<PathBuf>,
    sender: LiveSender,
    receipts: Receipts,
    pace: Pace,
    /// When the next thread leaves memory.
    unload_due: Option<Instant>,
    /// Much memory is free once nothing is under way.
    has_free_memory: bool,
    has_failed: bool,
}

impl LiveThreads {
    pub fn new(context: &Context, further: Option<FurtherTarget>) -> io::Result<LiveThreads> {
        Ok(LiveThreads {
            cache: SessionCache::default(),
            further,
            shelf: ThreadFiles::new(context.home().path()),
            threads: BTreeMap::new(),
            foreign: BTreeSet::new(),
            sender: LiveSender::start(context.access())?,
            receipts: receipts(&context.paths),
            pace: Pace::new(Instant::now()),
            unload_due: None,
            has_free_memory: false,
            has_failed: false,
        })
    }

    /// Readable when `take_answers` has something to do.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.sender.wakes()
    }

    pub fn add(&mut self, thread: ThreadId, now: Instant) {
        self.foreign.clear();
        let new = || LiveThread::new(thread.clone(), self.further.clone(), now);
        self.threads.entry(thread.clone()).or_insert_with(new);
    }

    /// A session file was written to. False where it belongs to no thread here.
    pub fn file_changed(&mut self, file: &Path, now: Instant) -> bool {
        if self.foreign.contains(file) {
            return false;
        }
        let is_known = self.threads.values().any(|thread| thread.has_read(file));
        if !is_known {
            self.shelf.relist();
        }
        let of = ThreadId::from_rollout_name(file);
        let origin = self.shelf.origin_of(file);
        let mut is_owned = false;
        for thread in self.threads.values_mut() {
            if thread.owns(file, of.as_ref(), |member| origin.is_below(member)) {
                is_owned = true;
                thread.change(now);
                if !is_known {
                    thread.look_for_files();
                }
            }
        }
        // Without its first line it may still turn out to be a sub-agent's.
        if !is_owned && origin != ThreadOrigin::default() {
            self.foreign.insert(file.to_path_buf());
        }
        is_owned
    }

    /// When `update` or `unload_idle` has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.next_update().into_iter().chain(self.unload_due).min()
    }

    /// When the next update is to be made; None while there is none, or one is under way.
    pub fn next_update(&self) -> Option<Instant> {
        if self.sender.is_busy() {
            return None;
        }
        let first = self.threads.values().filter_map(|thread| thread.due(LINGER)).min()?;
        Some(first.max(self.pace.due))
    }

    /// The rules for secrets have changed.
    pub fn redact_again(&mut self) {
        self.threads.values_mut().for_each(LiveThread::redact_again);
    }

    /// Sends what changed; call it when `next_update` is due. Returns threads that are sub-agents: their root threads are
    /// followed instead.
    pub fn update<'s>(
        &mut self,
        source: impl Fn(&ThreadId) -> Option<ThreadSource<'s>>,
        context: &Context,
        now: Instant,
    ) -> Vec<ThreadId> {
        let (mut sub_agents, before, mut is_load) = (Vec::new(), cpu_time(), false);
        let settings = context.settings();
        let mut inputs = BuildInputs { context, cache: &self.cache, shelf: &mut self.shelf };
        for (id, thread) in &mut self.threads {
            let Some(source) = source(id).filter(|_| thread.due(LINGER).is_some_and(|due| due <= now)) else {
                continue;
            };
            is_load |= !thread.is_in_memory();
            let wholes_only = thread.takes_wholes_only();
            let live_for = |target: &Target| match &self.further {
                Some(further) => settings.live_for_further(further),
                None => settings.live_for(target),
            };
            let occasion = |destination: &Destination| match live_for(&destination.target) {
                Live::On if !wholes_only => Occasion::Change,
                Live::On | Live::Turn => Occasion::TurnsEnd,
                Live::Off => Occasion::Never,
            };
            match thread.updates(source, &mut inputs, occasion, now) {
                Ok(Some(updates)) => updates.into_iter().for_each(|update| self.sender.send(update)),
                Ok(None) => sub_agents.push(id.clone()),
                Err(error) => {
                    tracing::info!("thread {id} is not followed now: {error}");
                    thread.look_for_files();
                }
            }
        }
        // A sub-agent's file was read before its first line named its parent.
        sub_agents.iter().for_each(|thread| _ = self.threads.remove(thread));
        let took = cpu_time() - before;
        self.has_free_memory |= is_load || took >= MUCH_WORK;
        self.pace.began(now, if is_load { Work::Load(took) } else { Work::Update(took) });
        sub_agents
    }

    pub fn take_answers(&mut self) {
        for answer in self.sender.take_answers() {
            self.answered(answer);
        }
    }

    fn answered(&mut self, Answer { thread, trace, outcome }: Answer) {
        let (now, Some(of)) = (Instant::now(), self.threads.get_mut(&thread)) else { return };
        match of.answered(trace, outcome, &self.receipts, now) {
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
    pub fn unload_idle(&mut self, context: &Context, now: Instant) {
        if self.sender.is_busy() {
            return;
        }
        let mut loaded: Vec<&mut LiveThread> =
            self.threads.values_mut().filter(|thread| thread.may_leave_memory()).collect();
        loaded.sort_by_key(|thread| std::cmp::Reverse(thread.last_change));
        self.unload_due = None;
        for (place, thread) in loaded.into_iter().enumerate() {
            let due = thread.last_change + if place < MOST_LOADED { IDLE } else { RESTING };
            if due > now {
                self.unload_due = Some(self.unload_due.map_or(due, |other| other.min(due)));
                continue;
            }
            thread.unload(&self.cache, context);
            self.has_free_memory = true;
        }
        if let Some(time) = now.checked_sub(IDLE) {
            self.cache.forget_before(time);
        }
        if std::mem::take(&mut self.has_free_memory) {
            detached::return_memory();
        }
    }

    /// For a thread that is delivered now: waits for what is under way and writes its receipts, so that the delivery
    /// sends what is missing.
    pub fn release(&mut self, thread: &ThreadId, context: &Context) {
        self.sender.wait().into_iter().for_each(|answer| self.answered(answer));
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.unload(&self.cache, context);
        }
    }

    /// Sends nothing more; what is under way then is broken off. Receipts hold what targets took.
    pub fn end(self, context: &Context, until: Instant) {
        let LiveThreads { cache, mut threads, sender, receipts, .. } = self;
        let now = Instant::now();
        for Answer { thread, trace, outcome } in sender.stop(until) {
            let _ = threads.get_mut(&thread).map(|thread| thread.answered(trace, outcome, &receipts, now));
        }
        threads.values_mut().for_each(|thread| thread.unload(&cache, context));
    }
}
