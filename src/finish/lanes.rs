//! Delivery to several targets at the same time: one that is slow or down holds up no other.
//!
//! Each remote target has a thread of its own. The functions of a request belong to the caller's thread, so the others
//! send what they have to report, and the caller's thread calls the functions.

use crate::queue::drain::{DeliveryRequest, DrainError, DrainStep, Drained, drain};
use crate::queue::receipts::Receipts;
use crate::queue::spool::Spool;
use crate::queue::spool::retry::Lane;
use jiff::Timestamp;
use mlflow_store::exporter::{Patience, jitter};
use mlflow_store::ids::TraceId;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often the caller's thread looks whether the process is asked to end.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Lanes<'a> {
    pub(super) spool: &'a Spool,
    pub(super) receipts: &'a Receipts,
    pub(super) access: &'a Access,
    /// When the requests to targets give up.
    pub(super) until: Option<Instant>,
}

/// What a lane's thread has to report.
enum Report {
    Step { number: usize, of: usize, trace: TraceId, target: Target, outcome: Result<(), String> },
    Retrying(String, Duration),
}

impl Lanes<'_> {
    /// Delivers all entries, also those for targets that come during the delivery.
    pub(super) fn drain(&self, request: &DeliveryRequest) -> Result<Drained, DrainError> {
        let (mut drained, mut done) = (Drained::default(), HashSet::new());
        loop {
            let mut lanes = self.spool.lanes();
            let is_left_out = |lane: &Lane| match lane {
                Lane::Local => false,
                Lane::Remote(target) => (request.is_left_out)(target),
            };
            lanes.retain(|lane| !done.contains(lane) && !is_left_out(lane));
            if lanes.is_empty() {
                return Ok(drained);
            }
            done.extend(lanes.iter().cloned());
            let (local, remote): (Vec<Lane>, Vec<Lane>) =
                lanes.into_iter().partition(|lane| *lane == Lane::Local);
            drained.add(self.drain_here(&local, request)?);
            drained.add(match &remote[..] {
                [] => Drained::default(),
                [only] => self.drain_here(std::slice::from_ref(only), request)?,
                several => self.drain_in_threads(several, request)?,
            });
        }
    }

    fn drain_here(&self, lanes: &[Lane], request: &DeliveryRequest) -> Result<Drained, DrainError> {
        let DeliveryRequest { is_asked_to_end, retrying, .. } = *request;
        let patience = Patience { until: self.until, is_asked_to_end, retrying };
        let connect = |target: &Target, experiment: &Experiment| {
            mlflow_store::exporter(target, experiment, self.access, patience)
        };
        drain(self.spool, self.receipts, request, lanes, connect)
    }

    fn drain_in_threads(&self, lanes: &[Lane], request: &DeliveryRequest) -> Result<Drained, DrainError> {
        let (sender, reports) = channel();
        let is_asked_to_end = AtomicBool::new(false);
        let DeliveryRequest { eagerness, budget, patience, .. } = *request;
        let drain_one = |lane: &Lane, sender: Sender<Report>| {
            let request = DeliveryRequest {
                eagerness,
                budget,
                patience,
                is_asked_to_end: &|| is_asked_to_end.load(Ordering::Relaxed),
                is_left_out: &|_| false,
                retrying: &|reason, pause| _ = sender.send(Report::Retrying(reason.to_owned(), pause)),
                progress: &|step| _ = sender.send(Report::from_step(step)),
                now: &Timestamp::now,
                jitter: &jitter,
            };
            self.drain_here(std::slice::from_ref(lane), &request)
        };
        let drain_one = &drain_one;
        thread::scope(|scope| {
            let threads: Vec<_> = lanes
                .iter()
                .map(|lane| {
                    let sender = sender.clone();
                    scope.spawn(move || drain_one(lane, sender))
                })
                .collect();
            drop(sender);
            pass_on(&reports, request, &is_asked_to_end);
            let mut all = Drained::default();
            for thread in threads {
                // A panic of a drain itself: its entries stay in the spool.
                if let Ok(drained) = thread.join() {
                    all.add(drained?);
                }
            }
            Ok(all)
        })
    }
}

/// Until all lanes are done.
fn pass_on(reports: &Receiver<Report>, request: &DeliveryRequest, is_asked_to_end: &AtomicBool) {
    loop {
        is_asked_to_end.fetch_or((request.is_asked_to_end)(), Ordering::Relaxed);
        match reports.recv_timeout(LOOK) {
            Ok(Report::Retrying(reason, pause)) => (request.retrying)(&reason, pause),
            Ok(Report::Step { number, of, trace, target, outcome }) => {
                let outcome = outcome.as_ref().copied().map_err(String::as_str);
                (request.progress)(&DrainStep { number, of, trace, target: &target, outcome });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Report {
    fn from_step(step: &DrainStep) -> Report {
        let DrainStep { number, of, trace, target, outcome } = step;
        let outcome = outcome.map_err(str::to_owned);
        Report::Step { number: *number, of: *of, trace: *trace, target: (*target).clone(), outcome }
    }
}
