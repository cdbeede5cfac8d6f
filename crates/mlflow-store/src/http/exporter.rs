//! Sends traces to a server: spans as OTLP or as an artifact, and the information about each trace.

use super::connection::connect;
use super::server::{FIRST_TO_ADD, ServerApi};
use super::spans::{self, Route};
use crate::exporter::{Delivered, ExportError, Exporter, Remote, Result, Sign};
use crate::ids::TraceId;
use crate::receipt::Receipt;
use crate::rest::answer::{self, Answer};
use crate::rest::api::{Rest, Subject};
use crate::rest::experiments;
use crate::rest::stored_trace::{self, StoredTrace};
use crate::tags::{self, TagUpdate};
use crate::target::{Experiment, Target};
use crate::trace::{Span, Trace};
use crate::{mlflow_keys, trace_info, wire};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use std::collections::HashMap;
use std::time::Instant;

/// Sends traces to one server and one experiment.
pub struct HttpExporter<'a> {
    pub(super) server: ServerApi<'a>,
    /// Whether it adds information to what it has of a trace. If not, or if its version is unknown, it replaces
    /// what it has.
    adds: bool,
    target: Target,
    wanted: Experiment,
    /// The wanted experiment's id, once it is found or created.
    found: Option<String>,
    /// The traces that this exporter has sent.
    pub(super) sent: HashMap<TraceId, Sent>,
}

/// What an update of a trace needs to know, so that it asks for nothing.
pub(super) struct Sent {
    pub(super) experiment_id: String,
    pub(super) route: Route,
}

/// The experiment of a trace that is to be sent, and what the server has of the trace.
struct Place {
    experiment_id: String,
    there: Option<StoredTrace>,
}

