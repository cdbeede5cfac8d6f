//! How much of a value a trace holds. What was left out says so, and how much it was.

use super::model::Trace;
use crate::rollout::inline;
use serde_json::{Map, Value};

/// A longer text is cut: a page that shows more of one is of no use, and a server may refuse it.
pub const LONGEST_TEXT: usize = 1 << 20;

/// The first characters; a mark says that there were more.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
    }
}

/// Cuts every text of every span that is longer than `LONGEST_TEXT`, and leaves notes in the place of files that
/// stand in it as base64.
pub(super) fn apply(trace: &mut Trace) {
    for span in &mut trace.spans {
        limit(&mut span.inputs);
        limit(&mut span.outputs);
        limit_all(&mut span.attributes);
        span.events.iter_mut().for_each(|event| limit_all(&mut event.attributes));
    }
}

fn limit_all(values: &mut Map<String, Value>) {
    values.values_mut().for_each(limit);
}

fn limit(value: &mut Value) {
    match value {
        Value::String(text) => match inline::note_of(text) {
            Some(note) => *text = note,
            None => shorten(text, LONGEST_TEXT),
        },
        Value::Array(values) => values.iter_mut().for_each(limit),
        Value::Object(values) => {
            // As MCP has images and sound: `{"type": "image", "mimeType": "image/png", "data": "…"}`.
            if let (Some(Value::String(kind)), Some(Value::String(data))) =
                (values.get("mimeType"), values.get("data"))
            {
                let note = inline::note(kind, data);
                values.insert("data".into(), note.into());
            }
            limit_all(values);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Both ends tell most: what was asked for, and how it came out.
fn shorten(text: &mut String, longest: usize) {
    let before = text.len();
    if before <= longest {
        return;
    }
    let head = text.floor_char_boundary(longest / 2);
    let tail = text.ceil_char_boundary(before - longest / 2);
    let mark = format!("\n[… {} of {before} bytes cut …]\n", tail - head);
    text.replace_range(head..tail, &mark);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_text_is_cut_by_characters_and_says_so() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn both_ends_of_a_long_value_stay_and_the_mark_tells_what_is_gone() {
        let shortened = |text: &str, longest| {
            let mut text = text.to_owned();
            shorten(&mut text, longest);
            text
        };
        assert_eq!(shortened("abcdefgh", 8), "abcdefgh");
        assert_eq!(shortened("abcdefghi", 8), "abcd\n[… 1 of 9 bytes cut …]\nfghi");
        // Never within a character.
        assert_eq!(shortened("aäöüäöüb", 6), "aä\n[… 8 of 14 bytes cut …]\nüb");
    }

    #[test]
    fn files_in_what_a_tool_returned_become_notes() {
        let mut value = json!({"content": [
            {"type": "image", "mimeType": "image/png", "data": "aGk="},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
            {"type": "text", "text": "data: plain"},
        ]});
        limit(&mut value);
        let note = "[image image/png, 2 bytes, sha256 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4]";
        assert_eq!(
            (&value["content"][0]["data"], &value["content"][1]["image_url"]),
            (&json!(note), &json!(note))
        );
        assert_eq!(value["content"][2]["text"], "data: plain");
    }

    #[test]
    fn texts_are_cut_wherever_they_stand() {
        let long = "x".repeat(LONGEST_TEXT + 10);
        let mut value = json!({"a": [{"b": long}], "c": "short", "d": 7});
        limit(&mut value);
        let text = value["a"][0]["b"].as_str().unwrap();
        assert!(text.contains("[… 10 of 1048586 bytes cut …]"), "{}", text.len());
        assert_eq!((&value["c"], &value["d"]), (&json!("short"), &json!(7)));
    }
}
