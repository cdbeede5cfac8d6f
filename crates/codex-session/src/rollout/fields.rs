//! Fields that payloads of several types share: their type and the settings, and how an odd field is read.

use common::json::text::Text;
use common::json::value::Value;
use memchr::memchr2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The `type` inside a payload. Codex writes it first, so the rest need not be parsed.
pub(super) fn type_of(payload: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let first = || {
        let rest = payload.strip_prefix(r#"{"type":""#)?;
        let end = memchr2(b'"', b'\\', rest.as_bytes())?;
        rest[end..].starts_with('"').then(|| Cow::Borrowed(&rest[..end]))
    };
    first().or_else(|| serde_json::from_str(payload).ok().map(|tagged: Tagged| tagged.r#type))
}

/// None when a required field of `T` is missing. A field of an odd type counts as absent: a later version's change
/// to one field must not lose the whole line.
pub(super) fn read<T: DeserializeOwned>(payload: &str) -> Option<T> {
    let tolerant = || fitting(serde_json::from_str(payload).ok()?, T::deserialize);
    serde_json::from_str(payload).ok().or_else(tolerant)
}

/// Parses an object without the fields of an odd type: parsing a field alone may fail for missing fields only.
pub(super) fn fitting<T>(
    object: serde_json::Value,
    parse: impl Fn(serde_json::Value) -> serde_json::Result<T>,
) -> Option<T> {
    let serde_json::Value::Object(fields) = object else { return None };
    let fits = |(name, value): &(String, serde_json::Value)| {
        parse([(name.clone(), value.clone())].into_iter().collect())
            .map_or_else(|error| error.to_string().starts_with("missing field"), |_| true)
    };
    parse(fields.into_iter().filter(fits).collect()).ok()
}

/// None for a field of an odd type, in types that borrow from the line: `read` cannot parse those.
pub(super) fn if_it_fits<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// Of `thread_settings_applied` (0.142 and later): all settings at once, so an absent one is not set.
#[derive(Debug, PartialEq, Deserialize)]
pub struct ThreadSettingsApplied {
    pub thread_id: Option<String>,
    pub thread_settings: Option<ThreadSettings>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadSettings {
    pub cwd: Option<String>,
    pub model: Option<Text>,
    pub effort: Option<Text>,
    pub provider: Option<Text>,
    /// `default`, `priority`, `flex`.
    pub service_tier: Option<Text>,
}

/// A field of an odd type counts as absent, and leaves the others as they are.
impl<'de> Deserialize<'de> for ThreadSettings {
    fn deserialize<D: Deserializer<'de>>(settings: D) -> Result<ThreadSettings, D::Error> {
        let settings = Value::deserialize(settings)?;
        let text = |value: &Value| value.as_text().filter(|text| !text.is_empty()).cloned();
        let of_mode = &settings["collaboration_mode"]["settings"];
        Ok(ThreadSettings {
            cwd: settings["cwd"].as_str().map(str::to_owned),
            model: text(&settings["model"]).or_else(|| text(&of_mode["model"])),
            effort: [&settings["reasoning_effort"], &settings["effort"], &of_mode["reasoning_effort"]]
                .into_iter()
                .find_map(text),
            provider: text(&settings["model_provider_id"]),
            service_tier: text(&settings["service_tier"]),
        })
    }
}

/// Of a turn's `collaboration_mode` (0.104 and later), which repeats the turn's own settings.
#[derive(Debug, Default, PartialEq)]
pub struct ModeSettings {
    pub model: Option<Text>,
    pub effort: Option<Text>,
}

impl<'de> Deserialize<'de> for ModeSettings {
    fn deserialize<D: Deserializer<'de>>(mode: D) -> Result<ModeSettings, D::Error> {
        let mode = Value::deserialize(mode)?;
        let text = |name: &str| mode["settings"][name].as_text().cloned();
        Ok(ModeSettings { model: text("model"), effort: text("reasoning_effort") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_read_from_every_place_and_an_odd_one_loses_no_other() {
        let table = [
            (
                json!({"model": "m", "reasoning_effort": "low", "model_provider_id": "p",
                    "service_tier": "priority", "cwd": "/w"}),
                ["m", "low", "p", "priority", "/w"],
            ),
            (
                json!({"service_tier": 7, "model_provider_id": null, "cwd": [],
                    "collaboration_mode": {"settings": {"model": "m", "reasoning_effort": "high"}}}),
                ["m", "high", "-", "-", "-"],
            ),
            (json!({"model": {}, "collaboration_mode": "plan"}), ["-"; 5]),
            (json!(null), ["-"; 5]),
        ];
        for (written, read) in table {
            let settings = ThreadSettings::deserialize(&written).unwrap();
            let ThreadSettings { cwd, model, effort, provider, service_tier } = settings;
            let texts = [model, effort, provider, service_tier, cwd.map(Text::from)];
            assert_eq!(texts.map(|text| text.unwrap_or("-".into())), read.map(Text::from), "{written}");
        }
    }
}
