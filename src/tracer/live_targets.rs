//! The targets of a launch while Codex works. Each has its own readers, sender and pace: one that hangs holds up no other.

use super::live_threads::LiveThreads;
use super::thread_source::ThreadSource;
use crate::finish::context::Context;
use crate::settings::further_targets::FurtherTarget;
use codex_session::thread::ThreadId;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long updates that are under way at Codex's end may take until they are broken off.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct LiveTargets {
    /// The first target's threads, then those of each further target.
    all: Vec<LiveThreads>,
}

impl LiveTargets {
    pub(super) fn new(context: &Context, further: &[FurtherTarget]) -> io::Result<LiveTargets> {
        let targets = std::iter::once(None).chain(further.iter().cloned().map(Some));
        let all = targets.map(|target| LiveThreads::new(context, target)).collect::<io::Result<_>>()?;
        Ok(LiveTargets { all })
    }

    /// Each is readable when `take_answers` has something to do.
    pub(super) fn wakes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().map(LiveThreads::wakes)
    }

    pub(super) fn add(&mut self, thread: &ThreadId, now: Instant) {
        self.all.iter_mut().for_each(|threads| threads.add(thread.clone(), now));
    }

    pub(super) fn file_changed(&mut self, file: &Path, now: Instant) {
        self.all.iter_mut().for_each(|threads| _ = threads.file_changed(file, now));
    }

    /// When `update` or `unload_idle` has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.all.iter().filter_map(LiveThreads::due).min()
    }

    /// When the next update is to be made; None while there is none, or all of them wait for an answer.
    pub(super) fn next_update(&self) -> Option<Instant> {
        self.all.iter().filter_map(LiveThreads::next_update).min()
    }

    /// The rules for secrets have changed.
    pub(super) fn redact_again(&mut self) {
        self.all.iter_mut().for_each(LiveThreads::redact_again);
    }

    /// Brings the targets up to date whose update is due. Returns threads that are sub-agents.
    pub(super) fn update<'s>(
        &mut self,
        source: impl Fn(&ThreadId) -> Option<ThreadSource<'s>>,
        context: &Context,
        now: Instant,
    ) -> Vec<ThreadId> {
        let is_due = |threads: &&mut LiveThreads| threads.next_update().is_some_and(|due| due <= now);
        let due = self.all.iter_mut().filter(is_due);
        due.flat_map(|threads| threads.update(&source, context, now)).collect()
    }

    pub(super) fn take_answers(&mut self) {
        self.all.iter_mut().for_each(LiveThreads::take_answers);
    }

    pub(super) fn unload_idle(&mut self, context: &Context, now: Instant) {
        self.all.iter_mut().for_each(|threads| threads.unload_idle(context, now));
    }

    pub(super) fn holds_prompt(&self, client_id: &str) -> bool {
        self.all.iter().any(|threads| threads.cache.holds_prompt(client_id))
    }

    /// Sends nothing more. Receipts hold what targets took.
    pub(super) fn end(self, context: &Context) {
        let until = Instant::now() + PATIENCE;
        self.all.into_iter().for_each(|threads| threads.end(context, until));
    }
}
