//! What became of files: the changes that tools recorded, composed to one patch for each file.

use super::patch_text::patch_text;
use super::patched_file::{Misfit, PatchedFile, Presence};
use super::unified_diff::{lines_of, parse};
use crate::command::recorded_change::RecordedChange;
use common::json::value::{Map, Value};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use serde::Serialize;
use std::collections::HashMap;

/// The beginning of a placeholder of redaction.
const PLACEHOLDER: &str = "[redacted:";

/// Why a patch begins anew, or does not apply as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    ChangedInBetween,
    ReplacesUnknown,
    NotComposed,
    ContentNotRecorded,
    HoldsPlaceholder,
    OutsideOfFolder,
}

impl Note {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Note::ChangedInBetween => "changed by something else in between",
            Note::ReplacesUnknown => "replaces a file whose content is not recorded",
            Note::NotComposed => "a part of this change is missing in the trace: it is no patch",
            Note::ContentNotRecorded => "the content of the deleted file is not recorded",
            Note::HoldsPlaceholder => "a secret was removed from this patch: it does not apply as it is",
            Note::OutsideOfFolder => "outside of the session's folder",
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
    /// In git's form. A recorded text in lines of comments where it cannot be composed.
    pub(super) patch: String,
}

/// The net changes of a trace, in the order in which tools first changed the files.
pub(super) fn net_changes(trace: &Trace) -> Vec<NetChange> {
    let mut composer = Composer::default();
    for changes in recorded(trace).iter().filter_map(|span| changes_of(span)) {
        for (path, change) in changes.iter() {
            if let Some(change) = RecordedChange::from_value(change) {
                composer.add(path, change);
            }
        }
    }
    let folder = trace.metadata.get("mlflow.trace.working_directory");
    composer.parts.iter().filter_map(|part| part.finish(folder.map(String::as_str))).collect()
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

#[derive(Debug)]
struct Part {
    /// Before the first change of this part.
    old_path: String,
    path: String,
    note: Option<Note>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(PatchedFile),
    /// What is recorded, of a change that is not composed.
    Recorded(ChangeKind, String),
    /// Another file took its place.
    Replaced,
}

#[derive(Debug, Default)]
struct Composer {
    parts: Vec<Part>,
    /// The part that further changes of a path belong to.
    current: HashMap<String, usize>,
}

impl Composer {
    fn add(&mut self, path: &str, change: RecordedChange) {
        if change.is_cut() {
            return self.record(path, change, Note::NotComposed);
        }
        match change {
            RecordedChange::Add { content } => {
                let lines = lines_of(content);
                match self.file(path).map(|file| file.write(lines.clone())) {
                    Some(Ok(())) => {}
                    None => self.begin(path, PatchedFile::from_added(lines), None),
                    Some(Err(Misfit)) => {
                        self.begin(path, PatchedFile::from_added(lines), Some(Note::ReplacesUnknown));
                    }
                }
            }
            RecordedChange::Delete { content } => {
                let delete = |file: &mut PatchedFile| file.delete(content.map(lines_of));
                if self.change(path, delete).is_err() {
                    self.record(path, change, Note::ContentNotRecorded);
                }
            }
            RecordedChange::Update { diff, move_path } => {
                let hunks = parse(diff);
                let update = |file: &mut PatchedFile| file.update(hunks.as_deref().ok_or(Misfit)?);
                if self.change(path, update).is_err() {
                    self.record(path, change, Note::NotComposed);
                }
                if let Some(to) = move_path.filter(|to| *to != path) {
                    self.rename(path, to);
                }
            }
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut PatchedFile> {
        match &mut self.parts[*self.current.get(path)?].content {
            Content::File(file) => Some(file),
            Content::Recorded(..) | Content::Replaced => None,
        }
    }

    /// Changes the file as it is known, or begins a part of a file that is unknown.
    fn change(
        &mut self,
        path: &str,
        change: impl Fn(&mut PatchedFile) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let known = self.file(path).map(&change);
        if known == Some(Ok(())) {
            return Ok(());
        }
        let mut unknown = PatchedFile::from_unknown();
        change(&mut unknown)?;
        self.begin(path, unknown, known.map(|_| Note::ChangedInBetween));
        Ok(())
    }

    fn begin(&mut self, path: &str, file: PatchedFile, note: Option<Note>) {
        self.push(path, Content::File(file), note);
        self.current.insert(path.to_owned(), self.parts.len() - 1);
    }

    /// The next change of this path begins a part.
    fn record(&mut self, path: &str, change: RecordedChange, note: Note) {
        let kind = match change {
            RecordedChange::Add { .. } => ChangeKind::Added,
            RecordedChange::Delete { .. } => ChangeKind::Deleted,
            RecordedChange::Update { .. } => ChangeKind::Changed,
        };
        self.push(path, Content::Recorded(kind, change.text().to_owned()), Some(note));
        self.current.remove(path);
    }

    fn push(&mut self, path: &str, content: Content, note: Option<Note>) {
        self.parts.push(Part { old_path: path.to_owned(), path: path.to_owned(), note, content });
    }

    fn rename(&mut self, from: &str, to: &str) {
        // A change that is not composed keeps the path that it is recorded for.
        let Some(moved) = self.current.remove(from) else { return };
        to.clone_into(&mut self.parts[moved].path);
        let Some(replaced) = self.current.insert(to.to_owned(), moved) else { return };
        let part = &mut self.parts[replaced];
        match &part.content {
            Content::File(file) if file.now() == Presence::Present => match file.before() {
                Presence::Absent => part.content = Content::Replaced,
                Presence::Present => self.parts[moved].note = Some(Note::ReplacesUnknown),
            },
            Content::File(_) | Content::Recorded(..) | Content::Replaced => {}
        }
    }
}

impl Part {
    fn finish(&self, folder: Option<&str>) -> Option<NetChange> {
        let (old_path, path) = (below(folder, &self.old_path), below(folder, &self.path));
        let mut notes: Vec<Note> = self.note.into_iter().collect();
        if path.is_absolute {
            notes.push(Note::OutsideOfFolder);
        }
        let (change, patch) = match &self.content {
            Content::Replaced => return None,
            Content::Recorded(kind, text) => (*kind, comment(text)),
            Content::File(file) => {
                let patch = patch_text(old_path.in_patch(), path.in_patch(), file);
                let is_renamed = self.old_path != self.path;
                let kind = match (file.before(), file.now()) {
                    (Presence::Absent, _) => ChangeKind::Added,
                    (Presence::Present, Presence::Absent) => ChangeKind::Deleted,
                    (Presence::Present, Presence::Present) if is_renamed => ChangeKind::Renamed,
                    (Presence::Present, Presence::Present) => ChangeKind::Changed,
                };
                if patch.is_empty() {
                    return None;
                }
                if patch.contains(PLACEHOLDER) {
                    notes.push(Note::HoldsPlaceholder);
                }
                (kind, patch)
            }
        };
        let is_renamed = change == ChangeKind::Renamed;
        let old_path = is_renamed.then(|| old_path.text.to_owned());
        // A renamed file that was deleted had the old path.
        let path = if change == ChangeKind::Deleted { below(folder, &self.old_path) } else { path };
        Some(NetChange { path: path.text.to_owned(), old_path, change, notes, patch })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShownPath<'p> {
    text: &'p str,
    is_absolute: bool,
}

impl<'p> ShownPath<'p> {
    /// `patch` refuses absolute paths.
    fn in_patch(self) -> &'p str {
        self.text.trim_start_matches('/')
    }
}

fn below<'p>(folder: Option<&str>, path: &'p str) -> ShownPath<'p> {
    let within = folder.and_then(|folder| path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/'));
    let text = within.unwrap_or(path);
    ShownPath { text, is_absolute: text.starts_with('/') }
}

/// In lines that git and `patch` skip.
fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests;
