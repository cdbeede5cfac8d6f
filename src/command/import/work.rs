//! The work of an import: parallel readers, one deliverer, bounded channel.

use super::known::KnownSessions;
use super::outcome::{ImportOutcome, ImportedSession};
use super::room::{self, Closing, Room, size_of};
use super::select::Subagents;
use crate::finish::context::Context;
use crate::finish::delivery::{deliver, deliver_straight};
use crate::finish::gather;
use crate::finish::imported::{Imported, Toward, import};
use crate::queue::drain::{DeliveryRequest, DrainStep};
use crate::queue::put::put_once;
use crate::queue::spool::entry::Entry;
use crate::queue::target_state::TargetState;
use codex_session::rollout::files::SessionFile;
use codex_session::rollout::thread_files::in_parts;
use codex_session::session::family::Family;
use codex_session::session::model::Session;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use launch::signals::SignalPipe;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Traces per delivery, and the channel's bound during one. A batch shares one connection set-up, and the bound limits
/// the disk space of undelivered traces.
const BATCH: usize = 64;

/// The interval at which signals are checked.
const LOOK: Duration = Duration::from_millis(50);

/// The context for each session of an import.
pub(super) struct ImportRun<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) toward: Toward<'a>,
    pub(super) subagents: &'a Subagents,
    /// Sessions that need not be read.
    pub(super) known: Option<KnownSessions<'a>>,
    pub(super) since: Option<Timestamp>,
    /// Reports what an import would do, and writes nothing.
    pub(super) is_dry_run: bool,
}

/// A session that a reader is done with.
struct ReadSession {
    /// Of the thread.
    index: usize,
    outcome: ImportOutcome,
    /// What goes straight to its target, and its size in the room.
    straight: Vec<Entry>,
    bytes: u64,
}

