//! What a tool call changed in files, line by line.

use super::plain;
use crate::command::recorded_change::RecordedChange;
use common::json::value::Value;

/// Lines of a call's changes that are shown unfolded.
const SHORT: usize = 40;

/// Lines of one file's change that are shown.
const MOST_LINES: usize = 2000;

/// The first line of a patch in Codex's own form.
const PATCH: &str = "*** Begin Patch";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    Header,
    Hunk,
    Added,
    Removed,
    Context,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct DiffLine {
    pub(super) kind: LineKind,
    pub(super) text: String,
}

/// The change of one file, or a patch whose result is unknown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileChange {
    /// Empty for a patch.
    pub(super) path: String,
    /// `added`, `deleted`, `edited`, `moved to …`; `changed` where the record has no known form.
    pub(super) what: String,
    /// Of a long change the first ones.
    pub(super) lines: Vec<DiffLine>,
    pub(super) left_out: usize,
    /// Of the whole change.
    pub(super) added: usize,
    pub(super) removed: usize,
}

impl FileChange {
    /// One patch in Codex's own form. None for other texts.
    pub(super) fn from_patch(text: &str) -> Option<FileChange> {
        let is_patch = text.trim_start().starts_with(PATCH);
        is_patch.then(|| FileChange::new("", "patch".into(), with_kinds(text.trim(), &patch_kind)))
    }

    fn from_value(path: &str, folder: Option<&str>, change: &Value) -> FileChange {
        let all = |content: &str, kind: LineKind, sign: char| {
            let line = |line: &str| DiffLine { kind, text: format!("{sign}{}", plain::line_of_code(line)) };
            content.lines().map(line).collect()
        };
        let (what, lines) = match RecordedChange::from_value(change) {
            Some(RecordedChange::Add { content }) => ("added".into(), all(content, LineKind::Added, '+')),
            Some(RecordedChange::Delete { content }) => {
                ("deleted".into(), all(content.unwrap_or_default(), LineKind::Removed, '-'))
            }
            Some(RecordedChange::Update { diff, move_path }) => {
                let moved = |to| format!("moved to {}", shown_path(to, folder));
                (move_path.map_or("edited".into(), moved), unified(diff))
            }
            None => ("changed".into(), Vec::new()),
        };
        FileChange::new(&shown_path(path, folder), what, lines)
    }

    fn new(path: &str, what: String, mut lines: Vec<DiffLine>) -> FileChange {
        let count = |kind| lines.iter().filter(|line| line.kind == kind).count();
        let (added, removed) = (count(LineKind::Added), count(LineKind::Removed));
        let left_out = lines.len().saturating_sub(MOST_LINES);
        lines.truncate(MOST_LINES);
        FileChange { path: path.to_owned(), what, lines, left_out, added, removed }
    }
}

/// Codex's record of a call's changes: a path and its change, or a list of both.
pub(super) fn changes(recorded: &Value, folder: Option<&str>) -> Vec<FileChange> {
    let fields = recorded.as_object().into_iter().flat_map(|files| files.iter());
    fields.map(|(path, change)| FileChange::from_value(path, folder, change)).collect()
}

pub(super) fn is_short(changes: &[FileChange]) -> bool {
    changes.iter().map(|change| change.lines.len()).sum::<usize>() <= SHORT
}

/// Relative to the session's folder, where it is within that.
pub(super) fn shown_path(path: &str, folder: Option<&str>) -> String {
    let inner = folder.and_then(|folder| path.strip_prefix(folder)?.strip_prefix('/'));
    plain::line(inner.unwrap_or(path), 300)
}

fn with_kinds(text: &str, kind_of: &dyn Fn(&str) -> LineKind) -> Vec<DiffLine> {
    text.lines().map(|line| DiffLine { kind: kind_of(line), text: plain::line_of_code(line) }).collect()
}

/// Lines above the first hunk are headers: within a hunk, `--- a` is the removed line `-- a`.
fn unified(text: &str) -> Vec<DiffLine> {
    let mut lines = with_kinds(text, &hunk_kind);
    let first_hunk = lines.iter().position(|line| line.kind == LineKind::Hunk).unwrap_or(0);
    lines[..first_hunk].iter_mut().for_each(|line| line.kind = LineKind::Header);
    lines
}

fn hunk_kind(line: &str) -> LineKind {
    match line.as_bytes().first() {
        Some(b'+') => LineKind::Added,
        Some(b'-') => LineKind::Removed,
        Some(b'@') => LineKind::Hunk,
        _ => LineKind::Context,
    }
}

fn patch_kind(line: &str) -> LineKind {
    if line.starts_with("*** ") { LineKind::Header } else { hunk_kind(line) }
}

#[cfg(test)]
mod tests {
    use super::LineKind::{Added, Context, Header, Hunk, Removed};
    use super::*;
    use serde_json::json;

    fn kinds(change: &FileChange) -> Vec<LineKind> {
        change.lines.iter().map(|line| line.kind).collect()
    }

    #[test]
    fn each_line_of_a_change_has_its_kind() {
        let table = [
            (json!({"type": "add", "content": "a\nb\n"}), "added", vec![Added, Added]),
            (json!({"type": "delete", "content": "a\n"}), "deleted", vec![Removed]),
            (
                json!({"type": "update", "unified_diff": "@@ -1,2 +1,2 @@\n--- a\n+++ b\n c\n", "move_path": null}),
                "edited",
                vec![Hunk, Removed, Added, Context],
            ),
            (
                json!({"type": "update", "unified_diff": "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n", "move_path": "/w/c"}),
                "moved to c",
                vec![Header, Header, Hunk, Removed, Added],
            ),
            // The forms of Codex up to 0.9x.
            (json!({"add": {"content": "a\n"}}), "added", vec![Added]),
            (json!({"delete": {}}), "deleted", vec![]),
            (json!("delete"), "deleted", vec![]),
            (
                json!({"update": {"unified_diff": "@@ -1 +1 @@\n-a\n+b\n", "move_path": "/w/c"}}),
                "moved to c",
                vec![Hunk, Removed, Added],
            ),
            (json!({"type": "update"}), "changed", vec![]),
            (json!(7), "changed", vec![]),
        ];
        for (change, what, expected) in table {
            let of = FileChange::from_value("/w/a/b.rs", Some("/w"), &Value::from(change.clone()));
            assert_eq!((&*of.path, &*of.what, kinds(&of)), ("a/b.rs", what, expected), "{change}");
        }
    }

    #[test]
    fn a_patch_is_known_by_its_first_line() {
        let patch = "*** Begin Patch\n*** Update File: a\n@@\n-b\n+c\n d\n*** End Patch\n";
        let change = FileChange::from_patch(patch).unwrap();
        assert_eq!(kinds(&change), [Header, Header, Hunk, Removed, Added, Context, Header]);
        assert_eq!((change.added, change.removed), (1, 1));
        assert_eq!(FileChange::from_patch("ls"), None);
    }

    #[test]
    fn a_long_change_is_cut_and_counted_as_a_whole() {
        let content = "a\n".repeat(MOST_LINES + 7);
        let files = json!({ "a": {"type": "add", "content": content}, "/wide": {"type": "add"} });
        let changes = changes(&files.into(), Some("/w"));
        assert_eq!((changes[0].lines.len(), changes[0].left_out), (MOST_LINES, 7));
        assert_eq!((changes[0].added, changes[0].removed), (MOST_LINES + 7, 0));
        assert_eq!(&*changes[1].path, "/wide");
        assert!(!is_short(&changes));
    }
}
