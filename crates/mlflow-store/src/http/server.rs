//! Requests to a server's REST API, what its answers mean, and what follows from its version.

use super::refusal;
use crate::exporter::{ExportError, Result};
use crate::ids::TraceId;
use crate::rest::answer::{Answer, error_code};
use crate::rest::api::{ApiRequest, Rest, Subject};
use crate::rest::client::{Client, Request};
use crate::rest::stored_trace::StoredTrace;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use std::fmt;

pub(super) struct ServerApi<'a> {
    pub(super) client: Client<'a>,
    /// As the target is written, without credentials.
    pub(super) address: String,
    pub(super) url: Url,
}

impl ServerApi<'_> {
    pub(super) fn ask_version(&self) -> Result<Answer> {
        self.call(&ApiRequest::get(&["version"], &[]))
    }

    /// The server's version; None if a proxy hides it. Refuses servers that are too old.
    pub(super) fn version_in(&self, answer: &Answer) -> Result<Option<ServerVersion>> {
        match answer.status.as_u16() {
            200 => match ServerVersion::parse(&String::from_utf8_lossy(&answer.body)) {
                Some(version) if version < OLDEST => Err(ExportError::Target(format!(
                    "{} is MLflow {version}, which cannot take a trace from here (upgrade that server to {OLDEST} or \
                     newer, or choose another tracking URI)",
                    self.address
                ))),
                version => Ok(version),
            },
            404 | 405 => Ok(None),
            _ => Err(self.refused(Subject::Server, answer)),
        }
    }

    /// Sends once; None without a successful answer.
    pub(super) fn get_once(&self, request: &ApiRequest) -> Result<Option<Answer>> {
        let answer = self.client.once(&self.request(request)?)?;
        Ok(answer.ok().filter(|answer| answer.status.is_success()))
    }

    /// As `StoredTrace::look`, with one try. None also without a successful answer.
    pub(super) fn look_once(&self, trace: TraceId) -> Option<StoredTrace> {
        let path = ["api", "3.0", "mlflow", "traces", &trace.to_string()];
        let answer = self.get_once(&ApiRequest::get(&path, &[])).ok()??;
        StoredTrace::read(self, &answer).ok()
    }

    fn request(&self, request: &ApiRequest) -> Result<Request> {
        let bad = || ExportError::Target(format!("{} named a place that is none", self.address));
        request.at(&self.url).ok_or_else(bad)
    }

    /// Sends a body of another type than JSON.
    pub(super) fn send(
        &self,
        method: Method,
        path: &[&str],
        headers: &[(HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let mut request = Request { method, body, ..self.request(&ApiRequest::get(path, &[]))? };
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| ExportError::Target(format!("{} gave an id that is none", self.address)))?;
            request.headers.insert(name, value);
        }
        self.client.send(&request)
    }
}

impl Rest for ServerApi<'_> {
    const CREATIONS: usize = 3;
    const LOOKS_LAST: bool = false;
    const CHECKS_BODIES: bool = true;

    fn call(&self, request: &ApiRequest) -> Result<Answer> {
        self.client.send(&self.request(request)?)
    }

    fn refused(&self, subject: Subject, answer: &Answer) -> ExportError {
        match subject {
            Subject::NewExperiment(name) if self.is_taken(answer) => ExportError::transient(format!(
                "another process makes experiment \"{name}\" at {}",
                self.address
            )),
            subject => refusal::refused(&self.address, subject, answer),
        }
    }

    fn is_missing(&self, subject: Subject, answer: &Answer) -> bool {
        let (status, code) = (answer.status.as_u16(), error_code(answer));
        let has_no_experiment =
            status == 404 && code.as_deref() == Some("RESOURCE_DOES_NOT_EXIST") && !is_of_workspace(answer);
        match subject {
            Subject::ExperimentName(_) => has_no_experiment,
            // MLflow's answer to an id that is not a number.
            Subject::ExperimentId(_) => {
                has_no_experiment || code.as_deref() == Some("INVALID_PARAMETER_VALUE")
            }
            // A server with users answers 403 for a missing experiment.
            Subject::FormerExperiment(_) => !answer.status.is_success() && (status == 403 || code.is_some()),
            // A server with users answers 403 for a missing trace, except to its administrators.
            Subject::StoredTrace => matches!(status, 403 | 404),
            Subject::Tag => status == 404,
            Subject::NewExperiment(_) | Subject::TraceInfo | Subject::Server => false,
        }
    }

    fn is_taken(&self, answer: &Answer) -> bool {
        error_code(answer).as_deref() == Some("RESOURCE_ALREADY_EXISTS")
    }

    fn no_experiment(&self, id: &str) -> ExportError {
        let address = &self.address;
        ExportError::Experiment(format!(
            "experiment {id} does not exist at {address} (choose one of its ids, or a name to have it made)"
        ))
    }

    fn deleted_experiment(&self, called: &str, _: &Value) -> ExportError {
        ExportError::Experiment(format!(
            "experiment \"{called}\" was deleted at {} (restore it in MLflow, or choose another)",
            self.address
        ))
    }
}

