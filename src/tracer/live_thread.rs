//! A thread that is followed: its files, its newest build, and its traces in their target.

use super::live_sender::{Extent, Outcome, Update};
use super::live_trace::{Changes, LiveTrace};
use super::session_cache::SessionCache;
use super::thread_source::{ThreadReading, ThreadSource};
use crate::claim::launch_record::Destination;
use crate::claim::thread_record::ThreadRecord;
use crate::finish::assemble::WrittenThread;
use crate::finish::context::Context;
use crate::finish::session_traces::{AssembleError, BuiltTraces, TraceForm, built_traces, redactor};
use crate::queue::receipts;
use crate::queue::receipts::Receipts;
use crate::settings::further_targets::FurtherTarget;
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::session::family::Family;
use codex_session::session::model::TurnStatus;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use mlflow_store::exporter::ExportError;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) struct LiveThread {
    thread: ThreadId,
    /// None where its traces go to its first target.
    further: Option<FurtherTarget>,
    /// Where its traces go; known after the first build.
    destination: Option<Destination>,
    /// Of the thread alone; None until it is looked for (again).
    files: Option<Parts>,
    /// All files of the last build, those of sub-agents too.
    read: BTreeSet<PathBuf>,
    /// The ids of the thread and its sub-agents.
    members: BTreeSet<String>,
    form: Option<TraceForm>,
    /// What `traces` were compared with last.
    before: Option<Before>,
    traces: BTreeMap<TraceId, LiveTrace>,
    /// When one of its files changed since the last build; None where none did.
    changed_at: Option<Instant>,
    /// When a root span may be sent that waits for it.
    root_due: Option<Instant>,
    pub last_change: Instant,
    /// The turns that have ended.
    ended_turns: usize,
    /// The target takes no more of it until Codex's end.
    is_given_up: bool,
}

/// What the traces of the last comparison were built from. It shares turns and steps with the session in memory, but for
/// what has changed since, and for threads of several files.
struct Before {
    family: Family,
    record: ThreadRecord,
}

/// What the builds of all threads share.
pub(super) struct BuildInputs<'a, 'w> {
    pub context: &'a Context<'w>,
    pub cache: &'a SessionCache,
    pub shelf: &'a mut ThreadFiles,
}

/// When a thread's target gets updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Change,
    TurnsEnd,
    Never,
}

impl LiveThread {
    pub(super) fn new(thread: ThreadId, further: Option<FurtherTarget>, now: Instant) -> LiveThread {
        LiveThread {
            thread,
            further,
            destination: None,
            files: None,
            read: BTreeSet::new(),
            members: BTreeSet::new(),
            form: None,
            before: None,
            traces: BTreeMap::new(),
            changed_at: Some(now),
            root_due: None,
            last_change: now,
            ended_turns: 0,
            is_given_up: false,
        }
    }

    pub(super) fn change(&mut self, now: Instant) {
        self.changed_at.get_or_insert(now);
        self.last_change = now;
    }

