//! Whether targets still have what they took: a receipt counts only after its target was asked.

use super::history::taken;
use crate::base::paths::Paths;
use crate::base::world::World;
use codex_session::thread::ThreadId;
use mlflow_store::exporter::Patience;
use mlflow_store::ids::TraceId;
use mlflow_store::lost::{ExperimentState, Lost, SentTrace};
use mlflow_store::target::Target;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer for each trace: some servers answer for one trace at a time.
const OF_EACH: Duration = Duration::from_millis(200);

/// What targets answer about the traces that they took.
#[derive(Debug, Default)]
pub struct Answers {
    lost: HashMap<Target, Lost>,
    /// Targets that cannot be asked now, and why.
    silent: HashMap<Target, String>,
    /// Whether every trace is sent again, present or not.
    pub is_all_wanted: bool,
}

/// Whether a target has a trace that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Lost(ExperimentState),
    /// The target cannot be asked.
    Unknown,
}

impl Answers {
    pub fn of(&self, trace: TraceId, target: &Target) -> Presence {
        match self.lost.get(target).and_then(|lost| lost.get(&trace)) {
            Some(home) => Presence::Lost(*home),
            None if self.silent.contains_key(target) => Presence::Unknown,
            None => Presence::There,
        }
    }

    /// Why the target cannot be asked.
    pub fn silence(&self, target: &Target) -> Option<&str> {
        self.silent.get(target).map(String::as_str)
    }
}

/// Asks each target once for all that it took of these threads.
pub fn ask<'t>(threads: impl IntoIterator<Item = &'t ThreadId>, paths: &Paths, world: &World) -> Answers {
    let mut sent_to: HashMap<Target, Vec<SentTrace>> = HashMap::new();
    for (target, sent) in threads.into_iter().flat_map(|thread| taken(thread, paths)) {
        sent_to.entry(target).or_default().push(sent);
    }
    let access = crate::settings::access::read(world);
    let mut answers = Answers::default();
    for (target, sent) in sent_to {
        let count = u32::try_from(sent.len()).unwrap_or(u32::MAX);
        let until = Instant::now() + PATIENCE + OF_EACH.saturating_mul(count);
        let patience = Patience { until: Some(until), is_asked_to_end: &|| false, retrying: &|_, _| {} };
        match mlflow_store::lost(&target, &sent, &access, patience) {
            Ok(lost) => _ = answers.lost.insert(target, lost),
            Err(error) => {
                tracing::info!("{target} cannot be asked what it has: {error}");
                answers.silent.insert(target, error.to_string());
            }
        }
    }
    answers
}
