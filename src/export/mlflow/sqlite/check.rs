//! Whether a database would take traces: looked at, never made or changed.

use super::error::StoreError;
use super::experiment;
use super::reading;
use super::shape::{Generation, Shape, SpanFacts, Totals, Workspaces};
use crate::config::target::Experiment;
use crate::disk::{followed, would_take_files};
use crate::export::{Checked, ExportError};
use nix::unistd::{AccessFlags, access};
use std::io;
use std::path::Path;

/// The experiment that is in every new database.
const DEFAULT_ID: &str = "0";

pub fn check(path: &Path, wanted: &Experiment) -> Result<Checked, ExportError> {
    let found = reading(path, |connection, shape| {
        let id = experiment::id_of(connection, shape, wanted)?;
        let id = match (id, wanted) {
            (Some(id), _) => Some(experiment::active(connection, id)?.id.to_string()),
            (None, Experiment::Name(_)) => None,
            (None, Experiment::Id(id)) => return Err(StoreError::NoExperiment(id.clone())),
        };
        Ok(Some(Checked { version: Some(version_of(shape).into()), experiment_id: id, clock: None }))
    })?;
    let end = followed(path);
    // SQLite keeps a journal beside the file while it writes.
    let folder = end.parent().unwrap_or(Path::new("/"));
    would_take_files(folder).map_err(|error| StoreError::from(error).at(path))?;
    match (found, wanted) {
        (Some(checked), _) => {
            access(&end, AccessFlags::W_OK)
                .map_err(|error| StoreError::from(io::Error::from(error)).at(path))?;
            Ok(checked)
        }
        (None, Experiment::Id(id)) if id != DEFAULT_ID => Err(StoreError::NoExperiment(id.clone()).at(path)),
        (None, _) => Ok(Checked { version: None, experiment_id: None, clock: None }),
    }
}

/// The MLflow whose schema it has; those between were not all looked at.
fn version_of(shape: Shape) -> &'static str {
    match shape {
        Shape { totals: Totals::Moving, .. } | Shape { span_facts: SpanFacts::Moving, .. } => {
            "MLflow 3.14, being upgraded to 3.17"
        }
        Shape { totals: Totals::Columns, .. } => "MLflow 3.17",
        Shape { generation: Generation::Counted, .. } => "MLflow 3.14",
        Shape { workspaces: Workspaces::Named, .. } => "MLflow 3.10",
        _ => "MLflow 3.6",
    }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use jiff::Timestamp;
    use rusqlite::Connection;
    use std::fs;

    fn name(name: &str) -> Experiment {
        Experiment::Name(name.into())
    }

    fn id(id: &str) -> Experiment {
        Experiment::Id(id.into())
    }

    #[test]
    fn a_database_that_is_not_there_is_not_made() {
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
    fn an_experiment_is_found_or_will_be_made_and_a_deleted_one_is_refused() {
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
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        fs::write(&path, "somebody's notes ".repeat(99)).unwrap();
        let refused = check(&path, &name("e")).unwrap_err().to_string();
        assert!(refused.starts_with("not a SQLite database: "), "{refused}");
    }
}
