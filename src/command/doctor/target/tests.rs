//! What `doctor` prints of a target.

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
