//! The work of an import: all cores read, one delivers, and nobody is far ahead of the other.

use super::progress::Progress;
use crate::claim::journal::Destination;
use crate::env::World;
use crate::export::deliver::Step;
use crate::launch::signals::SignalPipe;
use crate::rollout::files::SessionFile;
use crate::session;
use crate::spool::entry::Rank;
use crate::state::State;
use crate::state::found::{Found, Standing};
use crate::trace::ids::TraceId;
use jiff::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How many traces wait in the spool before they are delivered, and how many more while they are. A batch
/// shares the greeting of a server; the disk holds no more than this of what has yet to be sent.
const BATCH: usize = 64;

/// How soon a signal is seen.
const LOOK: Duration = Duration::from_millis(50);

/// What is done with each session.
pub(super) struct Work<'a> {
    pub(super) state: &'a State,
    pub(super) world: &'a World,
    /// Where a session goes that was never sent.
    pub(super) destination: &'a Destination,
    pub(super) since: Option<Timestamp>,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Import,
    /// Tells what an import would do.
    DryRun,
}

/// What became of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stands {
        standing: Standing,
        what: What,
    },
    /// In the spool, where it waits for its target.
    Waiting {
        what: What,
        reason: String,
    },
    Failed(String),
    /// Nobody asked anything in it.
    Empty,
    Older,
    /// Somebody asked us to end before it was looked at.
    NotReached,
}

/// A session as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct What {
    pub(super) trace: TraceId,
    pub(super) prompt: Option<String>,
    pub(super) destination: Destination,
}

