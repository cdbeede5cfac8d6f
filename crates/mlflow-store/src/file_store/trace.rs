//! Writes and reads one trace in its folder. An existing trace is updated in place, file by file, the spans first. The
//! folder may also be MLflow's own.

use super::error::Result;
use super::experiment::{self, ExperimentFolder};
use super::files::{self, Files, StoreLock, if_there};
use super::pairs::{Pairs, readable};
use super::yaml;
use crate::ids::TraceId;
use crate::tags::{self, Record, TagUpdate};
use crate::target::Experiment;
use crate::target::uri::file_uri;
use crate::trace::{Trace, TraceState};
use crate::wire::{self, json, spans_in};
use crate::{mlflow_keys, trace_info};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Prefix of metadata that only codex-traced writes: keys that a newer trace lacks are removed.
const OUR_METADATA: &str = "codex.";

/// The file with the record of the tags that are being written.
const PENDING: &str = ".codex-tags-pending";

pub(super) const INFO: &str = "trace_info.yaml";

/// Stores the trace in the experiment that already has it, or else in the wanted one, and returns the
/// experiment's id.
pub(super) fn write(
    files: &mut Files,
    lock: StoreLock,
    trace: &Trace,
    wanted: &Experiment,
) -> Result<String> {
    let id = trace.id.to_string();
    let holding = experiment::all(&files.root)?.into_iter().find(|found| found.trace(&id).is_dir());
    let experiment = match holding {
        Some(found) => found.active()?,
        None => experiment::find_or_make(files, wanted)?,
    };
    let folder = experiment.trace(&id);
    if matches!(lock, StoreLock::Held(_)) {
        files::sweep(&folder);
    }
    files.make_folder(&folder.join("artifacts"))?;
    let spans = wire::traces_json(trace);
    files.replace(&folder.join("artifacts").join(wire::ARTIFACT), &spans, &folder)?;
    write_tags_and_metadata(&folder, files, trace)?;
    files.settle()?;
    files.replace(&folder.join(INFO), yaml_of(trace, &experiment).as_bytes(), &folder)?;
    files.settle()?;
    Ok(experiment.id)
}

fn yaml_of(trace: &Trace, experiment: &ExperimentFolder) -> String {
    yaml::mapping(&[
        ("trace_id", trace.id.to_string().into()),
        ("trace_location", trace_info::location(&experiment.id)),
        ("request_time", trace_info::request_time(trace).into()),
        ("execution_duration_ms", trace_info::took(trace).into()),
        ("state", trace.state.as_str().into()),
        ("request_preview", trace.request_preview.clone().into()),
        ("response_preview", trace.response_preview.clone().into()),
    ])
}

/// The record of the tags is metadata, so tags and metadata must agree even after a crash between their
/// writes. The file `PENDING` holds the new record until both are written.
fn write_tags_and_metadata(folder: &Path, files: &mut Files, trace: &Trace) -> Result<()> {
    let (tags, metadata) = (Pairs::tags(folder), Pairs::metadata(folder));
    files.make_folder(&tags.folder())?;
    let pending = folder.join(PENDING);
    let there = tags.read()?;
    let metadata_there = metadata.read()?;
    let written = tags::record(|key| metadata_there.get(key).map(String::as_str));
    let written = tags::recovered(&there, written, record(if_there(fs::read(&pending))?.as_deref()));
    let update = TagUpdate::plan(&there, &written, &our_tags(trace));

    files.replace(&pending, json(&update.record).as_bytes(), folder)?;
    files.settle()?;
    for (key, value) in &update.write {
        tags.put(files, key, value)?;
    }
    for key in &update.remove {
        tags.remove(files, key)?;
    }
    // Always written: the store may have been moved to another folder.
    tags.put(files, mlflow_keys::ARTIFACT_LOCATION, &file_uri(&folder.join("artifacts")))?;
    files.settle()?;
    write_metadata(&metadata, files, trace, &metadata_there, &update.record)?;
    files.settle()?;
    files.remove(&pending)?;
    Ok(())
}

/// The trace's tags, with keys as MLflow will read them.
fn our_tags(trace: &Trace) -> BTreeMap<String, String> {
    trace_info::tags(trace).into_iter().map(|(key, value)| (readable(&key), value)).collect()
}

fn write_metadata(
    metadata: &Pairs<'_>,
    files: &mut Files,
    trace: &Trace,
    there: &BTreeMap<String, String>,
    record: &Record,
) -> Result<()> {
    files.make_folder(&metadata.folder())?;
    let ours = trace_info::metadata(trace, record);
    let ours: BTreeMap<String, String> =
        ours.into_iter().map(|(key, value)| (readable(&key), value)).collect();
    for key in there.keys() {
        let is_to_go = trace.is_metadata_only() && mlflow_keys::PERSONAL.contains(&key.as_str());
        let is_ours =
            key.starts_with(OUR_METADATA) || mlflow_keys::TOTALS.contains(&key.as_str()) || is_to_go;
        if is_ours && !ours.contains_key(key) {
            metadata.remove(files, key)?;
        }
    }
    for (key, value) in &ours {
        metadata.put(files, key, value)?;
    }
    Ok(())
}

/// Empty if there is none.
fn record(bytes: Option<&[u8]>) -> Record {
    bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}

/// The trace as it was exported, with later changes of users.
pub(super) fn read(root: &Path, id: TraceId) -> Result<Option<Trace>> {
    let key = id.to_string();
    for experiment in experiment::all(root)? {
        let folder = experiment.trace(&key);
        let Some(info) = if_there(fs::read_to_string(folder.join(INFO)))? else { continue };
        let mut tags = Pairs::tags(&folder).read()?;
        let mut metadata = Pairs::metadata(&folder).read()?;
        tags.remove(mlflow_keys::ARTIFACT_LOCATION);
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
            name: tags.remove(mlflow_keys::TRACE_NAME).unwrap_or_default(),
            state: TraceState::from_name(&yaml::text(&info, "state").unwrap_or_default()),
            started_at,
            ended_at: root_ended_at.unwrap_or_else(stored_end),
            request_preview: yaml::text(&info, "request_preview"),
            response_preview: yaml::text(&info, "response_preview"),
            context: Default::default(),
            metadata,
            tags,
            spans,
        }));
    }
    Ok(None)
}
