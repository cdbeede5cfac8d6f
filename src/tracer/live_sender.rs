//! Sends updates to targets, in a thread of its own: a target that hangs must not keep the tracer from reading.

use crate::claim::launch_record::Destination;
use crate::redact::Redacted;
use codex_session::thread::ThreadId;
use mlflow_store::exporter::{ExportError, Exporter, Patience};
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::access::Access;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The limit of one update. The trace at the end has the retries of every delivery.
const LIMIT: Duration = Duration::from_secs(10);

/// The wait for a local store that another process writes to.
const BUSY: Duration = Duration::from_secs(2);

pub(super) struct Update {
    pub thread: ThreadId,
    pub trace: Redacted,
    pub extent: Extent,
    pub destination: Destination,
}

pub(super) enum Extent {
    /// The first update of this process. `Receipt`: what the target has.
    Whole(Receipt),
    Part,
    /// For a target that takes whole traces only.
    Anew(Receipt),
}

pub(super) struct Answer {
    pub thread: ThreadId,
    pub trace: TraceId,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    /// In the experiment of this id.
    Arrived(String),
    TakesWholesOnly,
    Failed(ExportError),
}

pub(super) struct LiveSender {
    /// None once no more is sent.
    updates: Option<Sender<Update>>,
    answers: Receiver<Answer>,
    woken: PipeReader,
    is_asked_to_end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    under_way: usize,
}

impl LiveSender {
    pub(super) fn start(access: Access) -> io::Result<LiveSender> {
        let ((updates, to_send), (answer, answers)) = (channel(), channel());
        let (woken, wake) = io::pipe()?;
        fcntl(&woken, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let is_asked_to_end = Arc::new(AtomicBool::new(false));
        let asked = is_asked_to_end.clone();
        let send = move || send_all(&to_send, &answer, wake, &access, &asked);
        let thread = thread::Builder::new().name("sender".into()).spawn(send)?;
        let (updates, thread) = (Some(updates), Some(thread));
        Ok(LiveSender { updates, answers, woken, is_asked_to_end, thread, under_way: 0 })
    }

    pub(super) fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    pub(super) fn send(&mut self, update: Update) {
        if let Some(updates) = &self.updates {
            self.under_way += usize::from(updates.send(update).is_ok());
        }
    }

    /// Readable when there is an answer.
    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// The answers since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<Answer> {
        // One byte for each answer; the rest makes the descriptor readable again.
        let _ = self.woken.read(&mut [0; 64]);
        let answers: Vec<Answer> = self.answers.try_iter().collect();
        self.under_way -= answers.len();
        answers
    }

    /// Waits until nothing is under way; `LIMIT` bounds each.
    pub(super) fn wait(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while self.under_way > 0
            && let Ok(answer) = self.answers.recv()
        {
            self.under_way -= 1;
            answers.push(answer);
        }
        answers
    }

    /// The answers that are left. What is under way arrives until then or is broken off: after this, nothing overtakes
    /// the trace's final form.
    pub(super) fn stop(mut self, until: Instant) -> Vec<Answer> {
        self.updates = None;
        let mut answers = Vec::new();
        while answers.len() < self.under_way
            && let Ok(answer) = self.answers.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            answers.push(answer);
        }
        self.is_asked_to_end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        answers.extend(self.answers.try_iter());
        answers
    }
}

fn send_all(
    updates: &Receiver<Update>,
    answers: &Sender<Answer>,
    mut wake: PipeWriter,
    access: &Access,
    is_asked_to_end: &AtomicBool,
) {
    let asked = || is_asked_to_end.load(Ordering::Relaxed);
    let mut exporters: HashMap<Destination, Box<dyn Exporter + '_>> = HashMap::new();
    for update in updates {
        let Update { thread, trace, extent, destination } = update;
        let outcome = if asked() {
            Outcome::Failed(ExportError::Stopped)
        } else {
            let sent = catch_unwind(AssertUnwindSafe(|| {
                let exporter = match exporters.remove(&destination) {
                    Some(open) => open,
                    None => open(&destination, access, &asked)?,
                };
                let exporter = exporters.entry(destination.clone()).or_insert(exporter);
                exporter.give_up_at(Some(Instant::now() + LIMIT));
                send(&mut **exporter, &trace, &extent)
            }));
            let defect = |_| Err(ExportError::Trace("a defect of codex-traced (see its log)".into()));
            sent.unwrap_or_else(defect).unwrap_or_else(Outcome::Failed)
        };
        if matches!(outcome, Outcome::Failed(_)) {
            // Its connection may be in an unknown state.
            exporters.remove(&destination);
        }
        if answers.send(Answer { thread, trace: trace.id, outcome }).is_err() {
            return;
        }
        let _ = wake.write(b"\n");
    }
}

fn open<'a>(
    destination: &Destination,
    access: &'a Access,
    is_asked_to_end: &'a dyn Fn() -> bool,
) -> Result<Box<dyn Exporter + 'a>, ExportError> {
    let Destination { target, experiment } = destination;
    // A limit here would hold for the exporter's whole life, except that local stores take it as the time for a lock.
    let until = (!target.is_remote()).then(|| Instant::now() + BUSY);
    mlflow_store::exporter(
        target,
        experiment,
        access,
        Patience { until, is_asked_to_end, retrying: &|_, _| {} },
    )
}

fn send(exporter: &mut dyn Exporter, trace: &Redacted, extent: &Extent) -> Result<Outcome, ExportError> {
    let delivered = match extent {
        Extent::Whole(before) => exporter.begin(trace, Some(before)),
        Extent::Part => exporter.update(trace),
        Extent::Anew(before) => Some(exporter.export(trace, Some(before))),
    };
    match delivered.transpose()? {
        Some(delivered) => Ok(Outcome::Arrived(delivered.experiment_id)),
        None => Ok(Outcome::TakesWholesOnly),
    }
}