impl ImportRun<'_> {
    /// The outcome of each thread, in the order of `threads`. `one_more` is called after each.
    pub(super) fn run(&self, threads: &[Vec<SessionFile>], one_more: impl Fn()) -> Vec<ImportOutcome> {
        let signals = SignalPipe::with_ending_signals().ok();
        let asked = Cell::new(0);
        // The first signal stops the readers, and spooled traces are still delivered. The second stops that too.
        let times_asked = || {
            asked.set(asked.get() + signals.as_ref().map_or(0, SignalPipe::endings));
            asked.get()
        };
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let room = Room::default();
        let mut outcomes = vec![ImportOutcome::NotReached; threads.len()];
        let mut delivery = BatchDelivery {
            work: self,
            expected: 0,
            straight: Vec::new(),
            bytes: 0,
            room: &room,
            steps: RefCell::default(),
            given_up: HashMap::new(),
            failed: None,
            lost: HashMap::new(),
        };
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<ReadSession>(BATCH);
            let _closing = Closing(&room);
            let workers = thread::available_parallelism().map_or(1, usize::from).min(threads.len());
            for _ in 0..workers {
                let sender = sender.clone();
                let (next, stopped, room) = (&next, &stopped, &room);
                scope.spawn(move || self.read_all(threads, next, stopped, room, sender));
            }
            drop(sender);
            loop {
                stopped.fetch_or(times_asked() > 0, Ordering::Relaxed);
                let mut is_waited_for = false;
                match receiver.recv_timeout(LOOK) {
                    Ok(read) => {
                        one_more();
                        let index = read.index;
                        outcomes[index] = delivery.expect(read);
                    }
                    // Perhaps for room.
                    Err(RecvTimeoutError::Timeout) => is_waited_for = delivery.bytes > 0,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if delivery.expected >= BATCH || delivery.bytes >= room::MOST / 2 || is_waited_for {
                    delivery.deliver(&|| times_asked() > 1);
                }
            }
        });
        delivery.deliver(&|| times_asked() > 1);
        outcomes.into_iter().map(|outcome| delivery.outcome(outcome)).collect()
    }

    fn read_all(
        &self,
        threads: &[Vec<SessionFile>],
        next: &AtomicUsize,
        stopped: &AtomicBool,
        room: &Room,
        sender: SyncSender<ReadSession>,
    ) {
        while !stopped.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(files) = threads.get(index) else { return };
            let mut bytes = size_of(files);
            room.take(bytes);
            // A panic in one session must not stop the others.
            let done = catch_unwind(AssertUnwindSafe(|| self.one(files)));
            let (outcome, straight) = done.unwrap_or_else(|_| {
                (ImportOutcome::Failed("a defect of codex-traced (see its log)".into()), Vec::new())
            });
            if straight.is_empty() {
                room.give_back(std::mem::take(&mut bytes));
            }
            if sender.send(ReadSession { index, outcome, straight, bytes }).is_err() {
                return;
            }
        }
    }

    /// Reads the files of a thread and of its sub-agents, and puts its trace into the spool, or returns it for a delivery
    /// straight to its target.
    fn one(&self, files: &[SessionFile]) -> (ImportOutcome, Vec<Entry>) {
        let alone = |outcome| (outcome, Vec::new());
        let Some(first) = files.first() else { return alone(ImportOutcome::Empty) };
        let known = self.known.as_ref().and_then(|known| known.find(files, self.toward.answers));
        if let Some(known) = known {
            return alone(ImportOutcome::Made(known));
        }
        // A file that cannot be read now may be readable at the next import.
        let has_all = Cell::new(true);
        let (session, rollout) = match self.session_of(files, &has_all) {
            Ok(read) => read,
            Err(reason) => return alone(ImportOutcome::Failed(reason)),
        };
        let family = Family::gather(session, |parent| {
            let Some(parent) = ThreadId::from_meta(&parent.meta.id) else { return Vec::new() };
            let children = self.subagents.children(&parent).map(|files| self.session_of(files, &has_all));
            let read = children.filter_map(|read| read.inspect_err(|why| tracing::warn!("{why}")).ok());
            read.map(|(session, _)| session).collect()
        });
        if self.since.is_some_and(|since| family.last_line_at().is_some_and(|last| last < since)) {
            return alone(ImportOutcome::Older);
        }
        let folders: BTreeSet<String> =
            family.members.iter().flat_map(|member| &member.session.folders).cloned().collect();
        let is_final = has_all.get() && !family.members.iter().any(|member| member.session.is_running());
        let known = self.known.as_ref().filter(|_| is_final);
        let sources = known.and_then(|known| known.sources_of(files, &folders));
        match import(&first.thread, &family, &rollout, self.toward, self.context) {
            Ok(Some(imported)) => {
                let session = ImportedSession::new(&imported, folders, sources);
                self.put(imported, session)
            }
            Ok(None) => alone(ImportOutcome::Empty),
            Err(error) => alone(ImportOutcome::Failed(error.to_string())),
        }
    }

    /// `has_all` becomes false where a file cannot be read.
    fn session_of(&self, files: &[SessionFile], has_all: &Cell<bool>) -> Result<(Session, PathBuf), String> {
        let thread = &files.first().ok_or("it has no file")?.thread;
        let files = in_parts(thread, files.iter().map(|file| file.path.clone()));
        let read = gather::from_disk(self.context.home());
        let read =
            |path: &Path, thread: Option<&ThreadId>| read(path, thread).inspect_err(|_| has_all.set(false));
        let own = gather::session_of(thread, &files, &read);
        let own = own.map_err(|(file, error)| format!("{}: {error}", file.display()))?;
        own.ok_or_else(|| "it has no file".into())
    }

    fn put(&self, imported: Imported, mut session: ImportedSession) -> (ImportOutcome, Vec<Entry>) {
        if session.state == TargetState::Unasked {
            let silence = self.toward.answers.silence(&session.target);
            session.problem = Some(silence.unwrap_or_default().to_owned());
        }
        if self.is_dry_run || !session.state.must_be_sent() {
            return (ImportOutcome::Made(session), Vec::new());
        }
        match imported.put_or_hand_over(self.context) {
            Ok(straight) => (ImportOutcome::Made(session), straight),
            Err(error) => (ImportOutcome::Failed(error.to_string()), Vec::new()),
        }
    }
}

