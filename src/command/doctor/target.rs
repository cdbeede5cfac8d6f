//! Checks of the target: its answer, credentials, clock, experiment, and schema.

use super::Finding;
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::command::survey::{Survey, patience};
use crate::command::text_layout::counted;
use crate::command::ui;
use crate::finish::context::Context;
use crate::queue::receipts;
use jiff::{SignedDuration, Timestamp};
use mlflow_store::exporter::{ExportError, Readiness};
use mlflow_store::ids::TraceId;
use mlflow_store::lost_traces::{Lost, SentTrace};
use mlflow_store::receipt::Receipt;
use mlflow_store::sqlite::Filled;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::{self, http};
use std::time::Duration;

/// With a larger difference, MLflow's page sorts traces wrongly, and signed addresses expire.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);

/// Traces per request to a server. A restored backup, or an experiment that was made again, lacks the newest ones.
const SENT: usize = 100;

/// How many lost traces are named.
const NAMED: usize = 2;

/// Long enough to fill thousands of sessions, short enough for an interactive command.
const FILL: Duration = Duration::from_secs(10);

pub(super) fn check(survey: &Survey, context: &Context) -> Vec<Finding> {
    let (settings, access) = (context.settings(), context.access());
    let first = (&settings.target.value, &settings.experiment.value, &survey.target);
    let further = survey.further.iter().map(|(one, answer)| (&one.target, &one.experiment, answer));
    let all = std::iter::once(first).chain(further);
    all.flat_map(|(target, experiment, answer)| check_one(target, experiment, answer, &access, context))
        .collect()
}

fn check_one(
    target: &Target,
    experiment: &Experiment,
    answer: &Result<Readiness, ExportError>,
    access: &Access,
    context: &Context,
) -> Vec<Finding> {
    let mut findings = vec![reached(target, answer), credentials(target, access, context.world)];
    findings.extend(target.workspace().map(|name| Finding::ok("workspace", name)));
    if let Ok(checked) = answer {
        if !target.is_append_only() {
            findings.push(found(target, experiment, checked));
        }
        findings.extend(version(target, checked));
        findings.extend(checked.clock.map(|theirs| clock(theirs, Timestamp::now())));
        findings.extend(sent(target, access, &context.paths));
    }
    findings.extend(target.only_within().map(|_| {
        let command = ui::command_line(target);
        Finding::ok("address", format!("MLflows differ in how they read such a path; open it by `{command}`"))
    }));
    findings
}

fn reached(target: &Target, checked: &Result<Readiness, ExportError>) -> Finding {
    let error = match checked {
        Ok(Readiness { version: None, experiment_id: None, .. }) if !target.is_remote() => {
            return Finding::ok("target", format!("{target}, to be made with the first trace"));
        }
        // MLflow also answers users without write permission, and has no request that reveals the permission.
        Ok(_) if target.is_remote() => return Finding::ok("target", format!("{target} answers")),
        Ok(_) => return Finding::ok("target", format!("{target} takes traces")),
        Err(error) => error,
    };
    let todo = match (error, target) {
        (ExportError::Transient { .. }, Target::Http(_) | Target::Otlp(_)) => {
            "start the server, or see whether the address is right; traces wait on disk until it answers"
        }
        (ExportError::Transient { .. }, _) => "try again in a moment; traces wait on disk until then",
        _ => {
            "put that right, or choose another target: `codex-traced mlflow enable` with -u, or --add and --remove"
        }
    };
    Finding::error("target", error.to_string(), todo)
}

/// Lists which credentials are set, never their values.
fn credentials(target: &Target, access: &Access, world: &World) -> Finding {
    let variables = access.variables_for(target);
    let is_set = |name: &str| variables.os(name).is_some();
    let variable = |name: &str| is_set(name).then(|| name.to_owned());
    let file = |name: &str| {
        let path = world.home.as_ref()?.join(name);
        path.exists().then(|| path.display().to_string())
    };
    let present = match target {
        Target::Sqlite(_) | Target::FileStore(_) => {
            return Finding::ok("credentials", "none needed for a local target");
        }
        Target::Http(_) => {
            let are_both = is_set("MLFLOW_TRACKING_USERNAME") && is_set("MLFLOW_TRACKING_PASSWORD");
            vec![
                are_both.then(|| "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".to_owned()),
                variable("MLFLOW_TRACKING_TOKEN"),
                access.credentials_in_address(target).map(|_| "those in the tracking URI".to_owned()),
                file(".mlflow/credentials"),
            ]
        }
        Target::Databricks { .. } => {
            vec![variable("DATABRICKS_TOKEN"), variable("DATABRICKS_CLIENT_ID"), file(".databrickscfg")]
        }
        Target::Otlp(_) => vec![
            variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
            variable("OTEL_EXPORTER_OTLP_HEADERS"),
            access.credentials_in_address(target).map(|_| "those in the collector's address".to_owned()),
        ],
    };
    let present: Vec<String> = present.into_iter().flatten().collect();
    match (present.is_empty(), target) {
        (true, Target::Databricks { .. }) => Finding::error(
            "credentials",
            "none for Databricks",
            "set DATABRICKS_HOST and DATABRICKS_TOKEN, or write a profile into ~/.databrickscfg",
        ),
        (true, _) => Finding::ok("credentials", "none set; a server without a login needs none"),
        (false, _) => Finding::ok("credentials", format!("present: {}", present.join(", "))),
    }
}

