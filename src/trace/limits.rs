//! How long the texts of a trace may be. They are cut when secrets are out: half a secret looks like none.

use super::model::Trace;
use serde_json::Value;

/// MLflow's columns for previews are 1000 characters wide.
const PREVIEW_CHARACTERS: usize = 1000;

/// MLflow's own clients send no longer metadata.
const METADATA_CHARACTERS: usize = 250;

/// Enough for the sentence with which most programs fail.
const LAST_WORDS_CHARACTERS: usize = 1000;

/// What a text that is to be cut keeps beyond its limit until secrets are out: longer than a private key.
const MARGIN_CHARACTERS: usize = 16 << 10;

/// Of a text that will be no longer than a preview: all that a secret at its end may reach to.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(PREVIEW_CHARACTERS + MARGIN_CHARACTERS).collect()
}

/// The end of what a program printed, and so much before it.
pub(super) fn end(text: &str) -> &str {
    let start = text.char_indices().rev().nth(LAST_WORDS_CHARACTERS + MARGIN_CHARACTERS - 1);
    &text[start.map_or(0, |(at, _)| at)..]
}

/// The last step of every trace.
pub(super) fn cut(trace: &mut Trace) {
    for preview in [&mut trace.request_preview, &mut trace.response_preview].into_iter().flatten() {
        *preview = first(preview, PREVIEW_CHARACTERS);
    }
    for key in ["mlflow.traceInputs", "mlflow.traceOutputs"] {
        if let Some(value) = trace.metadata.get_mut(key) {
            *value = first(value, METADATA_CHARACTERS);
        }
    }
    let events = trace.spans.iter_mut().flat_map(|span| &mut span.events);
    for message in events.filter_map(|event| event.attributes.get_mut("exception.message")) {
        if let Value::String(text) = message
            && let Some((sentence, printed)) = text.split_once('\n')
        {
            *text = format!("{sentence}\n{}", last(printed, LAST_WORDS_CHARACTERS));
        }
    }
}

/// The first characters; a mark says that there were more.
fn first(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
    }
}

/// The last characters; a mark says that there were more.
fn last(text: &str, characters: usize) -> String {
    match text.char_indices().rev().nth(characters - 1) {
        None | Some((0, _)) => text.to_owned(),
        Some((start, _)) => format!("…{}", &text[start..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_by_characters_and_says_so() {
        assert_eq!([first("äöü", 3), first("äöüß", 3)], ["äöü", "äö…"]);
        assert_eq!([last("äöü", 3), last("äöüß", 3)], ["äöü", "…öüß"]);
    }
}