    /// When its next update is due; more lines may follow within `linger`.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        let change = self.changed_at.map(|at| at + linger);
        change.into_iter().chain(self.root_due).min().filter(|_| !self.is_given_up)
    }

    pub(super) fn has_read(&self, file: &Path) -> bool {
        self.read.contains(file)
    }

    /// Whether a file that changed belongs to it. `starts` is whether the file's thread was started by a thread.
    pub(super) fn owns(&self, file: &Path, thread: Option<&ThreadId>, starts: impl Fn(&str) -> bool) -> bool {
        self.read.contains(file)
            || thread == Some(&self.thread)
            || self.members.iter().any(|member| starts(member))
    }

    pub(super) fn is_in_memory(&self) -> bool {
        !self.traces.is_empty()
    }

    /// Whether it is in memory, and nothing of it is to be sent.
    pub(super) fn may_leave_memory(&self) -> bool {
        self.is_in_memory() && (self.changed_at.is_none() || self.is_given_up)
    }

    /// Its files may have moved, or there are new ones.
    pub(super) fn look_for_files(&mut self) {
        self.files = None;
    }

    /// All that its target has is redacted again, and sent where that makes a difference.
    pub(super) fn redact_again(&mut self) {
        self.before = None;
        self.traces.values_mut().for_each(LiveTrace::redact_again);
    }

    /// Builds it anew. Returns what to send; None where the thread is no root thread.
    pub(super) fn updates(
        &mut self,
        source: ThreadSource,
        inputs: &mut BuildInputs,
        occasion: impl Fn(&Destination) -> Occasion,
        now: Instant,
    ) -> Result<Option<Vec<Update>>, AssembleError> {
        (self.changed_at, self.root_due) = (None, None);
        let written = match self.read(source, inputs)? {
            ThreadReading::Nothing => return Ok(Some(Vec::new())),
            ThreadReading::SubAgent => return Ok(None),
            ThreadReading::Thread(written) => written,
        };
        let context = inputs.context;
        let WrittenThread { family, rollout, mut record, granularity } = *written;
        if record.is_left_out {
            return Ok(Some(Vec::new()));
        }
        let is_over = |status: &TurnStatus| *status != TurnStatus::Running;
        let turns = family.members.iter().flat_map(|member| &member.session.turns);
        let ended_turns = turns.filter(|turn| is_over(&turn.status)).count();
        let destination = match &self.destination {
            Some(known) => known.clone(),
            None => source.destination(&self.thread, context)?,
        };
        let destination = match &self.further {
            // A thread stays where it was first sent.
            Some(further) if further.target == destination.target && self.destination.is_none() => {
                self.is_given_up = true;
                return Ok(Some(Vec::new()));
            }
            Some(further) => Destination::from_further(further),
            None => destination,
        };
        record.content = record.content.max(source.content_for(&destination.target, context));
        self.destination = Some(destination.clone());
        match occasion(&destination) {
            Occasion::TurnsEnd if ended_turns == self.ended_turns => return Ok(Some(Vec::new())),
            Occasion::Never => return Ok(Some(Vec::new())),
            Occasion::Change | Occasion::TurnsEnd => {}
        }
        self.ended_turns = ended_turns;
        let choose = || TraceForm::choose(granularity, &destination.target, &family, context);
        let form = *self.form.get_or_insert_with(choose);
        let build = |before: Option<&Family>| {
            built_traces((&family, before), &record, &rollout, form, record.content, context)
        };
        let before = self.before.take().filter(|before| before.record == record);
        let before = before.filter(|_| !self.takes_wholes_only());
        let built = build(before.as_ref().map(|before| &before.family));
        let Some(BuiltTraces { traces, content }) = built else { return Ok(Some(Vec::new())) };
        let redactor = redactor(context)?;
        let receipts = receipts(&context.paths);
        // Built once for all traces that need it.
        let all = OnceCell::new();
        let wholes = || {
            all.get_or_init(|| {
                let traces = build(None).into_iter().flat_map(|built| built.traces);
                RefCell::new(traces.map(|built| (built.trace.id, built)).collect::<BTreeMap<_, _>>())
            })
        };
        let (mut updates, mut is_compared) = (Vec::new(), true);
        for built in traces {
            let id = built.trace.id;
            let kept = || receipts.get(id, &destination.target).map(|kept| kept.receipt);
            let live = self.traces.entry(id).or_insert_with(|| LiveTrace::new(&destination.target, kept()));
            let whole = || wholes().borrow_mut().remove(&id);
            let (trace, extent) = match live.changes(built, &whole, (content, redactor), now) {
                Err(error) => {
                    tracing::warn!("{id} is not brought up to date: {error}");
                    is_compared = false;
                    continue;
                }
                Ok(Changes::None) => continue,
                Ok(Changes::Root(due)) => {
                    self.root_due = Some(self.root_due.map_or(due, |other| other.min(due)));
                    continue;
                }
                Ok(Changes::Whole(trace)) => {
                    let sent = live.sent(&destination.target, Timestamp::now());
                    let extent = if live.takes_wholes_only { Extent::Anew } else { Extent::Whole };
                    (trace, extent(sent))
                }
                Ok(Changes::Part(trace)) => (trace, Extent::Part),
            };
            let (thread, destination) = (self.thread.clone(), destination.clone());
            updates.push(Update { thread, trace, extent, destination });
        }
        self.before = is_compared.then_some(Before { family, record });
        Ok(Some(updates))
    }

    /// As `read_files`. Codex may have archived or compressed the files since they were listed.
    fn read(
        &mut self,
        source: ThreadSource,
        inputs: &mut BuildInputs,
    ) -> Result<ThreadReading, AssembleError> {
        let were_listed = self.files.is_some();
        match self.read_files(source, inputs) {
            Err(AssembleError::Rollout(..)) if were_listed => {
                inputs.shelf.relist();
                self.read_files(source, inputs)
            }
            read => read,
        }
    }

    fn read_files(
        &mut self,
        source: ThreadSource,
        inputs: &mut BuildInputs,
    ) -> Result<ThreadReading, AssembleError> {
        let BuildInputs { context, cache, shelf } = inputs;
        let files = self.files.take().or_else(|| source.files(&self.thread, shelf, context));
        let Some(files) = files else { return Ok(ThreadReading::Nothing) };
        cache.take_read();
        let read = |file: &Path, thread: Option<&ThreadId>| cache.session(file, thread);
        let found = source.read(&self.thread, &files, shelf, &read, context)?;
        self.read = cache.take_read();
        if let ThreadReading::Thread(written) = &found {
            self.members = written.family.members.iter().map(|it| it.session.meta.id.clone()).collect();
            self.files = Some(files);
        }
        Ok(found)
    }

    /// The target's answer to an update. An error where the target failed.
    pub(super) fn answered(
        &mut self,
        trace: TraceId,
        outcome: Outcome,
        receipts: &Receipts,
        now: Instant,
    ) -> Result<(), ExportError> {
        let collector = self.destination.as_ref().map(|to| &to.target).filter(|to| to.is_append_only());
        let is_on_server = matches!(self.destination, Some(Destination { target: Target::Http(_), .. }));
        let Some(live) = self.traces.get_mut(&trace) else { return Ok(()) };
        match outcome {
            Outcome::Arrived(experiment_id) => {
                live.arrived(experiment_id);
                // What it took must not be sent again if this process dies.
                if let Some(receipt) = collector.and_then(|to| live.receipt(to, Timestamp::now()))
                    && let Err(error) = receipts.keep(trace, receipt)
                {
                    tracing::warn!("cannot keep what the collector has: {error}");
                }
            }
            // Older servers keep the first previews: such a trace is sent when it has ended.
            Outcome::TakesWholesOnly if is_on_server => self.is_given_up = true,
            Outcome::TakesWholesOnly => {
                live.start_again();
                live.takes_wholes_only = true;
                self.send_again(now);
            }
            Outcome::Failed(ExportError::Gone(_)) => {
                live.start_again();
                self.send_again(now);
            }
            Outcome::Failed(ExportError::Archived(_)) => self.is_given_up = true,
            Outcome::Failed(error) => {
                live.failed();
                self.send_again(now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The end of a turn that the target does not have is still to be sent.
    fn send_again(&mut self, now: Instant) {
        (self.ended_turns, self.before) = (0, None);
        self.change(now);
    }

    /// Whether its target takes whole traces only.
    pub(super) fn takes_wholes_only(&self) -> bool {
        self.traces.values().any(|live| live.takes_wholes_only)
    }

    /// Writes what its target has, as receipts of deliveries do, and leaves memory.
    pub(super) fn unload(&mut self, cache: &SessionCache, context: &Context) {
        cache.forget(&self.read);
        (self.changed_at, self.root_due) = (None, None);
        if let Some(Destination { target, .. }) = &self.destination {
            let now = Timestamp::now();
            let kept = self.traces.iter().filter_map(|(id, live)| Some((*id, live.receipt(target, now)?)));
            if let Err(error) = receipts(&context.paths).keep_all(kept) {
                tracing::warn!("cannot keep what {target} has: {error}");
            }
        }
        self.traces.clear();
        (self.form, self.before) = (None, None);
    }
}
