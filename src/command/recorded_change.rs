//! A change of a file as Codex records it.

use crate::redact::text_of;
use common::json::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordedChange<'v> {
    Add { content: &'v str },
    Delete { content: Option<&'v str> },
    Update { diff: &'v str, move_path: Option<&'v str> },
}

impl<'v> RecordedChange<'v> {
    /// Reads `{"type": "add", "content": …}`, and `{"add": {"content": …}}` as Codex up to 0.9x has it.
    pub(super) fn from_value(value: &'v Value) -> Option<RecordedChange<'v>> {
        let tagged = || value.as_object()?.iter().next().map(|(kind, fields)| (kind.as_str(), fields));
        let named = value.get("type").and_then(Value::as_str).map(|kind| (kind, value));
        let bare = value.as_str().map(|kind| (kind, value));
        let (kind, fields) = named.or(bare).or_else(tagged)?;
        let text = |name: &str| fields.get(name).and_then(text_of);
        match kind {
            "add" => Some(RecordedChange::Add { content: text("content")? }),
            "delete" => Some(RecordedChange::Delete { content: text("content") }),
            "update" => {
                Some(RecordedChange::Update { diff: text("unified_diff")?, move_path: text("move_path") })
            }
            _ => None,
        }
    }

    /// The recorded text.
    pub(super) fn text(self) -> &'v str {
        match self {
            RecordedChange::Add { content } => content,
            RecordedChange::Delete { content } => content.unwrap_or_default(),
            RecordedChange::Update { diff, .. } => diff,
        }
    }

    /// Whether the trace holds both ends of the text only.
    pub(super) fn is_cut(self) -> bool {
        self.text().lines().any(|line| line.starts_with("[… ") && line.ends_with(" bytes cut …]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_of_codex_is_read() {
        let diff = "@@ -1 +1 @@\n-a\n+b\n";
        let add = |content| Some(RecordedChange::Add { content });
        let table = [
            (json!({"type": "add", "content": "a\n"}), add("a\n")),
            (json!({"add": {"content": "a\n"}}), add("a\n")),
            (json!({"type": "add", "content": {"text": "a\nb\n"}}), add("a\nb\n")),
            (json!({"type": "delete", "content": "a"}), Some(RecordedChange::Delete { content: Some("a") })),
            (json!({"delete": {}}), Some(RecordedChange::Delete { content: None })),
            (json!("delete"), Some(RecordedChange::Delete { content: None })),
            (
                json!({"type": "update", "unified_diff": diff, "move_path": null}),
                Some(RecordedChange::Update { diff, move_path: None }),
            ),
            (
                json!({"update": {"unified_diff": diff, "move_path": "/w/b"}}),
                Some(RecordedChange::Update { diff, move_path: Some("/w/b") }),
            ),
            (json!({"type": "chmod"}), None),
            (json!({}), None),
            (json!(7), None),
        ];
        for (value, expected) in table {
            assert_eq!(RecordedChange::from_value(&Value::from(value.clone())), expected, "{value}");
        }
    }

    #[test]
    fn the_mark_of_a_cut_text_is_recognized() {
        for (content, is_cut) in
            [("a\n[… 9 of 20 bytes cut …]\nb", true), ("a [… 9 of 20 bytes cut …]\n", false)]
        {
            assert_eq!(RecordedChange::Add { content }.is_cut(), is_cut);
        }
    }
}
