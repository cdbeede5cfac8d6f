//! OpenTelemetry's protocol (OTLP) over HTTP: a trace as protobuf, in batches. MLflow's servers take spans in it too; an
//! OpenTelemetry collector takes nothing else.
//!
//! A collector keeps each span once and has no update. Its traces are those of turns that have ended, and the receipt
//! lists the spans that it took.

pub(crate) mod batch;
mod collector;
mod connection;
mod dialect;
mod exporter;
mod gen_ai;
mod messages;
mod mlflow;
mod open_inference;
mod refusal;
mod resource;
mod value;
pub(crate) mod writer;

pub use dialect::Dialect;
pub use exporter::OtlpExporter;

use crate::exporter::{Readiness, Remote, Result};
use crate::rest::answer::date;
use reqwest::header::DATE;

/// Asks whether the collector takes traces, by a request without spans.
pub fn readiness(remote: Remote, url: &str) -> Result<Readiness> {
    let collector = connection::connect(remote, url)?;
    let answer = collector.ask(batch::without_spans())?;
    collector.check(&answer)?;
    Ok(Readiness { version: None, experiment_id: None, clock: date(&answer.headers, DATE) })
}
