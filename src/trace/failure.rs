//! Attributes of the span of a failed model request.

use codex_session::session::model::Inference;
use common::json::text::Text;
use common::json::value::{Map, Value};

/// OpenTelemetry's `error.type` for an error of unknown kind.
const OTHER: &str = "_OTHER";

/// `exception.type` where Codex records no kind.
const RESPONSE_ERROR: &str = "ResponseError";

pub(super) fn put_attributes(attributes: &mut Map, inference: &Inference) {
    let is_error = inference.failure.is_some() || inference.has_broken_off;
    attributes.put("error.type", is_error.then(|| kind_of(inference).unwrap_or(Text::word(OTHER))));
    attributes.put("codex.attempt", inference.attempt);
}

/// The `exception.type` of the span's exception event.
pub(super) fn exception_type(inference: &Inference) -> Text {
    kind_of(inference).unwrap_or(Text::word(RESPONSE_ERROR))
}

/// Whether a failed request returned nothing. Its span has no outputs.
pub(super) fn is_empty(inference: &Inference) -> bool {
    let Inference { texts, reasoning, requests, .. } = inference;
    inference.failure.is_some() && texts.is_empty() && reasoning.is_empty() && requests.is_empty()
}

/// One word such as `usage_limit_exceeded`. Codex may write it as the only key of an object:
/// `{"http_connection_failed": {"http_status_code": 502}}`.
fn kind_of(inference: &Inference) -> Option<Text> {
    let kind = inference.failure.as_ref()?.kind.as_deref()?;
    let parsed: Option<Value> = serde_json::from_str(kind).ok();
    let word = parsed.as_ref().and_then(Value::as_object).and_then(|fields| fields.keys().next().cloned());
    Some(word.unwrap_or_else(|| kind.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codex_session::session::model::Failure;

    #[test]
    fn an_error_has_a_type_of_one_word() {
        let table = [
            (Some("usage_limit_exceeded"), "usage_limit_exceeded"),
            (Some(r#"{"http_connection_failed":{"http_status_code":502}}"#), "http_connection_failed"),
            (Some("{}"), "{}"),
            (None, OTHER),
        ];
        for (kind, word) in table {
            let failure = Some(Box::new(Failure { message: "no".into(), kind: kind.map(str::to_owned) }));
            let mut attributes = Map::new();
            put_attributes(&mut attributes, &Inference { failure, attempt: Some(2), ..Inference::default() });
            assert_eq!(attributes["error.type"], word, "{kind:?}");
            assert_eq!(attributes["codex.attempt"].as_u64(), Some(2));
        }
        let mut attributes = Map::new();
        put_attributes(&mut attributes, &Inference::default());
        assert!(attributes.is_empty());
    }
}
