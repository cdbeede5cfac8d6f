//! Exports traces to a Databricks workspace: information by its REST API, spans as a file in the cloud's
//! storage.

mod experiment;
mod login;
mod present;
mod profile;
mod refusal;
mod signed;
mod storage;
mod upload;
mod workspace;

use super::http::client::Client;
use super::http::{proxies, roots, settings};
use super::tags::{self, Record, TagUpdate};
use super::{artifact, info, tree};
use crate::config::access::Access;
use crate::config::target::{Experiment, Target};
use crate::export::receipt::Receipt;
use crate::export::{Checked, Delivered, ExportError, Exporter, Patience};
use crate::trace::ids::TraceId;
use crate::trace::model::Trace;
use login::{Account, LoginError};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use workspace::{ApiRequest, WorkspaceApi};

const TRACES: &str = "/api/3.0/mlflow/traces";

pub use present::lost;

/// The workspace's address, if the settings name one and a way to log in.
pub fn host(profile: Option<&str>, access: &Access) -> Option<String> {
    let target = Target::Databricks { profile: profile.map(str::to_owned) };
    Some(Account::find(profile, &access.variables_for(&target), access.home.as_deref()).ok()?.host)
}

/// Writes traces to one workspace and one experiment.
pub struct DatabricksExporter<'a> {
    workspace: WorkspaceApi<'a>,
    experiment: Experiment,
}

/// What the workspace has of a trace.
#[derive(Debug, Default, PartialEq)]
struct StoredTrace {
    experiment_id: String,
    tags: BTreeMap<String, String>,
    /// The record of the tags that the last update wrote.
    written: Record,
}

impl From<LoginError> for ExportError {
    fn from(error: LoginError) -> ExportError {
        ExportError::Target(error.to_string())
    }
}

impl<'a> DatabricksExporter<'a> {
    /// Chooses the login; sends no request yet.
    pub fn open(
        target: &Target,
        profile: Option<&str>,
        experiment: Experiment,
        access: &Access,
        patience: Patience<'a>,
    ) -> Result<DatabricksExporter<'a>, ExportError> {
        let variables = access.variables_for(target);
        let account = Account::find(profile, &variables, access.home.as_deref())?;
        let http = proxies::set(reqwest::Client::builder(), &variables)?;
        let http = match account.host.starts_with("http:") {
            // Only tests have such a host, on machines that may have no certificates.
            true => http.tls_certs_only([]),
            false => roots::set(http, &variables)?,
        };
        let client = Client::new(http, settings::request_policy(&variables)?, patience)?;
        Ok(DatabricksExporter { workspace: WorkspaceApi::new(client, account), experiment })
    }

    fn look(&mut self, trace: TraceId) -> Result<Option<StoredTrace>, ExportError> {
        match self.workspace.ask(&ApiRequest::get(&format!("{TRACES}/{trace}"), &[]))? {
            Ok(answer) => Ok(Some(StoredTrace::from_json(&answer))),
            Err(refusal) if refusal.is_missing() => Ok(None),
            Err(refusal) => Err(ExportError::unclear(format!(
                "Databricks does not tell whether it has the trace{}",
                refusal.message()
            ))),
        }
    }

    /// Sends everything but the spans.
    fn send_info(
        &mut self,
        trace: &Trace,
        experiment: &str,
        before: &StoredTrace,
    ) -> Result<(), ExportError> {
        let update = before.update(trace);
        let body = info::body(trace, experiment, &update.write, &update.record);
        match self.workspace.ask(&ApiRequest::with_body(Method::POST, TRACES, &body))? {
            Ok(answer) => self.put_back(trace.id, before, &update, &StoredTrace::from_json(&answer))?,
            Err(refusal) if refusal.is_taken() => return self.change_info(trace),
            Err(refusal) => {
                return Err(ExportError::Trace(format!("Databricks refused the trace{}", refusal.message())));
            }
        }
        self.remove_tags(trace.id, &update)
    }

    /// MLflow's own servers merge the tags of a trace that is sent again. If the workspace replaces them
    /// instead, this restores the users' tags.
    fn put_back(
        &mut self,
        trace: TraceId,
        before: &StoredTrace,
        update: &TagUpdate,
        now: &StoredTrace,
    ) -> Result<(), ExportError> {
        let is_lost = |key: &&String| !now.tags.contains_key(*key) && !update.remove.contains(key);
        for key in before.tags.keys().filter(is_lost) {
            self.set_tag(trace, key, &before.tags[key])?;
        }
        Ok(())
    }

    /// For a workspace that takes the information about a trace only once. The older call that ends a trace
    /// (API 2.0) changes everything but the previews; if the workspace lacks that too, only tags change.
    fn change_info(&mut self, trace: &Trace) -> Result<(), ExportError> {
        let there = self.look(trace.id)?.ok_or_else(|| {
            let id = trace.id;
            ExportError::transient(format!("Databricks says that it has trace {id}, but does not show it"))
        })?;
        let update = there.update(trace);
        let path = format!("/api/2.0/mlflow/traces/{}", trace.id);
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>()
        };
        let body = json!({
            "request_id": trace.id.to_string(),
            "timestamp_ms": trace.ended_at.as_millisecond(),
            "status": trace.state.as_str(),
            "request_metadata": pairs(&info::metadata(trace, &update.record)),
            "tags": pairs(&update.write),
        });
        if let Err(refusal) = self.workspace.ask(&ApiRequest::with_body(Method::PATCH, &path, &body))? {
            tracing::warn!(
                "Databricks does not change what it knows of trace {}{}: its state, tokens and cost stay as they \
                 were, its spans and tags are brought up to date",
                trace.id,
                refusal.message()
            );
            for (key, value) in &update.write {
                self.set_tag(trace.id, key, value)?;
            }
        }
        self.remove_tags(trace.id, &update)
    }

    fn set_tag(&mut self, trace: TraceId, key: &str, value: &str) -> Result<(), ExportError> {
        self.change_tag(Method::PATCH, trace, &json!({"key": key, "value": value}))
    }

    fn remove_tags(&mut self, trace: TraceId, update: &TagUpdate) -> Result<(), ExportError> {
        update.remove.iter().try_for_each(|key| self.change_tag(Method::DELETE, trace, &json!({"key": key})))
    }

    fn change_tag(&mut self, method: Method, trace: TraceId, body: &Value) -> Result<(), ExportError> {
        let path = format!("/api/2.0/mlflow/traces/{trace}/tags");
        let is_removal = method == Method::DELETE;
        match self.workspace.ask(&ApiRequest::with_body(method, &path, body))? {
            Ok(_) => Ok(()),
            Err(refusal) if is_removal && refusal.is_missing() => Ok(()),
            Err(refusal) => {
                Err(ExportError::Trace(format!("Databricks refused a tag of the trace{}", refusal.message())))
            }
        }
    }
}

