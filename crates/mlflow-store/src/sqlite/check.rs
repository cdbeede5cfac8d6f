//! Checks whether a database would take traces. Creates and changes nothing.

use super::error::SqliteError;
use super::experiment;
use super::reading;
use super::shape::{SchemaShape, StoredIn};
use crate::exporter::{Checked, ExportError};
use crate::target::Experiment;
use common::disk::{followed, would_take_files};
use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, OptionalExtension};
use std::io;
use std::path::Path;

/// The id of the experiment that every new database has.
const DEFAULT_ID: &str = "0";

pub fn check(path: &Path, wanted: &Experiment) -> Result<Checked, ExportError> {
    let found = reading(path, |connection, shape| {
        let id = experiment::id_of(connection, shape, wanted)?;
        let id = match (id, wanted) {
            (Some(id), _) => Some(experiment::active(connection, id)?.id.to_string()),
            (None, Experiment::Name(_)) => None,
            (None, Experiment::Id(id)) => return Err(SqliteError::NoExperiment(id.clone())),
        };
        let version = version_of(shape, revision(connection)?.as_deref());
        Ok(Some(Checked { version: Some(version), experiment_id: id, clock: None }))
    })?;
    let end = followed(path);
    // SQLite writes its journal to the same folder.
    let folder = end.parent().unwrap_or(Path::new("/"));
    would_take_files(folder).map_err(|error| SqliteError::from(error).at(path))?;
    if end.exists() {
        access(&end, AccessFlags::W_OK)
            .map_err(|error| SqliteError::from(io::Error::from(error)).at(path))?;
    }
    match (found, wanted) {
        (Some(checked), _) => Ok(checked),
        (None, Experiment::Id(id)) if id != DEFAULT_ID => Err(SqliteError::NoExperiment(id.clone()).at(path)),
        (None, _) => Ok(Checked { version: None, experiment_id: None, clock: None }),
    }
}

/// The tested schema revisions, oldest first: the one that codex-traced creates, and the last one of each
/// release.
const TRIED: [&str; 10] = [
    "a1b2c3d4e5f6",
    "1a0cddfcaa16",
    "71994744cf8e",
    "bf29a5ff90ea",
    "1bd49d398cd23",
    "1b5f0d9ad7c1",
    "7d34483879f0",
    "b7e4c1a90f23",
    REVISION_3_17,
    REVISION_3_18,
];
const REVISION_3_17: &str = "dc11669786a5";
const REVISION_3_18: &str = "f4a9b2c7d1e6";

/// Alembic's revision of the schema; None if another program manages the tables.
fn revision(connection: &Connection) -> Result<Option<String>, SqliteError> {
    if !connection.table_exists(None, "alembic_version")? {
        return Ok(None);
    }
    Ok(connection.query_row("SELECT version_num FROM alembic_version", [], |row| row.get(0)).optional()?)
}

/// The oldest tested MLflow with this schema. An untested revision is written to as well, if its tables have
/// the known columns.
fn version_of(shape: SchemaShape, revision: Option<&str>) -> String {
    let SchemaShape { totals, span_facts, has_workspaces, counts_writes } = shape;
    let version = match revision {
        _ if totals == StoredIn::Moving || span_facts == StoredIn::Moving => {
            "MLflow 3.14, being upgraded to 3.17"
        }
        Some(REVISION_3_17) if totals == StoredIn::Columns => "MLflow 3.17",
        Some(REVISION_3_18) if totals == StoredIn::Columns => "MLflow 3.18",
        _ if totals == StoredIn::Columns => "MLflow 3.17 or newer",
        _ if counts_writes => "MLflow 3.14",
        _ if has_workspaces => "MLflow 3.10",
        _ => "MLflow 3.6",
    };
    match revision.filter(|revision| !TRIED.contains(revision)) {
        Some(untried) => format!("{version} (revision {untried} was not tried; its tables are as known)"),
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use jiff::Timestamp;
    use std::fs;

    fn name(name: &str) -> Experiment {
        Experiment::Name(name.into())
    }

    fn id(id: &str) -> Experiment {
        Experiment::Id(id.into())
    }

    #[test]
    fn a_check_does_not_create_a_missing_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/mlflow.db");
        let empty = Ok(Checked { version: None, experiment_id: None, clock: None });
        assert_eq!((check(&path, &name("e")), check(&path, &id("0"))), (empty.clone(), empty));
        let missing = check(&path, &id("7")).unwrap_err().to_string();
        assert_eq!(missing, format!("experiment 7 does not exist: {}", path.display()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("a"), "").unwrap();
        assert!(matches!(check(&path, &name("e")), Err(ExportError::Target(_))));
    }

    #[test]
    fn an_experiment_is_found_or_will_be_created_and_a_deleted_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        create::create(&path, Timestamp::UNIX_EPOCH).unwrap();
        let before = fs::read(&path).unwrap();
        let there = |id: Option<&str>| {
            let version = Some("MLflow 3.6".into());
            Ok(Checked { version, experiment_id: id.map(str::to_owned), clock: None })
        };
        assert_eq!(check(&path, &name("Default")), there(Some("0")));
        assert_eq!(check(&path, &id("0")), there(Some("0")));
        assert_eq!(check(&path, &name("new")), there(None));
        assert_eq!(fs::read(&path).unwrap(), before);
        Connection::open(&path)
            .unwrap()
            .execute_batch("UPDATE experiments SET lifecycle_stage = 'deleted'")
            .unwrap();
        let deleted = check(&path, &name("Default")).unwrap_err().to_string();
        assert!(deleted.starts_with("experiment Default was deleted in MLflow"), "{deleted}");
    }

    #[test]
    fn a_schema_is_named_by_its_mlflow_and_an_untested_revision_is_noted() {
        let table = [
            (create::SCHEMA, "", "MLflow 3.6"),
            (include_str!("../../../../tests/fixtures/mlflow-3.14.0.sql"), "", "MLflow 3.14"),
            (include_str!("../../../../tests/fixtures/mlflow-3.17.2.sql"), "", "MLflow 3.17"),
            (include_str!("../../../../tests/fixtures/mlflow-3.18.0.sql"), "", "MLflow 3.18"),
            (
                include_str!("../../../../tests/fixtures/mlflow-3.18.0.sql"),
                "UPDATE alembic_version SET version_num = 'abc'; ALTER TABLE spans ADD COLUMN colour TEXT;",
                "MLflow 3.17 or newer (revision abc was not tried; its tables are as known)",
            ),
            (create::SCHEMA, "DROP TABLE alembic_version;", "MLflow 3.6"),
        ];
        for (schema, change, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("mlflow.db");
            Connection::open(&path)
                .unwrap()
                .execute_batch(&format!("BEGIN; {schema} {change} COMMIT;"))
                .unwrap();
            let checked = check(&path, &name("new")).unwrap();
            assert_eq!(checked.version.as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_empty_file_counts_as_a_database_to_create() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        fs::write(&path, "").unwrap();
        let empty = Ok(Checked { version: None, experiment_id: None, clock: None });
        assert_eq!((check(&path, &name("e")), fs::read(&path).unwrap().len()), (empty, 0));
    }

    #[test]
    fn a_file_that_is_not_a_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        fs::write(&path, "somebody's notes ".repeat(99)).unwrap();
        let refused = check(&path, &name("e")).unwrap_err().to_string();
        assert!(refused.starts_with("not a SQLite database: "), "{refused}");
    }
}
