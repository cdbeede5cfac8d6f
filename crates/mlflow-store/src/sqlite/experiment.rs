//! The experiment of a trace: found by name or id, created by name.

use super::error::SqliteError;
use super::shape::{SchemaShape, Workspaces};
use crate::target::Experiment;
use crate::target::file_uri::file_uri;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::Path;

/// The facts about an experiment that the write of a trace needs.
pub(super) struct ExperimentRow {
    pub(super) id: i64,
    pub(super) artifact_location: String,
}

/// By name: created if missing. By id: must exist.
pub(super) fn find_or_make(
    connection: &Connection,
    shape: SchemaShape,
    experiment: &Experiment,
    folder: &Path,
    now: Timestamp,
) -> Result<ExperimentRow, SqliteError> {
    if let Some(id) = id_of(connection, shape, experiment)? {
        return active(connection, id);
    }
    let name = match experiment {
        Experiment::Name(name) => name,
        Experiment::Id(id) => return Err(SqliteError::NoExperiment(id.clone())),
    };
    let (column, value) = match shape.workspaces {
        Workspaces::None => ("", ""),
        Workspaces::Named => (", workspace", ", 'default'"),
    };
    connection.execute(
        &format!(
            "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time{column})
             VALUES (?1, 'active', ?2, ?2{value})"
        ),
        params![name, now.as_millisecond()],
    )?;
    let id = connection.last_insert_rowid();
    let artifact_location = artifact_location(folder, id);
    connection.execute(
        "UPDATE experiments SET artifact_location = ?2 WHERE experiment_id = ?1",
        params![id, artifact_location],
    )?;
    Ok(ExperimentRow { id, artifact_location })
}

/// The id of an experiment, even of a deleted one.
pub(super) fn id_of(
    connection: &Connection,
    shape: SchemaShape,
    experiment: &Experiment,
) -> Result<Option<i64>, rusqlite::Error> {
    let (condition, value) = match (experiment, shape.workspaces) {
        // MLflow's ids are whole numbers; other text matches none.
        (Experiment::Id(id), _) => ("CAST(experiment_id AS TEXT) = ?1", id),
        (Experiment::Name(name), Workspaces::None) => ("name = ?1", name),
        (Experiment::Name(name), Workspaces::Named) => ("name = ?1 AND workspace = 'default'", name),
    };
    connection
        .query_row(&format!("SELECT experiment_id FROM experiments WHERE {condition}"), [value], |row| {
            row.get(0)
        })
        .optional()
}

/// The experiment with this id; an error if it is missing or deleted.
pub(super) fn active(connection: &Connection, id: i64) -> Result<ExperimentRow, SqliteError> {
    let read = |row: &Row| {
        let location: Option<String> = row.get(2)?;
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, location.unwrap_or_default()))
    };
    let (name, stage, artifact_location) = connection
        .query_row(
            "SELECT name, lifecycle_stage, artifact_location FROM experiments WHERE experiment_id = ?1",
            [id],
            read,
        )
        .optional()?
        .ok_or_else(|| SqliteError::NoExperiment(id.to_string()))?;
    match stage.as_deref() {
        Some("deleted") => Err(SqliteError::DeletedExperiment(name)),
        _ => Ok(ExperimentRow { id, artifact_location }),
    }
}

/// Creates the experiment that MLflow creates in every new database.
pub(super) fn insert_default(
    connection: &Connection,
    folder: &Path,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT INTO experiments
           (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
         VALUES (0, 'Default', ?1, 'active', ?2, ?2)",
        params![artifact_location(folder, 0), now.as_millisecond()],
    )?;
    Ok(())
}

/// An absolute URI, so that it means the same to every MLflow in any working folder.
fn artifact_location(folder: &Path, id: i64) -> String {
    format!("{}/artifacts/{id}", file_uri(folder))
}
