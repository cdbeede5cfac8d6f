//! The facts that both `mlflow status` and `mlflow doctor` print.

use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::claim::launches;
use crate::finish::context::Context;
use crate::queue::spool;
use crate::queue::spool::list::{EntryState, Listed};
use mlflow_store::exporter::{ExportError, Patience, Readiness};
use std::time::{Duration, Instant};

/// Longer than a usable server needs, and short enough for a user who waits at a prompt.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Survey {
    /// Why Codex refuses its home.
    pub(super) home_problem: Option<String>,
    /// The answer of the settings' target.
    pub(super) target: Result<Readiness, ExportError>,
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
        Survey {
            home_problem: missing_home(context.world, context.home()),
            target: mlflow_store::readiness(
                &settings.target.value,
                &settings.experiment.value,
                &context.access(),
                patience(),
            ),
            waiting,
            set_aside,
            launches_to_finish: launches::left_behind(&context.paths.launches()).len(),
        }
    }
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
