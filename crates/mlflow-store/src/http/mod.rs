//! Exports traces to an MLflow server over http or https.
//!
//! Order of calls, tested with eight server versions: spans with the root last, then the trace's information,
//! whose totals are final. In the reverse order, servers count tokens twice or never. The exporter sends an
//! artifact only if the server does not keep the spans itself.

mod connection;
mod exporter;
mod refusal;
mod server;
mod spans;
mod update;

pub use exporter::HttpExporter;
pub(crate) use exporter::root_last;
pub use server::newest_tried_before;

use crate::exporter::{Readiness, Remote, Result};
use crate::ids::TraceId;
use crate::lost_traces::{self, Lost, SentTrace};
use crate::rest::answer::{date, error_code};
use crate::rest::api::{ApiRequest, Rest, Subject};
use crate::rest::experiments;
use crate::target::Experiment;
use crate::trace_info;
use connection::connect;
use reqwest::Method;
use reqwest::header::DATE;
use serde_json::json;
use server::ServerApi;
use std::collections::{BTreeSet, HashSet};

/// Asks whether the server answers and has the experiment; changes nothing. Only a trace shows whether the user may
/// write there.
pub fn readiness(remote: Remote, url: &str, wanted: &Experiment) -> Result<Readiness> {
    let server = connect(remote, url)?;
    let answer = server.ask_version()?;
    let version = server.version_in(&answer)?.map(|version| format!("MLflow {version}"));
    let experiment_id = experiments::find(&server, wanted)?;
    Ok(Readiness { version, experiment_id, clock: date(&answer.headers, DATE) })
}

/// Measured: a search for 100 takes 0.1 s (MLflow 3.18) to 0.5 s (3.2), a look at one trace 0.025 s.
const AT_ONCE: usize = 100;

/// The traces that the server no longer has: a search for many by their ids, then a look at each that the search did
/// not find.
pub fn lost(remote: Remote, url: &str, sent: &[SentTrace]) -> Result<Lost> {
    let server = connect(remote, url)?;
    let mut found = HashSet::new();
    for some in sent.chunks(AT_ONCE) {
        found.extend(search(&server, some)?);
    }
    // A trace may have moved to another experiment; or MLflow refused the search because one is gone.
    let is_present = |trace| Ok(found.contains(&trace) || has(&server, trace)?);
    lost_traces::find(sent, is_present, |experiment_id| experiments::created_at(&server, experiment_id))
}

fn search(server: &ServerApi, sent: &[SentTrace]) -> Result<Vec<TraceId>> {
    let experiments: BTreeSet<&str> = sent.iter().map(|one| one.experiment_id.as_str()).collect();
    let ids: Vec<String> = sent.iter().map(|one| format!("'{}'", one.trace)).collect();
    let body = json!({
        "locations": experiments.into_iter().map(trace_info::location).collect::<Vec<_>>(),
        "max_results": sent.len(),
        "filter": format!("request_id IN ({})", ids.join(", ")),
    });
    let path = ["api", "3.0", "mlflow", "traces", "search"];
    let answer = server.call(&ApiRequest::with_body(Method::POST, &path, &body))?;
    if !answer.status.is_success() {
        // MLflow itself refuses the search; then the caller looks at each trace.
        return match error_code(&answer) {
            Some(_) => Ok(Vec::new()),
            None => Err(server.refused(Subject::Server, &answer)),
        };
    }
    let found = answer.json();
    if found.is_null() {
        return Err(server.refused(Subject::Server, &answer));
    }
    let traces = found["traces"].as_array().into_iter().flatten();
    Ok(traces.filter_map(|trace| trace["trace_id"].as_str()?.parse().ok()).collect())
}

fn has(server: &ServerApi, trace: TraceId) -> Result<bool> {
    let path = ["api", "3.0", "mlflow", "traces", &trace.to_string()];
    let answer = server.call(&ApiRequest::get(&path, &[]))?;
    match answer.status.as_u16() {
        200 => Ok(true),
        // As for an experiment. A 404 without a code is from a proxy, whose server may be down.
        403 => Ok(false),
        404 if error_code(&answer).is_some() => Ok(false),
        _ => Err(server.refused(Subject::Server, &answer)),
    }
}
