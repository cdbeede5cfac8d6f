//! Checks of the target: its answer, credentials, clock, experiment, and schema.

use super::{Finding, credentials};
use crate::base::paths::Paths;
use crate::command::layout::counted;
use crate::command::survey::{Survey, patience};
use crate::command::ui;
use crate::finish::context::Context;
use crate::queue::receipts;
use jiff::{SignedDuration, Timestamp};
use mlflow_store::exporter::{ExportError, Readiness};
use mlflow_store::ids::TraceId;
use mlflow_store::lost::{Lost, SentTrace};
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
    let Survey { settings, access, target: checked, .. } = survey;
    let (target, experiment) = (&settings.target.value, &settings.experiment.value);
    let mut findings = vec![reached(target, checked), credentials::check(target, access, context.world)];
    findings.extend(target.workspace().map(|name| Finding::ok("workspace", name)));
    if let Ok(checked) = checked {
        findings.push(found(target, experiment, checked));
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
        (ExportError::Transient { .. }, Target::Http(_)) => {
            "start the server, or see whether the address is right; traces wait on disk until it answers"
        }
        (ExportError::Transient { .. }, _) => "try again in a moment; traces wait on disk until then",
        _ => "put that right, or choose another target: `codex-traced mlflow enable -u URI`",
    };
    Finding::error("target", error.to_string(), todo)
}

fn found(target: &Target, experiment: &Experiment, checked: &Readiness) -> Finding {
    let called = match experiment {
        Experiment::Name(name) => format!("\"{name}\""),
        Experiment::Id(id) => format!("id {id}"),
    };
    match &checked.experiment_id {
        Some(_) if matches!(experiment, Experiment::Id(_)) => {
            Finding::ok("experiment", format!("{called} is there"))
        }
        Some(id) => Finding::ok("experiment", format!("{called} is there (id {id})")),
        None if target.is_remote() => Finding::ok(
            "experiment",
            format!("{called} is not there yet: the first trace makes it, if you may make one there"),
        ),
        None => Finding::ok("experiment", format!("{called}, to be made with the first trace")),
    }
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
        Target::Http(_) | Target::Databricks { .. } => match http::newest_tried_before(version) {
            None => Finding::ok("server", version.clone()),
            Some(newest) => Finding::note(
                "server",
                format!("{version} (newer than {newest}, the newest that this codex-traced was tried with)"),
                "nothing, unless a trace lacks something there: then update codex-traced",
            ),
        },
    })
}

/// Whether the target still has the last traces that it took; None where it took none.
fn sent(target: &Target, access: &Access, paths: &Paths) -> Option<Finding> {
    let mut taken = receipts(paths).recent(SENT);
    taken.retain(|(_, receipt)| receipt.target == *target);
    let of = |(trace, receipt): (TraceId, Receipt)| SentTrace {
        trace,
        experiment_id: receipt.experiment_id,
        at: receipt.delivered_at,
    };
    let taken: Vec<SentTrace> = taken.into_iter().map(of).collect();
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
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_schema_finding_reports_filled_and_remaining_rows() {
        let filled = |spans, traces_left| Ok(Filled { spans, traces_left });
        let table = [
            (filled(0, 0), Level::Ok, "that of MLflow 3.18"),
            (
                filled(717, 0),
                Level::Ok,
                "that of MLflow 3.18; filled the model and cost of 717 spans, which its upgrade left empty",
            ),
            (
                filled(50, 1),
                Level::Warning,
                "that of MLflow 3.18; its upgrade left the models and costs of 1 trace empty, and its cost charts with them",
            ),
            (
                Err(ExportError::transient("database is locked: /x.db")),
                Level::Warning,
                "that of MLflow 3.18; its upgrade left models and costs empty, and they cannot be filled: database is locked: /x.db",
            ),
        ];
        for (filled, level, found) in table {
            let finding = schema("MLflow 3.18", filled);
            assert_eq!((finding.level, &*finding.found), (level, found));
        }
    }

    #[test]
    fn a_servers_answer_is_no_promise_of_write_permission() {
        let server = Target::Http("http://mlflow:5000".into());
        let database = Target::Sqlite("/x.db".into());
        let named = Experiment::Name("codex".into());
        let checked = |id: Option<&str>| Readiness {
            version: Some("MLflow 3.18.0".into()),
            experiment_id: id.map(str::to_owned),
            clock: None,
        };
        let table = [
            (&server, Some("7"), "http://mlflow:5000 answers", "\"codex\" is there (id 7)"),
            (
                &server,
                None,
                "http://mlflow:5000 answers",
                "\"codex\" is not there yet: the first trace makes it, if you may make one there",
            ),
            (&database, Some("7"), "sqlite:////x.db takes traces", "\"codex\" is there (id 7)"),
            (&database, None, "sqlite:////x.db takes traces", "\"codex\", to be made with the first trace"),
        ];
        for (target, id, answers, experiment) in table {
            let checked = checked(id);
            let reached = reached(target, &Ok(checked.clone()));
            let found = found(target, &named, &checked);
            assert_eq!((&*reached.found, &*found.found), (answers, experiment), "{target} {id:?}");
        }
    }

    #[test]
    fn clocks_may_be_five_minutes_apart() {
        let ours: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let table = [
            ("2026-11-22T10:05:00Z", Level::Ok, "yours and the server's agree"),
            ("2026-11-22T09:55:00Z", Level::Ok, "yours and the server's agree"),
            ("2026-11-22T10:06:30Z", Level::Warning, "the server's clock is 6 minutes ahead of yours"),
            ("2026-11-22T08:00:00Z", Level::Warning, "the server's clock is 120 minutes behind yours"),
        ];
        for (theirs, level, found) in table {
            let finding = clock(theirs.parse().unwrap(), ours);
            assert_eq!((finding.level, &*finding.found), (level, found), "{theirs}");
        }
    }
}
