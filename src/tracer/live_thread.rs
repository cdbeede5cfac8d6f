//! A thread that a launch writes: its files, its newest build, and its traces in their target.

use super::live_sender::{Extent, Outcome, Update};
use super::live_trace::{Changes, LiveTrace};
use super::session_cache::SessionCache;
use crate::claim::launch_record::{Destination, Launch};
use crate::claim::verdict::Claim;
use crate::finish::assemble::{WrittenThread, written_thread};
use crate::finish::context::Context;
use crate::finish::gather::find_written;
use crate::finish::session_traces::{AssembleError, BuiltTraces, TraceForm, built_traces, redactor};
use crate::queue::put::destination_of;
use crate::queue::receipts;
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::session::model::TurnStatus;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use mlflow_store::exporter::ExportError;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub struct LiveThread {
    pub claim: Claim,
    /// Where its traces go; known after the first build.
    destination: Option<Destination>,
    /// Of the thread alone; None until it is looked for (again).
    files: Option<Parts>,
    /// All files of the last build, those of sub-agents too.
    pub read: BTreeSet<PathBuf>,
    /// The ids of the thread and its sub-agents.
    members: BTreeSet<String>,
    form: Option<TraceForm>,
    traces: BTreeMap<TraceId, LiveTrace>,
    /// When one of its files changed since the last build; None where none did.
    pub changed_at: Option<Instant>,
    /// When a root span may be sent that waits for it.
    pub root_due: Option<Instant>,
    pub last_change: Instant,
    /// The turns that have ended.
    ended_turns: usize,
    /// The target takes no more of it until Codex's end.
    pub is_given_up: bool,
}

/// The steps of a build that all threads share.
pub struct Workshop<'a, 'w> {
    pub launch: &'a Launch,
    pub context: &'a Context<'w>,
    pub cache: &'a SessionCache,
    pub shelf: &'a mut ThreadFiles,
}

/// When a thread's target gets updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Change,
    TurnsEnd,
}

impl LiveThread {
    pub fn new(claim: Claim, now: Instant) -> LiveThread {
        LiveThread {
            claim,
            destination: None,
            files: None,
            read: BTreeSet::new(),
            members: BTreeSet::new(),
            form: None,
            traces: BTreeMap::new(),
            changed_at: Some(now),
            root_due: None,
            last_change: now,
            ended_turns: 0,
            is_given_up: false,
        }
    }

    pub fn change(&mut self, now: Instant) {
        self.changed_at.get_or_insert(now);
        self.last_change = now;
    }

    /// Whether a file that changed belongs to it. `starts` is whether the file's thread was started by a thread.
    pub fn owns(&self, file: &Path, thread: Option<&ThreadId>, starts: impl Fn(&str) -> bool) -> bool {
        self.read.contains(file)
            || thread == Some(&self.claim.thread)
            || self.members.iter().any(|member| starts(member))
    }

    /// Whether it is in memory, and nothing of it is to be sent.
    pub fn may_leave_memory(&self) -> bool {
        !self.traces.is_empty() && (self.changed_at.is_none() || self.is_given_up)
    }

    /// Its files may have moved, or there are new ones.
    pub fn look_for_files(&mut self) {
        self.files = None;
    }

