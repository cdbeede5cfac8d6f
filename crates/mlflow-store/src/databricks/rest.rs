//! What a workspace's answers mean, and its experiments: objects of the workspace, found by path or id,
//! created by path.

use super::workspace::WorkspaceApi;
use crate::exporter::{ExportError, Result};
use crate::rest::answer::Answer;
use crate::rest::api::{ApiRequest, Rest, Subject};
use serde_json::Value;

/// Describes the user of the credentials.
const ME: [&str; 6] = ["api", "2.0", "preview", "scim", "v2", "Me"];

/// The tag of an experiment whose traces are in tables of Unity Catalog: they have other ids and another API.
const IN_TABLES: &str = "mlflow.experiment.databricksTraceDestinationPath";

impl Rest for WorkspaceApi<'_> {
    const CREATIONS: usize = 1;
    const LOOKS_LAST: bool = true;
    const CHECKS_BODIES: bool = false;

    fn call(&self, request: &ApiRequest) -> Result<Answer> {
        let answer = self.send(request)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        self.refusal(&answer).as_error(&self.account.host).map_or(Ok(answer), Err)
    }

    fn refused(&self, subject: Subject, answer: &Answer) -> ExportError {
        let message = self.refusal(answer).message();
        let (action, experiment) = match subject {
            Subject::ExperimentName(name) => ("find", name),
            Subject::ExperimentId(id) | Subject::FormerExperiment(id) => ("find", id),
            Subject::NewExperiment(name) => ("make", name),
            Subject::Server | Subject::StoredTrace => {
                let reason = format!("Databricks does not tell whether it has the trace{message}");
                return ExportError::unclear(reason);
            }
            Subject::TraceInfo => {
                return ExportError::Trace(format!("Databricks refused the trace{message}"));
            }
            Subject::Tag => {
                return ExportError::Trace(format!("Databricks refused a tag of the trace{message}"));
            }
        };
        if answer.status.is_success() {
            let reason = "the answer about the experiment is none that MLflow gives";
            return ExportError::Target(reason.to_owned());
        }
        ExportError::Experiment(format!(
            "Databricks would not {action} experiment {experiment}{message} (set MLFLOW_EXPERIMENT_NAME to a path in \
             a folder that exists, such as /Users/me@example.com/codex-sessions)"
        ))
    }

    fn is_missing(&self, _: Subject, answer: &Answer) -> bool {
        !answer.status.is_success() && self.refusal(answer).is_missing()
    }

    fn is_taken(&self, answer: &Answer) -> bool {
        self.refusal(answer).is_taken()
    }

    /// Databricks has experiments by absolute paths only, and MLflow's client passes on its refusal of
    /// others. A bare name, such as the default, goes to the user's folder: the user may write there and
    /// looks for it there.
    fn full_name(&self, name: &str) -> Result<String> {
        if name.starts_with('/') {
            return Ok(name.to_owned());
        }
        let answer = self.call(&ApiRequest::get(&ME, &[]))?;
        if answer.status.is_success()
            && let Some(user) = answer.json()["userName"].as_str()
        {
            return Ok(format!("/Users/{user}/{name}"));
        }
        let message =
            if answer.status.is_success() { String::new() } else { self.refusal(&answer).message() };
        Err(ExportError::Target(format!(
            "experiment {name} needs a folder of the workspace, and Databricks did not tell whose this is{message} \
             (set MLFLOW_EXPERIMENT_NAME to a path such as /Users/me@example.com/{name})"
        )))
    }

    fn no_experiment(&self, id: &str) -> ExportError {
        ExportError::Experiment(format!(
            "experiment {id} does not exist in this workspace (choose another by MLFLOW_EXPERIMENT_NAME, a path)"
        ))
    }

    fn deleted_experiment(&self, _: &str, experiment: &Value) -> ExportError {
        ExportError::Experiment(format!(
            "experiment {} was deleted in MLflow (restore it, or choose another)",
            shown(experiment)
        ))
    }

    fn check_experiment(&self, experiment: &Value) -> Result<()> {
        let tags = experiment["tags"].as_array().into_iter().flatten();
        match tags.into_iter().find(|tag| tag["key"] == IN_TABLES) {
            None => Ok(()),
            Some(tag) => Err(ExportError::Experiment(format!(
                "experiment {} keeps its traces in Unity Catalog ({}), where codex-traced cannot deliver yet (choose \
                 an experiment without that by MLFLOW_EXPERIMENT_NAME; it is made when missing)",
                shown(experiment),
                tag["value"].as_str().unwrap_or_default()
            ))),
        }
    }
}

/// An experiment's name, or its id if it has none.
fn shown(experiment: &Value) -> &str {
    let text = |key: &str| experiment[key].as_str().filter(|text| !text.is_empty());
    text("name").or(text("experiment_id")).unwrap_or_default()
}
