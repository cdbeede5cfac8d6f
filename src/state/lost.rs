//! Do targets still have what they took? A receipt is believed only after its target was asked.

use super::State;
use crate::claim::record::ThreadRecord;
use crate::codex::thread::ThreadId;
use crate::config::access::Access;
use crate::config::target::Target;
use crate::env::World;
use crate::export::lost::{Home, Lost, Sent};
use crate::export::{Patience, mlflow};
use crate::trace::ids::TraceId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer for each trace that it is asked for: some servers are asked one by one.
const OF_EACH: Duration = Duration::from_millis(200);

/// What targets say of what they took.
#[derive(Debug, Default)]
pub struct Answers {
    lost: HashMap<Target, Lost>,
    /// Those that cannot be asked now, and why.
    silent: HashMap<Target, String>,
    is_all_wanted: bool,
}

/// What is known of a trace that a target took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    There,
    Lost(Home),
    /// The target cannot be asked.
    Unknown,
}

impl Answers {
    /// All is to be sent again, whatever is there.
    pub fn and_all_again(self, is_all_wanted: bool) -> Answers {
        Answers { is_all_wanted, ..self }
    }

    pub(super) fn is_all_wanted(&self) -> bool {
        self.is_all_wanted
    }

    pub(super) fn of(&self, trace: TraceId, target: &Target) -> Seen {
        match self.lost.get(target).and_then(|lost| lost.get(&trace)) {
            Some(home) => Seen::Lost(*home),
            None if self.silent.contains_key(target) => Seen::Unknown,
            None => Seen::There,
        }
    }

    /// Why the target cannot be asked.
    pub fn silence(&self, target: &Target) -> Option<&str> {
        self.silent.get(target).map(String::as_str)
    }
}

impl State {
    /// Asks each target once for all that it took of these threads.
    pub fn ask<'t>(&self, threads: impl IntoIterator<Item = &'t ThreadId>, world: &World) -> Answers {
        let mut taken: HashMap<Target, Vec<Sent>> = HashMap::new();
        for (target, sent) in threads.into_iter().flat_map(|thread| self.taken(thread)) {
            taken.entry(target).or_default().push(sent);
        }
        let access = Access::of(world);
        let mut answers = Answers::default();
        for (target, sent) in taken {
            let count = u32::try_from(sent.len()).unwrap_or(u32::MAX);
            let until = Instant::now() + PATIENCE + OF_EACH.saturating_mul(count);
            let patience = Patience { until: Some(until), is_asked_to_end: &|| false, retrying: &|_, _| {} };
            match mlflow::lost(&target, &sent, &access, patience) {
                Ok(lost) => _ = answers.lost.insert(target, lost),
                Err(error) => {
                    tracing::info!("{target} cannot be asked what it has: {error}");
                    answers.silent.insert(target, error.to_string());
                }
            }
        }
        answers
    }

    /// What the thread's target took of it, as receipts tell: the session's one trace, and those of its turns.
    fn taken(&self, thread: &ThreadId) -> Vec<(Target, Sent)> {
        let record = ThreadRecord::load(&self.threads(), thread).unwrap_or_default();
        let Some(target) = self.first_destination(&record, thread).map(|first| first.target) else {
            return Vec::new();
        };
        let receipts = self.receipts();
        let turns = (1..).map(|turn| TraceId::of_turn(thread.as_str(), turn));
        let turns = turns.take_while(|trace| receipts.file_of(*trace).exists());
        let traces = std::iter::once(TraceId::of_thread(thread.as_str())).chain(turns);
        let sent = |trace| {
            let receipt = receipts.of(trace, &target)?.receipt;
            let sent = Sent { trace, experiment_id: receipt.experiment_id, at: receipt.delivered_at };
            Some((target.clone(), sent))
        };
        traces.filter_map(sent).collect()
    }
}
