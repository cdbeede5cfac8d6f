//! Where the traces of sessions are: in targets, by their receipts, or in the spool.

use crate::base::paths::Paths;
use crate::finish::context::Context;
use crate::queue::spool;
use crate::queue::spool::Spool;
use crate::queue::thread_history::taken;
use codex_session::thread::ThreadId;
use common::printable::masked_with_queries;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;

/// Where one session's trace is.
#[derive(Debug, Default, Serialize)]
pub(super) struct TracePlaces {
    pub(super) traces: Vec<TracePlace>,
    /// Its newest form waits to be delivered.
    pub(super) waits: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct TracePlace {
    pub(super) trace: TraceId,
    pub(super) target: String,
    pub(super) experiment_id: String,
    #[serde(skip)]
    pub(super) short: String,
}

pub(super) struct TracesOfSessions<'c> {
    paths: &'c Paths,
    waiting: HashSet<TraceId>,
}

impl TracesOfSessions<'_> {
    pub(super) fn new<'c>(context: &'c Context) -> TracesOfSessions<'c> {
        let waiting = spool(&context.paths).paths().into_iter().filter_map(|path| Spool::trace_of(&path));
        TracesOfSessions { paths: &context.paths, waiting: waiting.collect() }
    }

    pub(super) fn of(&self, thread: &str) -> TracePlaces {
        let Some(thread) = ThreadId::from_meta(thread) else { return TracePlaces::default() };
        let ids = [
            crate::trace::ids::trace_of_thread(thread.as_str()),
            crate::trace::ids::trace_of_turn(thread.as_str(), 1),
        ];
        let places = taken(&thread, self.paths).into_iter().map(|(target, sent)| TracePlace {
            trace: sent.trace,
            short: short(&target),
            target: masked_with_queries(&target.to_string()).into_owned(),
            experiment_id: sent.experiment_id,
        });
        TracePlaces { traces: places.collect(), waits: ids.iter().any(|id| self.waiting.contains(id)) }
    }
}

impl TracePlaces {
    /// For a cell of the table.
    pub(super) fn short(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for place in &self.traces {
            if !names.contains(&&*place.short) {
                names.push(&place.short);
            }
        }
        if self.waits {
            names.push("waits");
        }
        names.join(", ")
    }
}

fn short(target: &Target) -> String {
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match target {
        Target::Sqlite(path) | Target::FileStore(path) => name(path),
        Target::Databricks { .. } => "databricks".to_owned(),
        Target::Http(_) | Target::Otlp(_) => {
            let text = masked_with_queries(&target.to_string()).into_owned();
            let host = text.split_once("://").map_or(&*text, |(_, rest)| rest);
            host.split('/').next().unwrap_or(host).to_owned()
        }
    }
}