/// Checks that the workspace answers and has the experiment; changes nothing.
pub fn check(
    target: &Target,
    profile: Option<&str>,
    wanted: &Experiment,
    access: &Access,
    patience: Patience,
) -> Result<Checked, ExportError> {
    let mut exporter = DatabricksExporter::open(target, profile, wanted.clone(), access, patience)?;
    let experiment_id = experiment::find(&mut exporter.workspace, wanted)?;
    Ok(Checked { version: None, experiment_id, clock: None })
}

impl Exporter for DatabricksExporter<'_> {
    fn give_up_at(&mut self, at: Option<Instant>) {
        self.workspace.client().give_up_at(at);
    }

    /// Sends the whole trace each time: the spans are one file.
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered, ExportError> {
        tree::check(&trace.spans)
            .map_err(|error| ExportError::Trace(format!("spans make no tree: {error}")))?;
        let there = self.look(trace.id).map_err(ExportError::over_trace)?;
        // Another experiment would move the trace.
        let home = there.as_ref().map(|there| there.experiment_id.clone());
        let experiment_id = match (home, before.map(|receipt| receipt.experiment_id.as_str())) {
            (Some(id), _) => experiment::by_id(&mut self.workspace, &id)?,
            // The trace is gone, and its experiment may be gone too.
            (None, Some(id)) if experiment::made(&mut self.workspace, id)?.is_some() => {
                experiment::by_id(&mut self.workspace, id)?
            }
            (None, _) => experiment::find_or_make(&mut self.workspace, &self.experiment)?,
        };
        let informed = self.send_info(trace, &experiment_id, &there.unwrap_or_default());
        informed.map_err(ExportError::over_trace)?;
        let uploaded = upload::upload(&mut self.workspace, trace.id, &artifact::traces_json(trace));
        uploaded.map_err(ExportError::over_trace)?;
        Ok(Delivered { experiment_id, spans_sent: trace.spans.len() })
    }
}

impl StoredTrace {
    /// From the answer to a look, or to the information that was sent.
    fn from_json(answer: &Value) -> StoredTrace {
        let info = &answer["trace"]["trace_info"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tags = info["tags"].as_object().into_iter().flatten();
        StoredTrace {
            experiment_id: text(&info["trace_location"]["mlflow_experiment"]["experiment_id"])
                .unwrap_or_default(),
            tags: tags.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect(),
            written: tags::record(|key| info["trace_metadata"][key].as_str()),
        }
    }

    fn update(&self, trace: &Trace) -> TagUpdate {
        TagUpdate::plan(&self.tags, &self.written, &info::tags(trace))
    }
}