impl Work<'_> {
    /// The outcome of each, in their order.
    pub(super) fn run(&self, threads: &[Vec<SessionFile>], progress: &Progress) -> Vec<Outcome> {
        let signals = SignalPipe::of_endings().ok();
        let asked = Cell::new(0);
        // The first stops the reading; what was put is still delivered, unless somebody asks again.
        let times_asked = || {
            asked.set(asked.get() + signals.as_ref().map_or(0, SignalPipe::endings));
            asked.get()
        };
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (tell, told) = sync_channel::<(usize, Outcome)>(BATCH);
        let mut outcomes = vec![Outcome::NotReached; threads.len()];
        let mut delivery = Delivery::of(self);
        thread::scope(|scope| {
            let workers = thread::available_parallelism().map_or(1, usize::from).min(threads.len());
            for _ in 0..workers {
                let tell = tell.clone();
                scope.spawn(|| self.read_all(threads, &next, &stopped, tell));
            }
            drop(tell);
            loop {
                stopped.fetch_or(times_asked() > 0, Ordering::Relaxed);
                match told.recv_timeout(LOOK) {
                    Ok((index, outcome)) => {
                        progress.one_more();
                        delivery.expect(&outcome);
                        outcomes[index] = outcome;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if delivery.expected >= BATCH {
                    delivery.deliver(&|| times_asked() > 1);
                }
            }
        });
        delivery.deliver(&|| times_asked() > 1);
        progress.end();
        outcomes.into_iter().map(|outcome| delivery.outcome(outcome)).collect()
    }

    fn read_all(
        &self,
        threads: &[Vec<SessionFile>],
        next: &AtomicUsize,
        stopped: &AtomicBool,
        tell: SyncSender<(usize, Outcome)>,
    ) {
        while !stopped.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(files) = threads.get(index) else { return };
            // A session that trips us over must not keep the others back.
            let done = catch_unwind(AssertUnwindSafe(|| self.one(files)));
            let outcome =
                done.unwrap_or_else(|_| Outcome::Failed("a defect of codex-traced (see its log)".into()));
            if tell.send((index, outcome)).is_err() {
                return;
            }
        }
    }

    /// Reads a thread's files, and puts the trace of the one that holds most into the spool.
    fn one(&self, files: &[SessionFile]) -> Outcome {
        let (mut fullest, mut failure, mut is_older): (Option<Found>, _, _) = (None, None, false);
        for file in files {
            match self.read(file) {
                Ok(Read::Found(found)) => {
                    let rank = |found: &Found| Rank::of(&found.trace);
                    if fullest.as_ref().is_none_or(|fullest| rank(&found) > rank(fullest)) {
                        fullest = Some(*found);
                    }
                }
                Ok(Read::Older) => is_older = true,
                Ok(Read::Empty) => {}
                Err(reason) => failure = Some(format!("{}: {reason}", file.path.display())),
            }
        }
        match (fullest, failure) {
            (Some(found), _) => self.put(found),
            (None, Some(reason)) => Outcome::Failed(reason),
            (None, None) if is_older => Outcome::Older,
            (None, None) => Outcome::Empty,
        }
    }

    fn read(&self, file: &SessionFile) -> Result<Read, String> {
        let writer = self.state.writer_of(&file.thread);
        let session = session::read(&file.path, writer).map_err(|error| error.to_string())?;
        if self.since.is_some_and(|since| session.last_line_at.is_some_and(|last| last < since)) {
            return Ok(Read::Older);
        }
        let found = self.state.found(&file.thread, &session, &file.path, self.destination, self.world);
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map_or(Read::Empty, |found| Read::Found(Box::new(found))))
    }

    fn put(&self, found: Found) -> Outcome {
        let standing = found.standing;
        let what = What {
            trace: found.trace.id,
            prompt: found.trace.request_preview.clone(),
            destination: found.destination.clone(),
        };
        if self.mode == Mode::DryRun || standing == Standing::Unchanged {
            return Outcome::Stands { standing, what };
        }
        match self.state.put_found(found) {
            Ok(()) => Outcome::Stands { standing, what },
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

enum Read {
    Found(Box<Found>),
    Empty,
    Older,
}

/// What was put and has yet to arrive.
struct Delivery<'a> {
    work: &'a Work<'a>,
    expected: usize,
    /// Of each trace that was tried, how it went.
    steps: RefCell<HashMap<TraceId, Result<(), String>>>,
    /// Why nothing more is sent: each further try would wait as long.
    given_up: Option<String>,
}

impl<'a> Delivery<'a> {
    fn of(work: &'a Work<'a>) -> Delivery<'a> {
        Delivery { work, expected: 0, steps: RefCell::default(), given_up: None }
    }

    fn expect(&mut self, outcome: &Outcome) {
        let is_put = matches!(outcome, Outcome::Stands { standing, .. } if *standing != Standing::Unchanged);
        self.expected += usize::from(is_put && self.work.mode == Mode::Import);
    }

    fn deliver(&mut self, is_asked_to_end: &dyn Fn() -> bool) {
        if std::mem::take(&mut self.expected) == 0 || self.given_up.is_some() {
            return;
        }
        let (usual, arrived) = (&self.work.destination.target, Cell::new(false));
        let refused = RefCell::new(None);
        let told = |step: &Step| {
            if step.target == usual {
                match step.outcome {
                    Ok(()) => arrived.set(true),
                    Err(reason) => _ = refused.replace(Some(reason.to_owned())),
                }
            }
            self.steps.borrow_mut().insert(step.trace, step.outcome.map_err(str::to_owned));
        };
        if let Err(error) = self.work.state.deliver_until(self.work.world, is_asked_to_end, &told) {
            self.given_up = Some(error.to_string());
        } else if !arrived.get() {
            self.given_up = refused.into_inner();
        }
    }

    /// What was put stands only when it arrived.
    fn outcome(&self, outcome: Outcome) -> Outcome {
        let Outcome::Stands { standing: Standing::New | Standing::Updated, what } = &outcome else {
            return outcome;
        };
        if self.work.mode == Mode::DryRun {
            return outcome;
        }
        let reason = match self.steps.borrow().get(&what.trace) {
            Some(Ok(())) => return outcome,
            Some(Err(reason)) => reason.clone(),
            None => self.given_up.clone().unwrap_or_else(|| "another codex-traced is delivering".into()),
        };
        Outcome::Waiting { what: what.clone(), reason }
    }
}
