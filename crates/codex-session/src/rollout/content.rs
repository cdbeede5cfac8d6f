//! The content of a message or of a tool's output as text: a string, or the texts of a list of parts.
//!
//! Files in a text, such as images, are base64 in `data:` URLs. A short note replaces each: the bytes would fill the
//! trace.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use common::json::text::Text;
use common::json::value::Value;
use common::printable::hex;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// Messages between agents may be encrypted for the model (0.169).
const ENCRYPTED: &str = "[encrypted]";

/// Parsed straight to text: lists of parts, kept as JSON, would be most of a session's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentText(pub Text);

/// The text of content that is already parsed as JSON.
pub fn text_of(content: &Value) -> Text {
    serde_json::from_str(&content.to_string()).map(|content: ContentText| content.0).unwrap_or_default()
}

impl<'de> Deserialize<'de> for ContentText {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<ContentText, D::Error> {
        field.deserialize_any(ContentVisitor).map(ContentText)
    }
}

struct ContentVisitor;

macro_rules! as_json {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, value: $of) -> Result<Text, E> {
            Ok(Value::from(value).to_string().into())
        })*
    };
}

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    as_json!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64);

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
        let mut parts = std::iter::from_fn(|| parts.next_element::<Part>().transpose());
        let mut texts = parts.by_ref().filter_map(|part| part.map(|part| part.text).transpose());
        let Some(first) = texts.next().transpose()? else { return Ok(Text::default()) };
        let Some(second) = texts.next().transpose()? else { return Ok(first) };
        let mut all = format!("{first}\n{second}");
        for text in texts {
            all.extend(["\n", &*text?]);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Text, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(fields)).map(|value| value.to_string().into())
    }
}

/// An element of a list, or the value of a field of one.
#[derive(Default)]
struct Part {
    /// If it is a string.
    own: Option<Text>,
    /// Of `{"type", "text"}`, `{"type", "image_url"}`. Other elements have no text.
    text: Option<Text>,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Part, D::Error> {
        field.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

/// Visits values that have no text: they count as absent.
macro_rules! nothing {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, _: $of) -> Result<Part, E> {
            Ok(Part::default())
        })*
    };
}

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a part")
    }

    nothing!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64);

    fn visit_unit<E>(self) -> Result<Part, E> {
        Ok(Part::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Part, E> {
        Ok(Part { own: Some(text.into()), text: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Part, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Part::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part, A::Error> {
        let (mut text, mut image, mut secret) = (None, None, None);
        while let Some(name) = fields.next_key::<Field>()? {
            match name {
                Field::Text => text = fields.next_value::<Part>()?.own,
                Field::ImageUrl => image = fields.next_value::<Part>()?.own,
                Field::EncryptedContent => secret = fields.next_value::<Part>()?.own,
                Field::Other => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let note = |url: Text| Text::from(note_of(&url).unwrap_or_else(|| format!("[image {url}]")));
        let text = text.or_else(|| image.map(note)).or_else(|| secret.map(|_| Text::word(ENCRYPTED)));
        Ok(Part { own: None, text })
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Text,
    ImageUrl,
    EncryptedContent,
    #[serde(other)]
    Other,
}

/// Some writers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The note for a `data:` URL; None for any other text.
pub fn note_of(url: &str) -> Option<String> {
    let (kind, data) = parts_of(url)?;
    (kind.len() < 100).then(|| note(kind, data))
}

/// The type and the bytes of a `data:` URL; None for any other text.
pub fn file_of(url: &str) -> Option<(&str, Vec<u8>)> {
    let (kind, data) = parts_of(url)?;
    Some((kind, BASE64.decode(data).ok()?))
}

/// The note: type, size and the SHA-256 of the bytes, which identifies the file.
pub fn note(kind: &str, data: &str) -> String {
    let what = if kind.starts_with("image/") { "image " } else { "" };
    match BASE64.decode(data) {
        Ok(bytes) => {
            format!("[{what}{kind}, {} bytes, sha256 {}]", bytes.len(), hex(&Sha256::digest(&bytes)))
        }
        Err(_) => format!("[{what}{kind}, {} characters that are no base64]", data.len()),
    }
}

fn parts_of(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn content_of_every_shape_is_read_as_text() {
        let table = [
            (json!("plain"), "plain"),
            (json!([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}]), "a\nb"),
            (json!([{"text": ""}, {"text": "b"}]), "\nb"),
            (
                json!([{"type": "input_image", "image_url": "data:image/png;base64,aGkh"}]),
                "[image image/png, 3 bytes, sha256 c0ddd62c7717180e7ffb8a15bb9674d3ec92592e0b7ac7d1d5289836b4553be2]",
            ),
            (json!([{"type": "x", "encrypted_content": null}, {"text": "b"}, {"text": "c"}]), "b\nc"),
            (json!([{"type": "input_image", "image_url": "file:///x.png"}]), "[image file:///x.png]"),
            (
                json!([{"text": "a"}, {"type": "encrypted_content", "encrypted_content": "x"}]),
                "a\n[encrypted]",
            ),
            (json!([7, "loose", null, [], true, 1.5, {"text": 7}, {"text": {"a": [1]}}, {"text": "b"}]), "b"),
            (json!(null), ""),
            (json!(7), "7"),
            (json!({"odd": 1}), r#"{"odd":1}"#),
        ];
        for (content, text) in table {
            assert_eq!(text_of(&content.clone().into()), text, "{content}");
        }
    }

    #[test]
    fn a_data_url_becomes_a_note_that_identifies_the_file() {
        let hi = "sha256 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
        let table = [
            ("data:image/png;base64,aGk=", Some(format!("[image image/png, 2 bytes, {hi}]"))),
            ("data:text/plain;base64,aGk", Some(format!("[text/plain, 2 bytes, {hi}]"))),
            ("data:image/png;base64,a€", Some("[image image/png, 4 characters that are no base64]".into())),
            ("data:,aGk=", None),
            ("https://host/a.png", None),
            ("", None),
        ];
        for (url, note) in table {
            assert_eq!(note_of(url), note, "{url}");
        }
    }
}
