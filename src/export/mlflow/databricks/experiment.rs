//! The experiment that receives a trace: an object of the workspace, found by path or id, created by path.

use super::refusal::Refusal;
use super::workspace::{ApiRequest, WorkspaceApi};
use crate::config::target::Experiment;
use crate::export::ExportError;
use crate::export::mlflow::http::present;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

const GET: &str = "/api/2.0/mlflow/experiments/get";
const GET_BY_NAME: &str = "/api/2.0/mlflow/experiments/get-by-name";
const CREATE: &str = "/api/2.0/mlflow/experiments/create";

/// Describes the user of the credentials.
const ME: &str = "/api/2.0/preview/scim/v2/Me";

/// The tag of an experiment whose traces are in tables of Unity Catalog: they have other ids and another API.
const IN_TABLES: &str = "mlflow.experiment.databricksTraceDestinationPath";

#[derive(Deserialize)]
struct StoredExperiment {
    experiment_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    lifecycle_stage: String,
    #[serde(default)]
    tags: Vec<ExperimentTag>,
}

#[derive(Deserialize)]
struct ExperimentTag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Answered<T> {
    experiment: T,
}

#[derive(Deserialize)]
struct Created {
    experiment_id: String,
}

/// The experiment's id. By name: created if missing. By id: must exist.
pub(super) fn find_or_make(
    workspace: &mut WorkspaceApi,
    experiment: &Experiment,
) -> Result<String, ExportError> {
    match experiment {
        Experiment::Id(id) => by_id(workspace, id),
        Experiment::Name(name) => {
            let path = path_of(workspace, name)?;
            by_path(workspace, &path)
        }
    }
}

/// By name: None if it is missing. By id: must exist.
pub(super) fn find(
    workspace: &mut WorkspaceApi,
    experiment: &Experiment,
) -> Result<Option<String>, ExportError> {
    let name = match experiment {
        Experiment::Id(id) => return by_id(workspace, id).map(Some),
        Experiment::Name(name) => name,
    };
    let path = path_of(workspace, name)?;
    match workspace.ask(&ApiRequest::get(GET_BY_NAME, &[("experiment_name", &path)]))? {
        Ok(answer) => usable(answer).map(Some),
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(refused("find", &path, &refusal)),
    }
}

/// The id itself, if the experiment exists and can take traces.
pub(super) fn by_id(workspace: &mut WorkspaceApi, id: &str) -> Result<String, ExportError> {
    match workspace.ask(&ApiRequest::get(GET, &[("experiment_id", id)]))? {
        Ok(answer) => usable(answer),
        Err(refusal) if refusal.is_missing() => Err(ExportError::Experiment(format!(
            "experiment {id} does not exist in this workspace (choose another by MLFLOW_EXPERIMENT_NAME, a path)"
        ))),
        Err(refusal) => Err(refused("find", id, &refusal)),
    }
}

/// When the experiment was created; None if it is missing or deleted.
pub(super) fn made(workspace: &mut WorkspaceApi, id: &str) -> Result<Option<Timestamp>, ExportError> {
    match workspace.ask(&ApiRequest::get(GET, &[("experiment_id", id)]))? {
        Ok(answer) => Ok(present::made(&answer)),
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(refused("find", id, &refusal)),
    }
}

/// Databricks has experiments by absolute paths only, and MLflow's client passes on its refusal of others. A
/// bare name, such as the default, goes to the user's folder: the user may write there and looks for it
/// there.
fn path_of(workspace: &mut WorkspaceApi, name: &str) -> Result<String, ExportError> {
    if name.starts_with('/') {
        return Ok(name.to_owned());
    }
    let answer = workspace.ask(&ApiRequest::get(ME, &[]))?;
    let user = answer.as_ref().ok().and_then(|answer| answer["userName"].as_str());
    user.map(|user| format!("/Users/{user}/{name}")).ok_or_else(|| {
        ExportError::Target(format!(
            "experiment {name} needs a folder of the workspace, and Databricks did not tell whose this is{} (set \
             MLFLOW_EXPERIMENT_NAME to a path such as /Users/me@example.com/{name})",
            answer.as_ref().map_or_else(Refusal::message, |_| String::new())
        ))
    })
}

fn by_path(workspace: &mut WorkspaceApi, path: &str) -> Result<String, ExportError> {
    let query = [("experiment_name", path)];
    let look = ApiRequest::get(GET_BY_NAME, &query);
    match workspace.ask(&look)? {
        Ok(answer) => return usable(answer),
        Err(refusal) if refusal.is_missing() => {}
        Err(refusal) => return Err(refused("find", path, &refusal)),
    }
    match workspace.ask(&ApiRequest::with_body(Method::POST, CREATE, &json!({ "name": path })))? {
        Ok(answer) => {
            let created: Created = serde_json::from_value(answer).map_err(|_| no_experiment())?;
            Ok(created.experiment_id)
        }
        // Another client has created it after the look.
        Err(refusal) if refusal.is_taken() => match workspace.ask(&look)? {
            Ok(answer) => usable(answer),
            Err(_) => Err(refused("make", path, &refusal)),
        },
        Err(refusal) => Err(refused("make", path, &refusal)),
    }
}

fn usable(answer: Value) -> Result<String, ExportError> {
    let Answered { experiment }: Answered<StoredExperiment> =
        serde_json::from_value(answer).map_err(|_| no_experiment())?;
    let shown = if experiment.name.is_empty() { &experiment.experiment_id } else { &experiment.name };
    if experiment.lifecycle_stage == "deleted" {
        return Err(ExportError::Experiment(format!(
            "experiment {shown} was deleted in MLflow (restore it, or choose another)"
        )));
    }
    if let Some(tables) = experiment.tags.iter().find(|tag| tag.key == IN_TABLES) {
        return Err(ExportError::Experiment(format!(
            "experiment {shown} keeps its traces in Unity Catalog ({}), where codex-traced cannot deliver yet (choose \
             an experiment without that by MLFLOW_EXPERIMENT_NAME; it is made when missing)",
            tables.value
        )));
    }
    Ok(experiment.experiment_id)
}

fn refused(what: &str, experiment: &str, refusal: &Refusal) -> ExportError {
    ExportError::Experiment(format!(
        "Databricks would not {what} experiment {experiment}{} (set MLFLOW_EXPERIMENT_NAME to a path in a folder \
         that exists, such as /Users/me@example.com/codex-sessions)",
        refusal.message()
    ))
}

fn no_experiment() -> ExportError {
    ExportError::Target("the answer about the experiment is none that MLflow gives".to_owned())
}
