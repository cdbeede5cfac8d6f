//! Base64 files in a trace: notes replace all before the search for secrets, and small images may follow their notes
//! afterwards.

use codex_session::rollout::{content, reader};
use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::trace::{Span, SpanType, Trace};
use std::collections::HashMap;
use std::path::Path;

/// Bytes of one image. A compressed screenshot of a window is smaller; larger images would fill requests and
/// databases.
const LARGEST_IMAGE: usize = 256 << 10;

/// Bytes of all images of a trace, as base64. The exporter's requests hold twice as much.
const MOST_BYTES: usize = 4 << 20;

/// Prefix of every note of an image.
const NOTE: &str = "[image ";

/// Types that browsers show, and the first bytes of each. A file with another beginning stays a note.
const KINDS: [(&str, &[u8]); 4] = [
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("image/webp", b"RIFF"),
];

/// Replaces every file in the values of a span by a note.
pub(super) fn replace(span: &mut Span) {
    replace_in(&mut span.inputs);
    replace_in(&mut span.outputs);
    replace_in_fields(&mut span.attributes);
    span.events.iter_mut().for_each(|event| replace_in_fields(&mut event.attributes));
}

fn replace_in_fields(values: &mut Map) {
    values.values_mut().for_each(replace_in);
}

fn replace_in(value: &mut Value) {
    match value {
        Value::String(text) if text.is_word() => {}
        Value::String(text) => {
            if let Some(note) = content::note_of(text) {
                *text = note.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(replace_in),
        Value::Object(values) => {
            // MCP's shape of images and audio: `{"type": "image", "mimeType": "image/png", "data": "…"}`.
            if let Some(Value::String(kind)) = values.get("mimeType")
                && let Some(Value::String(data)) = values.get("data")
            {
                let note = content::note(kind, data);
                values.insert("data", note.into());
            }
            replace_in_fields(values);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Images by the notes that replace them.
#[derive(Debug, Default)]
pub struct SmallImages(HashMap<String, Text>);

impl SmallImages {
    /// Adds the small images of a session file. Parses only lines that may hold an image: most sessions have none.
    pub fn add_from(&mut self, rollout: &Path) {
        let Ok(mut lines) = reader::open(rollout) else { return };
        while let Ok(Some(line)) = lines.next_line() {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            for (at, _) in line.match_indices("data:image/") {
                let url = line[at..].split(['"', '\\']).next().unwrap_or_default();
                if is_small_image(url)
                    && let Some(note) = content::note_of(url)
                {
                    self.0.insert(note, url.into());
                }
            }
        }
    }

    /// Adds each image after the text that holds its note, as chat completion requests have images.
    pub(super) fn add_to(&self, trace: &mut Trace) {
        if self.0.is_empty() {
            return;
        }
        let mut room = MOST_BYTES;
        for span in trace.spans.iter_mut().filter(|span| span.span_type == SpanType::Llm) {
            let Some(Value::Array(messages)) = span.inputs.get_mut("messages") else { continue };
            for message in messages {
                if let Some(content) = message.get_mut("content")
                    && let Some(parts) = content.as_text().and_then(|text| self.parts(text, &mut room))
                {
                    *content = Value::Array(parts);
                }
            }
        }
    }

    /// None where the text holds no note of a known image.
    fn parts(&self, text: &Text, room: &mut usize) -> Option<Vec<Value>> {
        let notes = text.match_indices(NOTE).filter_map(|(at, _)| {
            let end = text[at..].find(']')?;
            self.0.get(&text[at..=at + end])
        });
        let fits = |url: &&Text| {
            let left = room.checked_sub(url.len());
            *room = left.unwrap_or(*room);
            left.is_some()
        };
        let image = |url: &Text| {
            Value::from([
                ("type", Text::word("image_url").into()),
                ("image_url", Value::from([("url", url.into())])),
            ])
        };
        let images: Vec<Value> = notes.filter(fits).map(image).collect();
        let text = Value::from([("type", Text::word("text").into()), ("text", text.into())]);
        (!images.is_empty()).then(|| std::iter::once(text).chain(images).collect())
    }
}

fn is_small_image(url: &str) -> bool {
    content::file_of(url).is_some_and(|(kind, bytes)| {
        let begins = |(known, start): &(&str, &[u8])| *known == kind && bytes.starts_with(start);
        bytes.len() <= LARGEST_IMAGE && KINDS.iter().any(begins)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    fn url(kind: &str, start: &[u8], size: usize) -> String {
        let mut bytes = start.to_vec();
        bytes.resize(size, 7);
        format!("data:{kind};base64,{}", STANDARD.encode(bytes))
    }

    #[test]
    fn only_a_small_file_with_the_first_bytes_of_its_type_is_an_image() {
        let png = KINDS[0].1;
        let table = [
            (url("image/png", png, LARGEST_IMAGE), true),
            (url("image/png", png, LARGEST_IMAGE + 1), false),
            (url("image/png", b"AKIA", 100), false),
            (url("image/jpeg", b"\xff\xd8\xff", 100), true),
            (url("image/svg+xml", b"<svg", 100), false),
            (url("text/plain", png, 100), false),
            ("data:image/png;base64,iVBOR€".to_owned(), false),
            (String::new(), false),
        ];
        for (url, is_image) in table {
            assert_eq!(is_small_image(&url), is_image, "{}", url.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn images_follow_the_text_with_their_notes_up_to_the_limit() {
        let shown = url("image/png", KINDS[0].1, 100);
        let [note, other] =
            [&shown, &url("image/png", KINDS[0].1, 101)].map(|url| content::note_of(url).unwrap());
        let images = SmallImages(HashMap::from([(note.clone(), shown.as_str().into())]));
        let count =
            |text: &str, room: &mut usize| images.parts(&text.into(), room).map_or(0, |parts| parts.len());
        let both = format!("look\n{note}\n{note}");
        assert_eq!(count(&both, &mut MOST_BYTES.clone()), 3);
        assert_eq!(count(&both, &mut (shown.len() + 1)), 2);
        for text in [other.as_str(), "no image", "[image ", ""] {
            assert_eq!(count(text, &mut MOST_BYTES.clone()), 0, "{text}");
        }
    }

    #[test]
    fn files_in_what_a_tool_returned_become_notes() {
        let mut value = Value::from(json!({"content": [
            {"type": "image", "mimeType": "image/png", "data": "aGk="},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
            {"type": "text", "text": "data: plain"},
        ]}));
        replace_in(&mut value);
        let note = "[image image/png, 2 bytes, sha256 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4]";
        assert_eq!(
            (value["content"][0]["data"].as_str(), value["content"][1]["image_url"].as_str()),
            (Some(note), Some(note))
        );
        assert_eq!(value["content"][2]["text"].as_str(), Some("data: plain"));
    }
}
