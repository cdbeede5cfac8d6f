//! Exports traces to a Databricks workspace: information by its REST API, spans as a file in the cloud's
//! storage.

mod grant;
mod login;
mod profile;
mod refusal;
mod rest;
mod upload;
mod workspace;

pub use login::host;
pub(crate) use login::login_variables;

use crate::exporter::{Delivered, ExportError, Exporter, Readiness, Remote, Result};
use crate::lost_traces::{self, Lost, SentTrace};
use crate::receipt::Receipt;
use crate::rest::api::{Rest, Subject};
use crate::rest::experiments;
use crate::rest::stored_trace::{self, StoredTrace};
use crate::target::Experiment;
use crate::trace::Trace;
use crate::{trace_info, wire};
use std::time::Instant;
use workspace::{WorkspaceApi, connect};

/// Writes traces to one workspace and one experiment.
pub struct DatabricksExporter<'a> {
    workspace: WorkspaceApi<'a>,
    experiment: Experiment,
}

impl<'a> DatabricksExporter<'a> {
    /// Chooses the login; sends no request yet.
    pub fn open(
        remote: Remote<'_, 'a>,
        profile: Option<&str>,
        experiment: Experiment,
    ) -> Result<DatabricksExporter<'a>> {
        Ok(DatabricksExporter { workspace: connect(remote, profile)?, experiment })
    }

    /// Sends everything but the spans.
    fn send_info(&self, trace: &Trace, experiment: &str, before: &StoredTrace) -> Result<()> {
        let update = before.update(trace);
        let body = trace_info::body(trace, experiment, &update);
        let answer = stored_trace::send_info(&self.workspace, &body)?;
        if !answer.status.is_success() {
            return match self.workspace.is_taken(&answer) {
                true => self.change_info(trace),
                false => Err(self.workspace.refused(Subject::TraceInfo, &answer)),
            };
        }
        // MLflow's own servers merge the tags of a trace that is sent again. If the workspace replaces them
        // instead, this restores the users' tags.
        for (key, value) in before.tags_lost(&StoredTrace::from_json(&answer.json()), &update) {
            stored_trace::set_tag(&self.workspace, trace.id, key, value)?;
        }
        stored_trace::remove_tags(&self.workspace, trace.id, &update.remove)
    }

    /// For a workspace that takes the information about a trace only once. If it lacks the older call too,
    /// only tags change.
    fn change_info(&self, trace: &Trace) -> Result<()> {
        let there = StoredTrace::look(&self.workspace, trace.id)?.ok_or_else(|| {
            let id = trace.id;
            ExportError::transient(format!("Databricks says that it has trace {id}, but does not show it"))
        })?;
        let update = there.update(trace);
        let answer = stored_trace::end(&self.workspace, trace, trace.ended_at.as_millisecond(), &update)?;
        if !answer.status.is_success() {
            tracing::warn!(
                "Databricks refuses to change trace {}{}: its state, tokens and cost stay as they were, its spans and \
                 tags are updated",
                trace.id,
                self.workspace.refusal(&answer).message()
            );
            for (key, value) in &update.write {
                stored_trace::set_tag(&self.workspace, trace.id, key, value)?;
            }
        }
        stored_trace::remove_tags(&self.workspace, trace.id, &update.remove)
    }
}

impl Exporter for DatabricksExporter<'_> {
    fn give_up_at(&mut self, at: Option<Instant>) {
        self.workspace.client.give_up_at(at);
    }

    /// Sends the whole trace each time: the spans are one file.
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered> {
        trace.check_tree()?;
        let there = StoredTrace::look(&self.workspace, trace.id).map_err(ExportError::over_trace)?;
        // Another experiment would move the trace.
        let home = there.as_ref().map(|there| there.experiment_id.clone());
        let experiment_id = match (home, before.map(|receipt| receipt.experiment_id.as_str())) {
            (Some(id), _) => experiments::by_id(&self.workspace, &id)?,
            // The trace is gone, and its experiment may be gone too.
            (None, Some(id)) if experiments::created_at(&self.workspace, id)?.is_some() => {
                experiments::by_id(&self.workspace, id)?
            }
            (None, _) => experiments::find_or_create(&self.workspace, &self.experiment)?,
        };
        let informed = self.send_info(trace, &experiment_id, &there.unwrap_or_default());
        informed.map_err(ExportError::over_trace)?;
        let uploaded = upload::upload(&self.workspace, trace.id, &wire::traces_json(trace));
        uploaded.map_err(ExportError::over_trace)?;
        Ok(Delivered { experiment_id, spans_sent: trace.spans.len() })
    }
}

/// Asks whether the workspace answers and has the experiment; changes nothing.
pub fn readiness(remote: Remote, profile: Option<&str>, wanted: &Experiment) -> Result<Readiness> {
    let experiment_id = experiments::find(&connect(remote, profile)?, wanted)?;
    Ok(Readiness { experiment_id, ..Readiness::default() })
}

/// The traces that the workspace no longer has, by one request for each: a search by ids is untested there.
pub fn lost(remote: Remote, profile: Option<&str>, sent: &[SentTrace]) -> Result<Lost> {
    let workspace = connect(remote, profile)?;
    let is_present = |trace| Ok(StoredTrace::look(&workspace, trace)?.is_some());
    lost_traces::find(sent, is_present, |experiment_id| experiments::created_at(&workspace, experiment_id))
}
