//! What a place cannot keep in a text: U+0000, which PostgreSQL refuses, and halves of surrogate pairs, which Python
//! cannot write. One such character would make a server refuse its whole trace, each time.
//!
//! A text of ours never holds half a pair. But MLflow reads a text that is JSON once more, and `\ud800` in it, or
//! `\u0000`, becomes there what it means.

use super::walk::{Takes, texts};
use crate::rollout::escapes;
use crate::trace::model::Trace;

/// The picture of a NUL: a person sees that there was one.
const NUL: char = '\u{2400}';

pub(super) fn make(trace: &mut Trace) {
    texts(trace, &mut Legible);
}

struct Legible;

impl Takes for Legible {
    fn text(&mut self, text: &str) -> Option<String> {
        let without_nul = text.contains('\0').then(|| text.replace('\0', NUL.encode_utf8(&mut [0; 4])));
        let is_json = text.trim_start().starts_with(['{', '[', '"']);
        let mended = is_json.then(|| escapes::mended(without_nul.as_deref().unwrap_or(text))).flatten();
        mended.or(without_nul)
    }

    fn value_of(&mut self, _: &str, _: &str) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_place_can_keep_is_shown_instead() {
        let table = [
            ("", None),
            ("a\u{2400}b", None),
            ("a\0b\0", Some("a\u{2400}b\u{2400}")),
            // Text about escapes is text.
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
            assert_eq!(Legible.text(text).as_deref(), expected, "{text:?}");
        }
    }
}