fn found(target: &Target, experiment: &Experiment, checked: &Readiness) -> Finding {
    let called = match experiment {
        Experiment::Name(name) => format!("\"{name}\""),
        Experiment::Id(id) => format!("id {id}"),
    };
    let found = match &checked.experiment_id {
        Some(_) if matches!(experiment, Experiment::Id(_)) => format!("{called} is there"),
        Some(id) => format!("{called} is there (id {id})"),
        None if target.is_remote() => {
            format!("{called} is not there yet: the first trace makes it, if you may make one there")
        }
        None => format!("{called}, to be made with the first trace"),
    };
    Finding::ok("experiment", found)
}

fn version(target: &Target, checked: &Readiness) -> Option<Finding> {
    let version = checked.version.as_ref()?;
    Some(match target {
        Target::Sqlite(_) => {
            schema(version, mlflow_store::fill(target, FILL).unwrap_or(Ok(Filled::default())))
        }
        Target::FileStore(_) => Finding::warning(
            "server",
            version.clone(),
            "MLflow 3.14 and newer open it only with MLFLOW_ALLOW_FILE_STORE=true",
        ),
        Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => {
            match http::newest_tried_before(version) {
                None => Finding::ok("server", version.clone()),
                Some(newest) => Finding::note(
                    "server",
                    format!(
                        "{version} (newer than {newest}, the newest that this codex-traced was tried with)"
                    ),
                    "nothing, unless a trace lacks something there: then update codex-traced",
                ),
            }
        }
    })
}

/// Whether the target still has the last traces that it took; None where it took none.
fn sent(target: &Target, access: &Access, paths: &Paths) -> Option<Finding> {
    let mut taken = receipts(paths).recent(SENT);
    // A collector answers no question about its traces.
    taken.retain(|(_, receipt)| receipt.target == *target && !target.is_append_only());
    let sent = |(trace, receipt): (TraceId, Receipt)| SentTrace {
        trace,
        experiment_id: receipt.experiment_id,
        at: receipt.delivered_at,
    };
    let taken: Vec<SentTrace> = taken.into_iter().map(sent).collect();
    let lost = || mlflow_store::lost(target, &taken, access, patience());
    (!taken.is_empty()).then(|| still_there(taken.len(), lost()))
}

fn still_there(count: usize, lost: Result<Lost, ExportError>) -> Finding {
    let last = counted(count, "trace", "traces");
    let lost = match lost {
        Ok(lost) if lost.is_empty() => {
            return Finding::ok("traces", format!("the last {last} that it took: all there"));
        }
        Ok(lost) => lost,
        Err(error) => {
            return Finding::warning(
                "traces",
                format!("it does not say whether it has the last {last} that it took: {error}"),
                "try again in a moment; `codex-traced mlflow import --all` asks for each session",
            );
        }
    };
    let some: Vec<String> = lost.keys().take(NAMED).map(TraceId::to_string).collect();
    let more = if lost.len() > NAMED { ", …" } else { "" };
    Finding::warning(
        "traces",
        format!(
            "the last {last} that it took: {} not there any more ({}{more})",
            lost.len(),
            some.join(", ")
        ),
        "`codex-traced mlflow import --all` sends those whose session files are here; `mlflow forget ID` for what \
         was removed on purpose",
    )
}

/// Reports the columns that MLflow's upgrade left empty. Without them MLflow's cost charts are empty.
fn schema(version: &str, filled: Result<Filled, ExportError>) -> Finding {
    let that = format!("that of {version}");
    match filled {
        Ok(Filled { spans: 0, traces_left: 0 }) => Finding::ok("schema", that),
        Ok(Filled { spans, traces_left: 0 }) => {
            let spans = counted(spans, "span", "spans");
            Finding::ok(
                "schema",
                format!("{that}; filled the model and cost of {spans}, which its upgrade left empty"),
            )
        }
        Ok(Filled { traces_left, .. }) => {
            let traces = counted(traces_left, "trace", "traces");
            Finding::warning(
                "schema",
                format!(
                    "{that}; its upgrade left the models and costs of {traces} empty, and its cost charts with them"
                ),
                "`codex-traced mlflow sync` fills them",
            )
        }
        Err(error) => Finding::warning(
            "schema",
            format!("{that}; its upgrade left models and costs empty, and they cannot be filled: {error}"),
            "put that right, then `codex-traced mlflow sync` fills them",
        ),
    }
}

fn clock(theirs: Timestamp, ours: Timestamp) -> Finding {
    let apart = theirs.duration_since(ours);
    if apart.abs() <= CLOCKS_APART {
        return Finding::ok("clock", "yours and the server's agree");
    }
    let minutes = apart.as_mins().abs();
    let which = if apart.is_negative() { "behind" } else { "ahead of" };
    Finding::warning(
        "clock",
        format!("the server's clock is {minutes} minutes {which} yours"),
        "set the wrong one: traces are sorted by time, and signed addresses expire",
    )
}

#[cfg(test)]
mod tests;
