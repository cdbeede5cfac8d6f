//! Replaces characters that a store cannot keep: U+0000, which PostgreSQL refuses, and halves of surrogate pairs,
//! which Python cannot encode. A single such character makes a server refuse the whole trace at every attempt.
//!
//! A Rust text never holds half a pair. But MLflow parses a text that is JSON again, and decodes `\ud800` or `\u0000`
//! in it.

use super::texts::{RewriteTexts, rewrite_texts};
use common::json::escapes;
use mlflow_store::trace::Trace;

/// U+2400, the symbol for NUL: it shows where the NUL was.
const NUL: char = '\u{2400}';

pub(super) fn make_storable(trace: &mut Trace) {
    rewrite_texts(trace, &mut Storable);
}

struct Storable;

impl RewriteTexts for Storable {
    fn text(&mut self, text: &str) -> Option<String> {
        let without_nul = text.contains('\0').then(|| text.replace('\0', NUL.encode_utf8(&mut [0; 4])));
        let is_json = text.trim_start().starts_with(['{', '[', '"']);
        let mended = is_json.then(|| escapes::mended(without_nul.as_deref().unwrap_or(text))).flatten();
        mended.or(without_nul)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_no_store_keeps_are_replaced() {
        let table = [
            ("", None),
            ("a\u{2400}b", None),
            ("a\0b\0", Some("a\u{2400}b\u{2400}")),
            // Text about an escape stays.
            (r"print '\u0000'", None),
            (r#"{"a": "\u0000"}"#, Some(r#"{"a": "\u2400"}"#)),
            (" [\"\0\", \"\\u0000\"]", Some(" [\"\u{2400}\", \"\\u2400\"]")),
            (r#"{"a": "\\u0000"}"#, None),
            (r#"{"a": "\\\u0000"}"#, Some(r#"{"a": "\\\u2400"}"#)),
            (r#"["\ud83d\ude00"]"#, None),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\uDE00", "\ud83dx"]"#, Some(r#"["\ufffd", "\ufffdx"]"#)),
            (r#"["\ud83"#, None),
            ("[\"\\ud83\u{e4}\\u0000", Some("[\"\\ud83\u{e4}\\u2400")),
            ("{\\", None),
        ];
        for (text, expected) in table {
            assert_eq!(Storable.text(text).as_deref(), expected, "{text:?}");
        }
    }
}
