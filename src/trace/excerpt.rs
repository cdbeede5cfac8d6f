//! Excerpts of long texts, with a margin that redaction needs.
//!
//! Redaction cuts them to their final size after it removed secrets.

use mlflow_store::trace::{LAST_WORDS_CHARACTERS, PREVIEW_CHARACTERS};

/// Characters kept beyond a limit until redaction: longer than a private key.
const MARGIN_CHARACTERS: usize = 16 << 10;

/// The beginning of a text that becomes a preview, with a margin for a secret at its end.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(PREVIEW_CHARACTERS + MARGIN_CHARACTERS).collect()
}

/// The end of a program's output, with a margin for a secret at its beginning.
pub(super) fn end(text: &str) -> &str {
    let start = text.char_indices().rev().nth(LAST_WORDS_CHARACTERS + MARGIN_CHARACTERS - 1);
    &text[start.map_or(0, |(at, _)| at)..]
}