/// A missing workspace has the same error code, and no experiment can be created in it.
fn is_of_workspace(answer: &Answer) -> bool {
    answer.json()["message"].as_str().is_some_and(|message| message.starts_with("Workspace "))
}

/// Major and minor; no patch release has changed what an exporter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerVersion(u32, u32);

/// The first in which a client chooses the trace's id: in older ones, a trace that is sent twice is there
/// twice.
pub(super) const OLDEST: ServerVersion = ServerVersion(3, 2);

/// The newest that the tests run.
const NEWEST_TESTED: ServerVersion = ServerVersion(3, 18);

/// The first that adds an update to what it has. Older ones replace what they have.
pub(super) const FIRST_TO_ADD: ServerVersion = ServerVersion(3, 14);

impl ServerVersion {
    /// As MLflow writes it: `3.17.2`, `3.6.0rc1`, `3.18.0.dev0`. None for anything else.
    pub(super) fn parse(text: &str) -> Option<ServerVersion> {
        let mut parts = text.trim().split('.');
        let mut number = || parts.next()?.parse().ok();
        let version = ServerVersion(number()?, number()?);
        let patch = parts.next()?;
        let is_short = text.len() <= 30;
        (is_short && patch.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
    }
}

/// The newest tested version, if the version of a check (`MLflow 3.19`) is newer.
pub fn newest_tried_before(checked: &str) -> Option<String> {
    let (major, minor) = checked.strip_prefix("MLflow ")?.split_once('.')?;
    let version = ServerVersion(major.parse().ok()?, minor.parse().ok()?);
    (version > NEWEST_TESTED).then(|| NEWEST_TESTED.to_string())
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Patience;
    use crate::rest::client::RequestPolicy;
    use crate::tests::answer;

    #[test]
    fn a_missing_workspace_is_no_missing_experiment() {
        let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let client = Client::new(http, RequestPolicy::default(), patience).unwrap();
        let server = ServerApi { client, address: String::new(), url: Url::parse("http://host").unwrap() };
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
            let answer = answer(status, &[], body);
            assert_eq!(server.is_missing(Subject::ExperimentName("x"), &answer), missing, "{status} {body}");
        }
    }

    #[test]
    fn versions_are_read_as_mlflow_writes_them() {
        let table = [
            ("3.17.2", Some(ServerVersion(3, 17))),
            ("3.6.0rc1\n", Some(ServerVersion(3, 6))),
            ("3.18.0.dev0", Some(ServerVersion(3, 18))),
            ("2.22.2", Some(ServerVersion(2, 22))),
            ("3.2", None),
            ("", None),
            ("<html>", None),
            ("1.2.x", None),
            ("4294967296.1.0", None),
        ];
        for (text, version) in table {
            assert_eq!(ServerVersion::parse(text), version, "{text}");
        }
        let table = [("MLflow 3.18", None), ("MLflow 3.19", Some("3.18")), ("MLflow 4.0", Some("3.18"))];
        for (checked, newest) in table.into_iter().chain([("MLflow x.y", None), ("", None)]) {
            assert_eq!(newest_tried_before(checked).as_deref(), newest, "{checked}");
        }
        assert!(
            ServerVersion(3, 1) < OLDEST && ServerVersion(2, 22) < OLDEST && ServerVersion(3, 17) > OLDEST
        );
    }
}
