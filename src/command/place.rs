//! Requests to the target with a time limit, for a user who waits at a prompt.

use common::variables::Variables;
use mlflow_store;
use mlflow_store::exporter::{ExportError, Patience, Readiness};
use mlflow_store::lost::{Lost, SentTrace};
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, TRACKING_URI, Target};
use std::time::{Duration, Instant};

/// Longer than a usable server needs, and short enough for an interactive command.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn check(
    target: &Target,
    experiment: &Experiment,
    access: &Access,
) -> Result<Readiness, ExportError> {
    mlflow_store::readiness(target, experiment, access, patience())
}

/// As `check`, for a target that is not in the settings yet: `uri` may hold a user and password.
pub(super) fn check_typed(
    uri: &str,
    target: &Target,
    experiment: &Experiment,
    access: Access,
) -> Result<Readiness, ExportError> {
    let variables = Variables::from([(TRACKING_URI, uri)]).or(&access.variables);
    // Credentials of the environment apply to this target, unless the environment names another.
    let named = access.named.clone().or_else(|| Some(target.clone()));
    check(target, experiment, &Access { variables, named, ..access })
}

/// Those of `sent` that the target no longer has.
pub(super) fn lost(target: &Target, sent: &[SentTrace], access: &Access) -> Result<Lost, ExportError> {
    mlflow_store::lost(target, sent, access, patience())
}

fn patience() -> Patience<'static> {
    Patience { until: Some(Instant::now() + LIMIT), is_asked_to_end: &|| false, retrying: &|_, _| {} }
}