impl<'a> HttpExporter<'a> {
    /// Asks for the server's version; refuses one that is too old to take traces.
    pub fn open(remote: Remote<'_, 'a>, url: &str, wanted: Experiment) -> Result<HttpExporter<'a>> {
        let server = connect(remote, url)?;
        let adds = server.version_in(&server.ask_version()?)?.is_some_and(|version| version >= FIRST_TO_ADD);
        Ok(HttpExporter {
            server,
            adds,
            target: remote.target.clone(),
            wanted,
            found: None,
            sent: HashMap::new(),
        })
    }

    /// The id of the experiment that has the trace, or else of the one that receives it.
    fn experiment(&mut self, there: Option<&StoredTrace>) -> Result<String> {
        if let Some(there) = there {
            return experiments::by_id(&self.server, &there.experiment_id);
        }
        if self.found.is_none() {
            self.found = Some(experiments::find_or_create(&self.server, &self.wanted)?);
        }
        Ok(self.found.clone().unwrap_or_default())
    }

    /// The cost of a trace that only the server prices, from its spans.
    fn cost_there(&self, trace: &Trace, there: Option<&StoredTrace>) -> Result<Option<String>> {
        let is_there = there.is_some_and(|there| there.has_metadata(mlflow_keys::COST));
        match is_there && !trace.metadata.contains_key(mlflow_keys::COST) {
            true => spans::stored_cost(&self.server, trace.id),
            false => Ok(None),
        }
    }

    /// Sends the trace's information; returns what the server has then.
    pub(super) fn send_info(
        &self,
        trace: &Trace,
        experiment: &str,
        there: Option<&StoredTrace>,
        update: &TagUpdate,
        cost: Option<String>,
    ) -> Result<StoredTrace> {
        let mut body = trace_info::body(trace, experiment, update);
        let info = &mut body["trace"]["trace_info"];
        let has = |key: &str| there.is_some_and(|there| there.has_metadata(key));
        if let Some(cost) = cost {
            info["trace_metadata"][mlflow_keys::COST] = cost.into();
        }
        // No request removes metadata, so an empty text replaces it.
        if has(tags::FORMER_RECORD) {
            info["trace_metadata"][tags::FORMER_RECORD] = "".into();
        }
        if trace.is_metadata_only() {
            // A server keeps a preview that the request omits, so an empty text replaces it.
            if there.is_some() && trace.request_preview.is_none() {
                info["request_preview"] = "".into();
            }
            for key in mlflow_keys::PERSONAL.into_iter().filter(|key| has(key)) {
                info["trace_metadata"][key] = "".into();
            }
        }
        if let Some(there) = there.filter(|_| !self.adds) {
            there.complete(&mut body, &update.remove);
        }
        let answer = stored_trace::send_info(&self.server, &body)?;
        self.check(&answer)?;
        StoredTrace::read(&self.server, &answer)
    }

    /// Servers that keep spans as a file refuse the information of a trace that they have.
    fn change_info(&self, trace: &Trace, update: &TagUpdate, there: StoredTrace) -> Result<StoredTrace> {
        self.refuse_lost_spans(&there)?;
        let end = trace.started_at.as_millisecond().saturating_add(trace_info::took(trace));
        self.check(&stored_trace::end(&self.server, trace, end, update)?)?;
        Ok(there)
    }

    fn check(&self, answer: &Answer) -> Result<()> {
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.server.refused(Subject::TraceInfo, answer)),
        }
    }

    /// Refuses a server that looks for spans in its database, yet took none: a proxy keeps them back.
    fn refuse_lost_spans(&self, stored: &StoredTrace) -> Result<()> {
        if !stored.is_in_tracking_store() {
            return Ok(());
        }
        Err(ExportError::unclear(format!(
            "{} takes no spans at /v1/traces, where it looks for them (let that path through to MLflow)",
            self.server.address
        )))
    }

    fn send_artifact(&self, trace: &Trace, stored: &StoredTrace) -> Result<()> {
        // Two slashes would name another host, which the user did not choose.
        let path = stored
            .artifact_location()
            .strip_prefix("mlflow-artifacts:/")
            .filter(|path| !path.starts_with('/'));
        let Some(path) = path else {
            return Err(ExportError::Target(format!(
                "{} keeps spans in a place that only its own machine reaches (upgrade that server to 3.6 or newer, or \
                 start it with --serve-artifacts)",
                self.server.address
            )));
        };
        let place = ["api", "2.0", "mlflow-artifacts", "artifacts"];
        let parts: Vec<&str> = place.into_iter().chain(path.split('/')).chain([wire::ARTIFACT]).collect();
        let headers = [(CONTENT_TYPE, "text/plain")];
        let answer = self.server.send(Method::PUT, &parts, &headers, wire::traces_json(trace))?;
        match answer.status.is_success() && !answer::is_page(&answer) {
            true => Ok(()),
            false => Err(self.server.refused(Subject::TraceInfo, &answer)),
        }
    }

    pub(super) fn archived(&self, trace: &Trace) -> ExportError {
        ExportError::Archived(format!("{} has archived {}", self.server.address, trace.id))
    }

    /// Looks for the trace after an answer of 500 or above: a server that shows it works, or has archived it
    /// since.
    fn seen_in_its_light(&self, trace: &Trace, error: ExportError) -> ExportError {
        let is_answer = matches!(error, ExportError::Transient { status: Some(500..), .. });
        match error.over_trace() {
            ExportError::Unclear { reason, after, .. } if is_answer => {
                let sign = match self.server.look_once(trace.id) {
                    Some(there) if there.is_archived() => return self.archived(trace),
                    Some(_) => Sign::ShowsTrace,
                    None => Sign::None,
                };
                ExportError::Unclear { reason, after, sign }
            }
            error => error,
        }
    }

    /// Where the trace is, or will be.
    fn place(&mut self, trace: &Trace) -> Result<Place> {
        trace.check_tree()?;
        let there = StoredTrace::look(&self.server, trace.id).map_err(ExportError::over_trace)?;
        if there.as_ref().is_some_and(StoredTrace::is_archived) {
            return Err(self.archived(trace));
        }
        Ok(Place { experiment_id: self.experiment(there.as_ref())?, there })
    }

    /// Sends the spans that are not there yet; returns their number, and the way that the server takes spans.
    fn send_spans(&self, trace: &Trace, before: Option<&Receipt>, place: &Place) -> Result<(usize, Route)> {
        let Place { experiment_id, there } = place;
        // A trace that the server no longer has is sent whole, even if the receipt lists its spans. So is one that
        // the server lost and made again from the spans of an update.
        let is_known = there.as_ref().is_some_and(StoredTrace::has_our_info);
        let before = before.filter(|before| before.target == self.target && is_known);
        let is_new = |span: &&Span| !before.is_some_and(|before| before.holds(span));
        let new = root_last(trace.spans.iter().filter(is_new));
        let route = spans::send(&self.server, trace, experiment_id, &new)?;
        Ok(match new.is_empty() && place.keeps_artifact() {
            true => (0, Route::Artifact),
            false => (new.len(), route),
        })
    }

    fn send_rest(
        &self,
        trace: &Trace,
        place: Place,
        count: usize,
        route: Route,
    ) -> Result<(Delivered, Route)> {
        let Place { experiment_id, there } = place;
        let update = there.as_ref().unwrap_or(&StoredTrace::default()).update(trace);
        stored_trace::remove_tags(&self.server, trace.id, &update.remove)?;
        let stored = match (there, route) {
            (Some(there), Route::Artifact) => self.change_info(trace, &update, there)?,
            (None, Route::Artifact) => match self.send_info(trace, &experiment_id, None, &update, None) {
                Ok(stored) => stored,
                // An earlier request may have arrived, and only its answer was lost.
                Err(refusal @ (ExportError::Trace(_) | ExportError::Transient { .. })) => {
                    let Some(there) = StoredTrace::look(&self.server, trace.id)? else { return Err(refusal) };
                    self.change_info(trace, &update, there)?
                }
                Err(refusal) => return Err(refusal),
            },
            (there, Route::Spans) => {
                let cost = self.cost_there(trace, there.as_ref())?;
                self.send_info(trace, &experiment_id, there.as_ref(), &update, cost)?
            }
        };
        if route == Route::Artifact {
            self.refuse_lost_spans(&stored)?;
        }
        if stored.is_in_tracking_store() {
            return Ok((Delivered { experiment_id, spans_sent: count }, Route::Spans));
        }
        self.send_artifact(trace, &stored)?;
        Ok((Delivered { experiment_id, spans_sent: trace.spans.len() }, Route::Artifact))
    }

    /// Keeps what updates of the trace need.
    fn noted(&mut self, trace: &Trace, taken: Result<(Delivered, Route)>) -> Result<Delivered> {
        let (delivered, route) = taken.map_err(|error| self.seen_in_its_light(trace, error))?;
        self.sent.insert(trace.id, Sent { experiment_id: delivered.experiment_id.clone(), route });
        Ok(delivered)
    }

    /// As `export`. None if the server keeps the spans as an artifact, of which it was sent nothing.
    fn start(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Option<Delivered>> {
        let place = self.place(trace)?;
        if place.keeps_artifact() {
            return Ok(None);
        }
        let taken = match self.send_spans(trace, before, &place) {
            Ok((_, Route::Artifact)) => return Ok(None),
            Ok((count, route)) => self.send_rest(trace, place, count, route),
            Err(error) => Err(error),
        };
        self.noted(trace, taken).map(Some)
    }
}

