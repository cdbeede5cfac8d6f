//! The facts that both `mlflow status` and `mlflow doctor` print.

use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::claim::launches;
use crate::finish::context::Context;
use crate::queue::spool;
use crate::queue::spool::list::{EntryState, Listed};
use crate::settings::further_targets::FurtherTarget;
use mlflow_store::exporter::{ExportError, Patience, Readiness};
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a usable server needs, and short enough for a user who waits at a prompt.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Survey {
    /// Why Codex refuses its home.
    pub(super) home_problem: Option<String>,
    /// The answer of the settings' first target.
    pub(super) target: Result<Readiness, ExportError>,
    pub(super) further: Vec<(FurtherTarget, Result<Readiness, ExportError>)>,
    pub(super) waiting: Vec<Listed>,
    /// Quarantined entries.
    pub(super) set_aside: Vec<Listed>,
    /// Launches that ended before the finisher made their traces.
    pub(super) launches_to_finish: usize,
}

impl Survey {
    pub(super) fn gather(context: &Context) -> Survey {
        let settings = context.settings();
        let (set_aside, waiting) = spool(&context.paths)
            .list()
            .into_iter()
            .partition(|one| matches!(one.state, EntryState::Quarantined(_)));
        let (access, first) = (context.access(), (&settings.target.value, &settings.experiment.value));
        let mut further = settings.further.clone();
        further.retain(|one| one.target != settings.target.value);
        let asked = further.iter().map(|one| (&one.target, &one.experiment));
        let mut answers = answers_of(std::iter::once(first).chain(asked), &access);
        let target = answers.remove(0);
        Survey {
            home_problem: missing_home(context.world, context.home()),
            target,
            further: further.into_iter().zip(answers).collect(),
            waiting,
            set_aside,
            launches_to_finish: launches::left_behind(&context.paths.launches()).len(),
        }
    }
}

/// Asks all targets at the same time: one that is slow delays the others' answers no further.
fn answers_of<'a>(
    targets: impl Iterator<Item = (&'a Target, &'a Experiment)>,
    access: &Access,
) -> Vec<Result<Readiness, ExportError>> {
    thread::scope(|scope| {
        let ask = |(target, experiment)| {
            scope.spawn(move || mlflow_store::readiness(target, experiment, access, patience()))
        };
        let asked: Vec<_> = targets.map(ask).collect();
        let defect = |_| Err(ExportError::Trace("a defect of codex-traced (see its log)".into()));
        asked.into_iter().map(|thread| thread.join().unwrap_or_else(defect)).collect()
    })
}

/// For a request to a target by an interactive command.
pub(super) fn patience() -> Patience<'static> {
    Patience { until: Some(Instant::now() + LIMIT), is_asked_to_end: &|| false, retrying: &|_, _| {} }
}

/// Codex creates ~/.codex, but refuses a missing folder in `CODEX_HOME`.
pub(super) fn missing_home(world: &World, home: &CodexHome) -> Option<String> {
    let is_missing = world.variables.os("CODEX_HOME").is_some() && !home.path().is_dir();
    is_missing.then(|| format!("CODEX_HOME names {}, which is no folder", home.path().display()))
}
