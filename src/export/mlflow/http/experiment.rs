//! The experiment that receives a trace: found by name or id, created by name. MLflow takes spans for a
//! deleted one and shows nothing, so a deleted one is refused here.

use super::answer::{Purpose, error_code};
use super::client::Answer;
use super::server::ServerApi;
use crate::config::target::Experiment;
use crate::export::ExportError;
use reqwest::Method;
use serde_json::{Value, json};

const MISSING: &str = "RESOURCE_DOES_NOT_EXIST";
const THERE_ALREADY: &str = "RESOURCE_ALREADY_EXISTS";

/// How often another client may create, delete or rename the experiment between a look and the next call.
const LOOKS: usize = 3;

/// By name: created if missing. By id: must exist.
pub(super) fn find_or_make(server: &ServerApi, wanted: &Experiment) -> Result<String, ExportError> {
    let name = match wanted {
        Experiment::Id(id) => return active(server, id),
        Experiment::Name(name) => name,
    };
    for _ in 0..LOOKS {
        if let Some(id) = by_name(server, name)? {
            return Ok(id);
        }
        let path = ["api", "2.0", "mlflow", "experiments", "create"];
        let made = server.send_json(Method::POST, &path, &json!({"name": name}))?;
        if made.status.is_success() {
            let id = server.json(&made)?["experiment_id"].as_str().map(str::to_owned);
            return id.ok_or_else(|| server.refused(Purpose::Look, &made));
        }
        if error_code(&made).as_deref() != Some(THERE_ALREADY) {
            return Err(server.refused(Purpose::Look, &made));
        }
    }
    let address = server.address();
    Err(ExportError::transient(format!("somebody else makes experiment \"{name}\" at {address}")))
}

/// By name: None if it is missing. By id: must exist.
pub(super) fn find(server: &ServerApi, wanted: &Experiment) -> Result<Option<String>, ExportError> {
    match wanted {
        Experiment::Id(id) => active(server, id).map(Some),
        Experiment::Name(name) => by_name(server, name),
    }
}

fn by_name(server: &ServerApi, name: &str) -> Result<Option<String>, ExportError> {
    let path = ["api", "2.0", "mlflow", "experiments", "get-by-name"];
    let found = server.get(&path, &[("experiment_name", name)])?;
    if is_missing(&found) { Ok(None) } else { id_of(server, &found, name).map(Some) }
}

/// The id itself, if the experiment exists and is not deleted.
pub(super) fn active(server: &ServerApi, id: &str) -> Result<String, ExportError> {
    let path = ["api", "2.0", "mlflow", "experiments", "get"];
    let found = server.get(&path, &[("experiment_id", id)])?;
    // MLflow's answer to an id that is not a number.
    if is_missing(&found) || error_code(&found).as_deref() == Some("INVALID_PARAMETER_VALUE") {
        let address = server.address();
        return Err(ExportError::Experiment(format!(
            "experiment {id} does not exist at {address} (choose one of its ids, or a name to have it made)"
        )));
    }
    id_of(server, &found, id)
}

fn is_missing(answer: &Answer) -> bool {
    answer.status.as_u16() == 404
        && error_code(answer).as_deref() == Some(MISSING)
        && !is_of_workspace(answer)
}

/// A missing workspace has the same error code, and no experiment can be created in it.
fn is_of_workspace(answer: &Answer) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["message"].as_str().is_some_and(|message| message.starts_with("Workspace "))
}

fn id_of(server: &ServerApi, answer: &Answer, called: &str) -> Result<String, ExportError> {
    if !answer.status.is_success() {
        return Err(server.refused(Purpose::Look, answer));
    }
    let body = server.json(answer)?;
    let experiment = &body["experiment"];
    let Some(id) = experiment["experiment_id"].as_str() else {
        return Err(server.refused(Purpose::Look, answer));
    };
    match experiment["lifecycle_stage"].as_str() {
        Some("deleted") => Err(ExportError::Experiment(format!(
            "experiment \"{called}\" was deleted at {} (restore it in MLflow, or choose another)",
            server.address()
        ))),
        _ => Ok(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    #[test]
    fn a_missing_workspace_is_no_missing_experiment() {
        let answer = |status: u16, body: &str| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        let table = [
            (404, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No Experiment with name=x"}"#, true),
            (404, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST"}"#, true),
            (
                404,
                r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Workspace 'team' not found"}"#,
                false,
            ),
            (404, r#"{"error_code":"ENDPOINT_NOT_FOUND","message":"no"}"#, false),
            (404, "<html>", false),
            (200, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST"}"#, false),
        ];
        for (status, body, missing) in table {
            assert_eq!(is_missing(&answer(status, body)), missing, "{status} {body}");
        }
    }
}
