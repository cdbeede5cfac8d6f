//! Sends the traces of turns to a collector.

use super::batch::{Batch, first_batch, one_batch};
use super::collector::Collector;
use super::connection::connect;
use super::dialect::{DIALECT, Dialect};
use super::resource::resource;
use super::writer::TraceWriter;
use crate::exporter::{Delivered, ExportError, Exporter, Remote, Result};
use crate::http::root_last;
use crate::receipt::Receipt;
use crate::target::Experiment;
use crate::trace::{Span, Trace, TraceState};
use common::variables::Variables;
use reqwest::StatusCode;
use std::time::Instant;

/// Sends traces to one collector.
pub struct OtlpExporter<'a> {
    collector: Collector<'a>,
    dialect: Dialect,
    /// For the trace's resource.
    variables: Variables,
    /// The experiment's name: Phoenix calls it a project.
    project: String,
}

impl<'a> OtlpExporter<'a> {
    /// Sends nothing.
    pub fn open(remote: Remote<'_, 'a>, url: &str, experiment: &Experiment) -> Result<OtlpExporter<'a>> {
        let variables = remote.access.variables_for(remote.target);
        let word = variables.text(DIALECT);
        let known = word.map(|word| Dialect::parse(word).ok_or(word)).transpose();
        let dialect = known.map_err(|word| {
            ExportError::Target(format!("{DIALECT} is \"{word}\" (set it to gen_ai or openinference)"))
        })?;
        let dialect = dialect.unwrap_or_else(|| Dialect::usual_for(remote.target));
        let (Experiment::Name(project) | Experiment::Id(project)) = experiment.clone();
        Ok(OtlpExporter { collector: connect(remote, url)?, dialect, variables, project })
    }

    /// In halves if the batch is too large for the collector or for a proxy.
    fn send(&self, writer: &TraceWriter, batch: Batch) -> Result<()> {
        let answer = self.collector.ask(batch.body)?;
        if answer.status != StatusCode::PAYLOAD_TOO_LARGE || batch.spans.len() == 1 {
            return self.collector.check(&answer);
        }
        let (first, second) = batch.spans.split_at(batch.spans.len() / 2);
        self.send(writer, one_batch(writer, first))?;
        self.send(writer, one_batch(writer, second))
    }
}

impl Exporter for OtlpExporter<'_> {
    /// Sends the spans that the collector did not take yet, in whatever form: it keeps the first.
    fn export(&mut self, trace: &Trace, before: Option<&Receipt>) -> Result<Delivered> {
        trace.check_tree()?;
        if trace.state == TraceState::InProgress {
            return Err(ExportError::Trace(format!(
                "{} takes no trace that is still in progress",
                self.collector.address
            )));
        }
        let is_new = |span: &&Span| !before.is_some_and(|before| before.spans.contains_key(&span.id));
        let new = root_last(trace.spans.iter().filter(is_new));
        let resource = resource(trace, &self.variables, self.dialect, &self.project);
        let writer = TraceWriter::for_collector(trace, self.dialect, resource);
        let mut left = &new[..];
        while !left.is_empty() {
            let batch = first_batch(&writer, left);
            left = &left[batch.spans.len()..];
            self.send(&writer, batch)?;
        }
        Ok(Delivered { experiment_id: String::new(), spans_sent: new.len() })
    }

    fn give_up_at(&mut self, at: Option<Instant>) {
        self.collector.client.give_up_at(at);
    }
}
