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

    /// What the thread's target took of it, as receipts say: the session's one trace, what continues that, and those of
    /// its turns.
    fn taken(&self, thread: &ThreadId) -> Vec<(Target, Sent)> {
        let record = ThreadRecord::load(&self.threads(), thread).unwrap_or_default();
        let Some(target) = self.first_destination(&record, thread).map(|first| first.target) else {
            return Vec::new();
        };
        let receipts = self.receipts();
        let numbered = |id: fn(&str, usize) -> TraceId| {
            let all = (1..).map(move |number| id(thread.as_str(), number));
            all.take_while(|trace| receipts.file_of(*trace).exists())
        };
        let traces = std::iter::once(TraceId::of_thread(thread.as_str()))
            .chain(numbered(TraceId::of_continuation))
            .chain(numbered(TraceId::of_turn));
        let sent = |trace| {
            let receipt = receipts.of(trace, &target)?.receipt;
            let sent = Sent { trace, experiment_id: receipt.experiment_id, at: receipt.delivered_at };
            Some((target.clone(), sent))
        };
        traces.filter_map(sent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::home::CodexHome;
    use crate::export::receipt::Receipt;
    use crate::export::receipts::Kept;
    use crate::spool::entry::Rank;
    use jiff::Timestamp;

    #[test]
    fn a_target_is_asked_for_every_trace_of_a_session() {
        let folder = tempfile::tempdir().unwrap();
        let world =
            World { variables: [("CODEX_HOME", folder.path().to_str().unwrap())].into(), ..World::default() };
        let state = State::of(&CodexHome::of(&world).unwrap());
        let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
        assert_eq!(state.taken(&thread), []);
        let id = thread.as_str();
        let expected = [
            TraceId::of_thread(id),
            TraceId::of_continuation(id, 1),
            TraceId::of_continuation(id, 2),
            TraceId::of_turn(id, 1),
        ];
        for trace in expected.into_iter().chain([TraceId::of_turn(id, 3)]) {
            let target = Target::Http("http://a".into());
            let receipt = Receipt::of(target, "1".into(), Timestamp::UNIX_EPOCH, &[]);
            let rank = Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 0 };
            state.receipts().keep(trace, Kept { receipt, rank, bytes: 1 }).unwrap();
        }
        let asked: Vec<TraceId> = state.taken(&thread).into_iter().map(|(_, sent)| sent.trace).collect();
        assert_eq!(asked, expected);
    }
}
