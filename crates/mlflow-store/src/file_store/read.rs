//! Reads a trace from its folder, which codex-traced or MLflow may have written.

use super::error::FileStoreError;
use super::experiment;
use super::files::if_there;
use super::pairs::Pairs;
use super::write::INFO;
use super::yaml;
use crate::ids::TraceId;
use crate::trace::{Trace, TraceState};
use crate::wire::{self, spans_in};
use crate::{keys, tags};
use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::path::Path;

/// The trace as it was exported, with later changes of users.
pub(super) fn trace(root: &Path, id: TraceId) -> Result<Option<Trace>, FileStoreError> {
    let key = id.to_string();
    for experiment in experiment::all(root)? {
        let folder = experiment.trace(&key);
        let Some(info) = if_there(fs::read_to_string(folder.join(INFO)))? else { continue };
        let mut tags = Pairs::tags(&folder).read()?;
        let mut metadata = Pairs::metadata(&folder).read()?;
        tags.remove(keys::ARTIFACT_LOCATION);
        for ours in [tags::RECORD, tags::FORMER_RECORD] {
            metadata.remove(ours);
        }
        let started_at: Timestamp = yaml::text(&info, "request_time")
            .and_then(|time| time.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let took = yaml::integer(&info, "execution_duration_ms").unwrap_or(0);
        let spans = spans_in(&fs::read(folder.join("artifacts").join(wire::ARTIFACT)).unwrap_or_default());
        // The stored duration is the time that the agent worked; only the root span has the end.
        let root_ended_at = spans.first().map(|root| root.ended_at);
        let stored_end =
            || started_at.saturating_add(SignedDuration::from_millis(took)).unwrap_or(started_at);
        return Ok(Some(Trace {
            id,
            name: tags.remove(keys::TRACE_NAME).unwrap_or_default(),
            state: TraceState::from_name(&yaml::text(&info, "state").unwrap_or_default()),
            started_at,
            ended_at: root_ended_at.unwrap_or_else(stored_end),
            request_preview: yaml::text(&info, "request_preview"),
            response_preview: yaml::text(&info, "response_preview"),
            metadata,
            tags,
            spans,
        }));
    }
    Ok(None)
}
