//! Whether a database would take traces.

use super::*;
use std::fs;

fn name(name: &str) -> Experiment {
    Experiment::Name(name.into())
}

fn id(id: &str) -> Experiment {
    Experiment::Id(id.into())
}

#[test]
fn a_question_does_not_create_a_missing_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/mlflow.db");
    let empty = Ok(Readiness { version: None, experiment_id: None, clock: None });
    assert_eq!((readiness(&path, &name("e")), readiness(&path, &id("0"))), (empty.clone(), empty));
    let missing = readiness(&path, &id("7")).unwrap_err().to_string();
    assert_eq!(missing, format!("experiment 7 does not exist: {}", path.display()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::write(folder.path().join("a"), "").unwrap();
    assert!(matches!(readiness(&path, &name("e")), Err(ExportError::Target(_))));
}

#[test]
fn an_experiment_is_found_or_will_be_created_and_a_deleted_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlflow.db");
    connect(&path, BUSY).unwrap();
    let before = fs::read(&path).unwrap();
    let there = |id: Option<&str>| {
        let version = Some("MLflow 3.6".into());
        Ok(Readiness { version, experiment_id: id.map(str::to_owned), clock: None })
    };
    assert_eq!(readiness(&path, &name("Default")), there(Some("0")));
    assert_eq!(readiness(&path, &id("0")), there(Some("0")));
    assert_eq!(readiness(&path, &name("new")), there(None));
    assert_eq!(fs::read(&path).unwrap(), before);
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE experiments SET lifecycle_stage = 'deleted'")
        .unwrap();
    let deleted = readiness(&path, &name("Default")).unwrap_err().to_string();
    assert!(deleted.starts_with("experiment Default was deleted in MLflow"), "{deleted}");
}

#[test]
fn a_schema_is_named_by_its_mlflow_and_an_untested_revision_is_noted() {
    let table = [
        (SCHEMA, "", "MLflow 3.6"),
        (include_str!("../../../../../tests/fixtures/mlflow-3.14.0.sql"), "", "MLflow 3.14"),
        (include_str!("../../../../../tests/fixtures/mlflow-3.17.2.sql"), "", "MLflow 3.17"),
        (include_str!("../../../../../tests/fixtures/mlflow-3.18.0.sql"), "", "MLflow 3.18"),
        (
            include_str!("../../../../../tests/fixtures/mlflow-3.18.0.sql"),
            "UPDATE alembic_version SET version_num = 'abc'; ALTER TABLE spans ADD COLUMN colour TEXT;",
            "MLflow 3.17 or newer (revision abc was not tried; its tables are as known)",
        ),
        (SCHEMA, "DROP TABLE alembic_version;", "MLflow 3.6"),
    ];
    for (schema, change, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        Connection::open(&path).unwrap().execute_batch(&format!("BEGIN; {schema} {change} COMMIT;")).unwrap();
        let checked = readiness(&path, &name("new")).unwrap();
        assert_eq!(checked.version.as_deref(), Some(expected));
    }
}

#[test]
fn an_empty_file_counts_as_a_database_to_create() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlflow.db");
    fs::write(&path, "").unwrap();
    let empty = Ok(Readiness { version: None, experiment_id: None, clock: None });
    assert_eq!((readiness(&path, &name("e")), fs::read(&path).unwrap().len()), (empty, 0));
}

#[test]
fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlflow.db");
    fs::write(&path, "a user's notes ".repeat(99)).unwrap();
    let refused = readiness(&path, &name("e")).unwrap_err().to_string();
    assert!(refused.starts_with("not a SQLite database: "), "{refused}");
}
