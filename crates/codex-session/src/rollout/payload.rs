//! Payloads of lines: their type, and their fields, of which an odd one must not lose the others.

use memchr::memchr2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The `type` inside a payload.
#[derive(Deserialize)]
pub(super) struct TypeTag<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
}

pub(super) fn type_tag(payload: &str) -> Option<TypeTag<'_>> {
    match first_type(payload) {
        Some(kind) => Some(TypeTag { r#type: Cow::Borrowed(kind) }),
        None => serde_json::from_str(payload).ok(),
    }
}

/// Codex writes the type first, so the rest need not be parsed.
fn first_type(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(r#"{"type":""#)?;
    let end = memchr2(b'"', b'\\', rest.as_bytes())?;
    rest[end..].starts_with('"').then(|| &rest[..end])
}

/// None when a required field of `T` is missing. A field of an odd type counts as absent: a later version's change
/// to one field must not lose the whole line.
pub(super) fn read<T: DeserializeOwned>(payload: &str) -> Option<T> {
    serde_json::from_str(payload).ok().or_else(|| {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).ok()?;
        let fitting = fields.into_iter().filter(|(name, value)| fits::<T>(name, value)).collect();
        T::deserialize(serde_json::Value::Object(fitting)).ok()
    })
}

/// Whether `T` accepts this field: parsing it alone may fail for missing fields only.
fn fits<T: DeserializeOwned>(name: &str, value: &serde_json::Value) -> bool {
    let alone = serde_json::Map::from_iter([(name.to_owned(), value.clone())]);
    T::deserialize(serde_json::Value::Object(alone))
        .map_or_else(|error| error.to_string().starts_with("missing field"), |_| true)
}

/// None for a field of an odd type, in types that borrow from the line: `read` cannot parse those.
pub(super) fn if_it_fits<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(raw.get()).ok())
}
