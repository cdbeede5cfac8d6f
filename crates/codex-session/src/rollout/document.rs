//! A session of the TypeScript Codex (April to June 2025): one JSON document, `rollout-<day>-<id>.json`.
//!
//! `{"session": {"timestamp", "id", "instructions"}, "items": [response item, …]}` holds the same as a bare file.

use super::encoding::without_mark;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Document {
    session: Value,
    items: Vec<Value>,
}

/// The document as the lines of a bare file; None for any other content.
pub(super) fn as_lines(bytes: &[u8]) -> Option<Vec<u8>> {
    let document: Document = serde_json::from_slice(without_mark(bytes)).ok()?;
    let mut lines = Vec::with_capacity(bytes.len());
    for line in std::iter::once(&document.session).chain(&document.items) {
        serde_json::to_writer(&mut lines, line).ok()?;
        lines.push(b'\n');
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_as_the_lines_of_a_bare_file() {
        let document = "{\n  \"session\": {\"id\": \"t\", \"timestamp\": \"2025-05-01T10:00:00.000Z\"},\n  \"items\": [\n    {\"type\": \"message\"}\n  ]\n}";
        let lines = as_lines(document.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"id\":\"t\",\"timestamp\":\"2025-05-01T10:00:00.000Z\"}\n{\"type\":\"message\"}\n"
        );
        assert_eq!(as_lines(b"{\"type\":\"session_meta\",\"payload\":{}}\n{}\n"), None);
    }
}