/// The delivery of traces, batch by batch.
struct BatchDelivery<'a> {
    work: &'a ImportRun<'a>,
    expected: usize,
    /// Traces that are not in the spool, and their size in the room.
    straight: Vec<Entry>,
    bytes: u64,
    room: &'a Room,
    /// The result of each trace that was tried at a target.
    steps: RefCell<HashMap<(TraceId, Target), Result<(), String>>>,
    /// Targets that get no further batch, and why: each would wait as long for them.
    given_up: HashMap<Target, String>,
    /// Why nothing can be delivered.
    failed: Option<String>,
    /// Traces that are neither delivered nor in the spool, and why.
    lost: HashMap<(TraceId, Target), String>,
}

impl BatchDelivery<'_> {
    fn is_sent(&self, outcome: &ImportOutcome) -> bool {
        let must_be = matches!(outcome, ImportOutcome::Made(session) if session.state.must_be_sent());
        must_be && !self.work.is_dry_run
    }

    fn expect(&mut self, read: ReadSession) -> ImportOutcome {
        self.expected += usize::from(self.is_sent(&read.outcome));
        self.straight.extend(read.straight);
        self.bytes += read.bytes;
        read.outcome
    }

    fn deliver(&mut self, is_asked_to_end: &dyn Fn() -> bool) {
        if std::mem::take(&mut self.expected) == 0 {
            return;
        }
        let is_over = self.failed.is_some() || self.has_given_up_all();
        self.deliver_straight(&|| is_over || is_asked_to_end());
        if is_over {
            return;
        }
        let (arrived, refused) = (RefCell::new(HashSet::new()), RefCell::new(HashMap::new()));
        let note = |step: &DrainStep| {
            match step.outcome {
                Ok(()) => _ = arrived.borrow_mut().insert(step.target.clone()),
                Err(reason) => _ = refused.borrow_mut().insert(step.target.clone(), reason.to_owned()),
            }
            let place = (step.trace, step.target.clone());
            self.steps.borrow_mut().insert(place, step.outcome.map_err(str::to_owned));
        };
        let is_left_out = |target: &Target| self.given_up.contains_key(target);
        let request = DeliveryRequest {
            is_asked_to_end,
            is_left_out: &is_left_out,
            progress: &note,
            ..DeliveryRequest::of_user()
        };
        self.failed = deliver(&request, self.work.context).err().map(|error| error.to_string());
        let arrived = arrived.into_inner();
        self.given_up
            .extend(refused.into_inner().into_iter().filter(|(target, _)| !arrived.contains(target)));
    }

    /// What its target does not take at once goes into the spool.
    fn deliver_straight(&mut self, is_asked_to_end: &dyn Fn() -> bool) {
        let entries = std::mem::take(&mut self.straight);
        if entries.is_empty() {
            return;
        }
        let context = self.work.context;
        let is_delivered = deliver_straight(&entries, is_asked_to_end, context);
        let mut steps = self.steps.borrow_mut();
        for (entry, is_delivered) in entries.iter().zip(is_delivered) {
            let place = || (entry.trace.id, entry.target.clone());
            if is_delivered {
                steps.insert(place(), Ok(()));
            } else if let Err(error) = put_once(entry, &context.paths) {
                self.lost.insert(place(), error.to_string());
            }
        }
        drop(entries);
        self.room.give_back(std::mem::take(&mut self.bytes));
    }

    fn has_given_up_all(&self) -> bool {
        let Toward { destination, further, .. } = self.work.toward;
        let mut targets = further.iter().map(|one| &one.target).chain([&destination.target]);
        targets.all(|target| self.given_up.contains_key(target))
    }

    /// The final outcome: a trace that did not arrive waits.
    fn outcome(&self, mut outcome: ImportOutcome) -> ImportOutcome {
        if self.is_sent(&outcome)
            && let ImportOutcome::Made(session) = &mut outcome
        {
            if let Some(why) = session.put.iter().find_map(|place| self.lost.get(place)) {
                return ImportOutcome::Failed(why.clone());
            }
            let steps = self.steps.borrow();
            let why = |target: &Target| {
                let known = self.failed.as_ref().or(self.given_up.get(target));
                known.map_or_else(|| "another codex-traced is delivering".to_owned(), String::clone)
            };
            session.problem = session.put.iter().find_map(|place| match steps.get(place) {
                Some(step) => step.clone().err(),
                None => Some(why(&place.1)),
            });
        }
        outcome
    }
}
