//! A launch while Codex runs: the observer gathers its claims, and a tracer is started once it lives long enough.

use super::tracer_process::TracerProcess;
use crate::claim::observer::Observer;
use launch::companion::Companion;
use launch::memory::Memory;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A shorter launch has no tracer: the work after its end takes less than a process that follows it.
const SHORT: Duration = Duration::from_secs(2);

/// How long after the start of a tracer that died the launcher starts another, and how often it looks for that.
const AGAIN: Duration = Duration::from_secs(30);

pub struct FollowedLaunch {
    pub observer: Observer,
    /// None until it is started.
    pub tracer: Option<TracerProcess>,
    /// When one is started at the earliest; None for never.
    due: Option<Instant>,
    /// Of the observer's notes, how many the tracer knows.
    known: usize,
}

impl FollowedLaunch {
    pub fn new(observer: Observer, is_live: bool) -> FollowedLaunch {
        let due = is_live.then(|| Instant::now() + SHORT);
        FollowedLaunch { observer, tracer: None, due, known: 0 }
    }

    fn has_session(&self) -> bool {
        let launch = &self.observer.launch;
        !(launch.claims.is_empty() && launch.logged.is_empty())
    }

    /// Starts the tracer when it is due, or when it has died; returns when to look again.
    fn start_tracer(&mut self) -> Option<Duration> {
        if self.tracer.as_mut().is_some_and(TracerProcess::has_ended) {
            tracing::warn!("the tracer has ended before codex");
            self.tracer = None;
        }
        let due = self.due.filter(|_| self.has_session())?;
        self.observer.record.as_ref()?;
        if self.tracer.is_some() {
            return Some(AGAIN);
        }
        let now = Instant::now();
        if now < due {
            return Some(due - now);
        }
        self.due = Some(now + AGAIN);
        self.known = self.observer.noted;
        match TracerProcess::start(&self.observer.launch.id, Memory::Usual, self.observer.wakes()) {
            Ok(tracer) => self.tracer = Some(tracer),
            Err(error) => tracing::warn!("cannot start a tracer: {error}"),
        }
        Some(AGAIN)
    }

    fn wake_tracer(&mut self) {
        if self.known != self.observer.noted
            && let Some(tracer) = &mut self.tracer
        {
            self.known = self.observer.noted;
            tracer.wake();
        }
    }
}

impl Companion for FollowedLaunch {
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.observer.wakes()
    }

    fn began(&mut self, child: u32) {
        self.observer.began(child);
    }

    fn ended(&mut self) {
        self.observer.ended();
    }

    fn after_output(&self) -> Option<Duration> {
        self.observer.after_output()
    }

    fn attend(&mut self) -> Option<Duration> {
        let again = self.observer.attend();
        self.wake_tracer();
        let start = self.start_tracer();
        again.into_iter().chain(start).min()
    }
}
