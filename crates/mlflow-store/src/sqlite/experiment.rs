//! The experiment of a trace: found by name or id, created by name.

use super::error::{Result, SqliteError};
use super::schema::SchemaShape;
use crate::target::Experiment;
use crate::target::uri::file_uri;
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
) -> Result<ExperimentRow> {
    if let Some(id) = id_of(connection, shape, experiment)? {
        return active(connection, id);
    }
    let name = match experiment {
        Experiment::Name(name) => name,
        Experiment::Id(id) => return Err(SqliteError::NoExperiment(id.clone())),
    };
    let (column, value) = if shape.has_workspaces { (", workspace", ", 'default'") } else { ("", "") };
    connection.execute(
        &format!(
            "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time{column})
             VALUES (?1, 'active', ?2, ?2{value})"
        ),
        params![name, Timestamp::now().as_millisecond()],
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
) -> rusqlite::Result<Option<i64>> {
    let (condition, value) = match (experiment, shape.has_workspaces) {
        // MLflow's ids are whole numbers; other text matches none.
        (Experiment::Id(id), _) => ("CAST(experiment_id AS TEXT) = ?1", id),
        (Experiment::Name(name), false) => ("name = ?1", name),
        (Experiment::Name(name), true) => ("name = ?1 AND workspace = 'default'", name),
    };
    let sql = format!("SELECT experiment_id FROM experiments WHERE {condition}");
    connection.query_row(&sql, [value], |row| row.get(0)).optional()
}

/// The experiment with this id; an error if it is missing or deleted.
pub(super) fn active(connection: &Connection, id: i64) -> Result<ExperimentRow> {
    let sql = "SELECT name, lifecycle_stage, artifact_location FROM experiments WHERE experiment_id = ?1";
    let read = |row: &Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (name, stage, location): (String, Option<String>, Option<String>) = connection
        .query_row(sql, [id], read)
        .optional()?
        .ok_or_else(|| SqliteError::NoExperiment(id.to_string()))?;
    match stage.as_deref() {
        Some("deleted") => Err(SqliteError::DeletedExperiment(name)),
        _ => Ok(ExperimentRow { id, artifact_location: location.unwrap_or_default() }),
    }
}

/// Creates the experiment that MLflow creates in every new database.
pub(super) fn insert_default(connection: &Connection, folder: &Path) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO experiments
           (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
         VALUES (0, 'Default', ?1, 'active', ?2, ?2)",
        params![artifact_location(folder, 0), Timestamp::now().as_millisecond()],
    )?;
    Ok(())
}

/// An absolute URI, so that it means the same to every MLflow in any working folder.
fn artifact_location(folder: &Path, id: i64) -> String {
    format!("{}/artifacts/{id}", file_uri(folder))
}