impl Place {
    /// Whether the server has the trace and keeps its spans as an artifact.
    fn keeps_artifact(&self) -> bool {
        self.there.as_ref().is_some_and(|there| !there.is_in_tracking_store())
    }
}

impl Exporter for HttpExporter<'_> {
    fn give_up_at(&mut self, at: Option<Instant>) {
        self.server.client.give_up_at(at);
    }

    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered> {
        let place = self.place(trace)?;
        let sent = self.send_spans(trace, before, &place);
        let taken = sent.and_then(|(count, route)| self.send_rest(trace, place, count, route));
        self.noted(trace, taken)
    }

    fn begin(&mut self, trace: &Trace, before: Option<&Receipt>) -> Option<Result<Delivered>> {
        self.start(trace, before).transpose()
    }

    fn update(&mut self, changes: &Trace) -> Option<Result<Delivered>> {
        let taken = self.take_changes(changes).transpose()?;
        Some(taken.map_err(|error| self.seen_in_its_light(changes, error)))
    }
}

/// Children first, the root last: until the root is there, MLflow shows the trace as running.
pub(crate) fn root_last<'t>(spans: impl IntoIterator<Item = &'t Span>) -> Vec<&'t Span> {
    let (roots, others): (Vec<&Span>, Vec<&Span>) = spans.into_iter().partition(|span| span.parent.is_none());
    others.into_iter().chain(roots).collect()
}
