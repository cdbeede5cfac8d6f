//! What becomes of each session of an import.

use crate::finish::imported::Imported;
use crate::queue::target_state::TargetState;
use crate::redact::Redacted;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use std::collections::BTreeSet;

/// The result for one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ImportOutcome {
    Made(ImportedSession),
    Failed(String),
    /// It holds no prompt.
    Empty,
    /// Its last line is older than `--since`.
    Older,
    /// A signal ended the import first.
    NotReached,
}

/// A session's facts for the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedSession {
    /// For all targets: one of the whole session, or one of each turn.
    pub(super) traces: Vec<TraceId>,
    /// The traces that a target does not have yet, each with its target.
    pub(super) put: Vec<(TraceId, Target)>,
    pub(super) prompt: Option<String>,
    pub(super) target: Target,
    /// The folders that Codex worked in.
    pub(super) folders: BTreeSet<String>,
    /// The digest of what the traces are made from, where a later import may rely on it.
    pub(super) sources: Option<String>,
    /// Nothing changed since the import that read it.
    pub(super) is_known: bool,
    pub(super) state: TargetState,
    /// Why the target does not answer whether it has the trace (`Unasked`), or why the trace waits in the spool.
    pub(super) problem: Option<String>,
}

impl ImportedSession {
    pub(super) fn new(
        imported: &Imported,
        folders: BTreeSet<String>,
        sources: Option<String>,
    ) -> ImportedSession {
        let is_new = |(_, state): &&(Redacted, TargetState)| state.must_be_sent();
        let first = std::iter::once((&imported.destination, &imported.traces));
        let all = first.chain(imported.further.iter().map(|(to, traces)| (to, traces)));
        let all_traces = || all.clone().flat_map(|(_, traces)| traces).map(|(trace, _)| trace);
        let prompt = imported.traces.iter().find_map(|(trace, _)| trace.request_preview.clone());
        ImportedSession {
            traces: all_traces().map(|trace| trace.id).collect(),
            folders,
            sources,
            is_known: false,
            put: all
                .clone()
                .flat_map(|(to, traces)| {
                    traces.iter().filter(is_new).map(|(trace, _)| (trace.id, to.target.clone()))
                })
                .collect(),
            prompt,
            target: imported.destination.target.clone(),
            state: imported.target_state(),
            problem: None,
        }
    }
}