    /// Builds it anew. Returns what to send; None where the thread is no root thread.
    pub fn updates(
        &mut self,
        workshop: &mut Workshop,
        occasion: impl Fn(&Destination) -> Occasion,
        now: Instant,
    ) -> Result<Option<Vec<Update>>, AssembleError> {
        (self.changed_at, self.root_due) = (None, None);
        let Some(written) = self.read(workshop)? else { return Ok(None) };
        let Some(written) = written else { return Ok(Some(Vec::new())) };
        let Workshop { launch, context, .. } = workshop;
        let WrittenThread { family, rollout, record, granularity } = &written;
        let is_over = |status: &TurnStatus| *status != TurnStatus::Running;
        let turns = family.members.iter().flat_map(|member| &member.session.turns);
        let ended_turns = turns.filter(|turn| is_over(&turn.status)).count();
        let destination = match &self.destination {
            Some(known) => known.clone(),
            None => destination_of(&self.claim.thread, &launch.destination, &context.paths),
        };
        self.destination = Some(destination.clone());
        if occasion(&destination) == Occasion::TurnsEnd && ended_turns == self.ended_turns {
            return Ok(Some(Vec::new()));
        }
        self.ended_turns = ended_turns;
        let form = *self.form.get_or_insert_with(|| TraceForm::choose(*granularity, family, context));
        let built = built_traces(family, record, rollout, form, record.content, context);
        let Some(BuiltTraces { traces, content }) = built else { return Ok(Some(Vec::new())) };
        let redactor = redactor(context)?;
        let receipts = receipts(&context.paths);
        let mut updates = Vec::new();
        for built in traces {
            if let Err(error) = built.check_tree() {
                tracing::error!("{}: {error}", built.id);
                continue;
            }
            let id = built.id;
            let kept = || receipts.get(id, &destination.target).map(|kept| kept.receipt);
            let live = self.traces.entry(id).or_insert_with(|| LiveTrace::new(kept()));
            let (trace, extent) = match live.changes(built, content, redactor, now) {
                Changes::None => continue,
                Changes::Root(due) => {
                    self.root_due = Some(self.root_due.map_or(due, |other| other.min(due)));
                    continue;
                }
                Changes::Whole(trace) => {
                    let sent = live.sent(&destination.target, Timestamp::now());
                    let extent = if live.takes_wholes_only { Extent::Anew } else { Extent::Whole };
                    (trace, extent(sent))
                }
                Changes::Part(trace) => (trace, Extent::Part),
            };
            let (thread, destination) = (self.claim.thread.clone(), destination.clone());
            updates.push(Update { thread, trace, extent, destination });
        }
        Ok(Some(updates))
    }

    /// The outer None: no root thread. The inner None: nothing is written yet.
    fn read(&mut self, workshop: &mut Workshop) -> Result<Option<Option<WrittenThread>>, AssembleError> {
        let Workshop { launch, context, cache, shelf } = workshop;
        let files = match self.files.take() {
            Some(files) => files,
            None => {
                let found = find_written(&self.claim.thread, context.home(), shelf, launch.started_at);
                let Ok(files) = found else { return Ok(Some(None)) };
                files
            }
        };
        cache.take_read();
        let read = |file: &Path, thread: Option<&ThreadId>| cache.session(file, thread);
        let written = written_thread(&self.claim, launch, &files, shelf, &read, context)?;
        self.read = cache.take_read();
        let Some(written) = written else { return Ok(None) };
        self.members = written.family.members.iter().map(|it| it.session.meta.id.clone()).collect();
        self.files = Some(files);
        Ok(Some(Some(written)))
    }

    /// The target's answer to an update. False: the target failed.
    pub fn answered(&mut self, trace: TraceId, outcome: Outcome, now: Instant) -> Result<(), ExportError> {
        let is_on_server = matches!(self.destination, Some(Destination { target: Target::Http(_), .. }));
        let Some(live) = self.traces.get_mut(&trace) else { return Ok(()) };
        match outcome {
            Outcome::Arrived(experiment_id) => live.arrived(experiment_id),
            // Older servers keep the first previews: such a trace is sent when it has ended.
            Outcome::TakesWholesOnly if is_on_server => self.is_given_up = true,
            Outcome::TakesWholesOnly => {
                live.start_again();
                live.takes_wholes_only = true;
                self.ended_turns = 0;
                self.change(now);
            }
            Outcome::Failed(ExportError::Gone(_)) => {
                live.start_again();
                self.change(now);
            }
            Outcome::Failed(ExportError::Archived(_)) => self.is_given_up = true,
            Outcome::Failed(error) => {
                live.failed();
                self.change(now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether its target takes whole traces only.
    pub fn takes_wholes_only(&self) -> bool {
        self.traces.values().any(|live| live.takes_wholes_only)
    }

    /// Writes what its target has, as receipts of deliveries do, and leaves memory.
    pub fn unload(&mut self, context: &Context) {
        if let Some(Destination { target, .. }) = &self.destination {
            let now = Timestamp::now();
            let kept = self.traces.iter().filter_map(|(id, live)| Some((*id, live.receipt(target, now)?)));
            if let Err(error) = receipts(&context.paths).keep_all(kept) {
                tracing::warn!("cannot keep what {target} has: {error}");
            }
        }
        self.traces.clear();
        self.form = None;
    }
}
