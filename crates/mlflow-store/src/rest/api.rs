//! One request to the REST API, and what differs between the programs that answer it.

use super::answer::Answer;
use super::client::Request;
use crate::exporter::{ExportError, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

pub(crate) struct ApiRequest<'r> {
    pub method: Method,
    /// The segments of the path after the address.
    pub path: &'r [&'r str],
    pub query: &'r [(&'r str, &'r str)],
    pub body: Option<&'r Value>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'s> {
    /// A look at the server, or at traces of earlier deliveries.
    Server,
    /// A look at the experiment with this name.
    ExperimentName(&'s str),
    /// A look at the experiment with this id.
    ExperimentId(&'s str),
    /// A look at an experiment of an earlier delivery, which may be gone.
    FormerExperiment(&'s str),
    /// The creation of an experiment with this name.
    NewExperiment(&'s str),
    /// A look at the trace that is to be sent.
    StoredTrace,
    /// The information about a trace.
    TraceInfo,
    Tag,
}

/// A program that has MLflow's REST API.
pub(crate) trait Rest {
    /// How often another client may create the experiment between a look and the creation, and whether the
    /// last time is followed by a look.
    const CREATIONS: usize;
    const LOOKS_LAST: bool;

    /// Whether a success with an unexpected body is an error. A proxy's page may have such a status.
    const CHECKS_BODIES: bool;

    /// Sends a request, with retries. The error is one of any request, such as no answer.
    fn call(&self, request: &ApiRequest) -> Result<Answer>;

    /// The error for an answer that the caller cannot use.
    fn refused(&self, subject: Subject, answer: &Answer) -> ExportError;

    /// Whether the answer means that the subject does not exist.
    fn is_missing(&self, subject: Subject, answer: &Answer) -> bool;

    /// Whether the answer means that the subject exists already.
    fn is_taken(&self, answer: &Answer) -> bool;

    /// The name by which the target has the experiment.
    fn full_name(&self, name: &str) -> Result<String> {
        Ok(name.to_owned())
    }

    /// The error for an id that no experiment has.
    fn no_experiment(&self, id: &str) -> ExportError;

    /// The error for a deleted experiment, which the user gave by this name or id.
    fn deleted_experiment(&self, called: &str, experiment: &Value) -> ExportError;

    /// Refuses an experiment that exists and cannot take traces.
    fn check_experiment(&self, _: &Value) -> Result<()> {
        Ok(())
    }
}

impl<'r> ApiRequest<'r> {
    pub(crate) fn get(path: &'r [&'r str], query: &'r [(&'r str, &'r str)]) -> ApiRequest<'r> {
        ApiRequest { method: Method::GET, path, query, body: None }
    }

    pub(crate) fn with_body(method: Method, path: &'r [&'r str], body: &'r Value) -> ApiRequest<'r> {
        ApiRequest { method, path, query: &[], body: Some(body) }
    }

    /// The request to the program at this address. Names and ids may hold any character, and some come from the
    /// server: each part of the path is escaped as one segment. None for a part that is no segment.
    pub(crate) fn at(&self, base: &Url) -> Option<Request> {
        if self.path.iter().any(|part| [".", "..", ""].contains(part)) {
            return None;
        }
        let mut url = base.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(self.path);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        let (mut headers, mut body) = (HeaderMap::new(), Vec::new());
        if let Some(json) = self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body = json.to_string().into_bytes();
        }
        Some(Request { method: self.method.clone(), url: url.into(), headers, body })
    }
}
