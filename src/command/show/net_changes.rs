//! What became of files: the changes that tools recorded, composed to one patch for each file.

use super::patch_text::{patch_text, quoted};
use super::patched_file::{PatchedFile, Presence};
use crate::command::recorded_change::RecordedChange;
use common::json::value::{Map, Value};
use composer::{Composer, Content, Part};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use order::{Ends, order};
use paths::{below, normal};
use serde::Serialize;
use std::collections::HashSet;

mod composer;
mod order;
mod paths;

/// The beginning of a placeholder of redaction.
const PLACEHOLDER: &str = "[redacted:";

/// Why a patch begins anew, does not apply, or is no patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    ChangedInBetween,
    ReplacesUnknown,
    NotComposed,
    ContentNotRecorded,
    HoldsPlaceholder,
    OutsideOfFolder,
    FollowsComment,
}

impl Note {
    /// Whether the patch is in lines of comments: it would write wrong content, or make git refuse all patches.
    fn is_of_comments(self) -> bool {
        match self {
            Note::NotComposed | Note::ContentNotRecorded | Note::HoldsPlaceholder | Note::OutsideOfFolder => {
                true
            }
            Note::ChangedInBetween | Note::ReplacesUnknown | Note::FollowsComment => false,
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Note::ChangedInBetween => "changed by something else in between",
            Note::ReplacesUnknown => "replaces a file whose content is not recorded",
            Note::NotComposed => "a part of this change is missing in the trace: it is no patch",
            Note::ContentNotRecorded => "the content of the deleted file is not recorded",
            Note::HoldsPlaceholder => "a secret was removed from this change: it is no patch",
            Note::OutsideOfFolder => "outside of the session's folder",
            Note::FollowsComment => "needs a change before it that is no patch",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeKind {
    Added,
    Deleted,
    Changed,
    Renamed,
}

/// One file. A file has several of these where something else changed it in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NetChange {
    /// Below the session's folder, or absolute.
    pub(super) path: String,
    /// Before a rename.
    pub(super) old_path: Option<String>,
    pub(super) change: ChangeKind,
    pub(super) notes: Vec<Note>,
    /// In git's form. In lines of comments where git must not apply it.
    pub(super) patch: String,
}

/// The net changes of a trace, in the order in which tools first changed the files. A file that makes room for
/// another one goes before it.
pub(super) fn net_changes(trace: &Trace) -> Vec<NetChange> {
    let folder = trace.metadata.get("mlflow.trace.working_directory").map(|folder| normal(None, folder));
    let mut composer = Composer::default();
    for changes in recorded(trace).iter().filter_map(|span| changes_of(span)) {
        for (path, change) in changes.iter() {
            if let Some(change) = RecordedChange::from_value(change) {
                let normal = |path: &str| normal(folder.as_deref(), path);
                let to = match change {
                    RecordedChange::Update { move_path, .. } => move_path.map(normal),
                    RecordedChange::Add { .. } | RecordedChange::Delete { .. } => None,
                };
                composer.add(&normal(path), to.as_deref(), change);
            }
        }
    }
    let parts = composer.into_parts();
    let ends: Vec<Ends> = parts.iter().map(Part::ends).collect();
    let parts = order(&ends).into_iter().map(|at| &parts[at]);
    let mut changes = parts.filter_map(|part| part.finish(folder.as_deref())).collect::<Vec<_>>();
    note_followers(&mut changes);
    changes
}

/// Calls of Codex's tool for patches that succeeded and left no record of what they changed.
pub(super) fn without_record(trace: &Trace) -> usize {
    let is_patch = |span: &&Span| span.name == "tool_apply_patch" && span.status == SpanStatus::Ok;
    trace.spans.iter().filter(is_patch).filter(|span| changes_of(span).is_none()).count()
}

/// Calls that succeeded, in the order of their ends.
fn recorded(trace: &Trace) -> Vec<&Span> {
    let succeeded = |span: &&Span| span.span_type == SpanType::Tool && span.status == SpanStatus::Ok;
    let mut spans: Vec<&Span> = trace.spans.iter().filter(succeeded).collect();
    spans.sort_by_key(|span| span.ended_at);
    spans
}

fn changes_of(span: &Span) -> Option<&Map> {
    span.outputs.get("changes").and_then(Value::as_object)
}

impl Part {
    fn finish(&self, folder: Option<&str>) -> Option<NetChange> {
        let (old_path, path) = (below(folder, &self.old_path), below(folder, &self.path));
        let (change, patch) = match &self.content {
            Content::Replaced => return None,
            Content::Recorded(kind, text) => {
                let renamed = || {
                    let [from, to] = [old_path, path].map(|path| quoted("", path.in_patch()));
                    format!("rename from {from}\nrename to {to}\n")
                };
                let header = if *kind == ChangeKind::Renamed { renamed() } else { String::new() };
                (*kind, header + text)
            }
            Content::File(file) => {
                let patch = patch_text(old_path.in_patch(), path.in_patch(), file);
                if patch.is_empty() {
                    return None;
                }
                (self.kind(file), patch)
            }
        };
        let is_renamed = change == ChangeKind::Renamed;
        // A renamed file that was deleted had the old path.
        let path = if change == ChangeKind::Deleted { old_path } else { path };
        let mut notes = self.notes.clone();
        if !path.is_inside || is_renamed && !old_path.is_inside {
            notes.push(Note::OutsideOfFolder);
        }
        if matches!(self.content, Content::File(_)) && patch.contains(PLACEHOLDER) {
            notes.push(Note::HoldsPlaceholder);
        }
        let patch = if notes.iter().any(|note| note.is_of_comments()) { comment(&patch) } else { patch };
        let old_path = is_renamed.then(|| old_path.text.to_owned());
        Some(NetChange { path: path.text.to_owned(), old_path, change, notes, patch })
    }

    fn kind(&self, file: &PatchedFile) -> ChangeKind {
        match (file.before(), file.now()) {
            (Presence::Absent, _) => ChangeKind::Added,
            (Presence::Present, Presence::Absent) => ChangeKind::Deleted,
            (Presence::Present, Presence::Present) if self.old_path != self.path => ChangeKind::Renamed,
            (Presence::Present, Presence::Present) => ChangeKind::Changed,
        }
    }
}

/// Notes the patches that need a change that is in comments.
fn note_followers(changes: &mut [NetChange]) {
    let mut left_out: HashSet<String> = HashSet::new();
    for change in changes {
        let paths = std::iter::once(&change.path).chain(&change.old_path);
        if change.notes.iter().any(|note| note.is_of_comments()) {
            left_out.extend(paths.cloned());
        } else if change.notes.is_empty() && paths.into_iter().any(|path| left_out.contains(path)) {
            change.notes.push(Note::FollowsComment);
        }
    }
}

/// In lines that git and `patch` skip. A carriage return stays.
fn comment(text: &str) -> String {
    text.split_terminator('\n').map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests;
