//! Replaces base64 files in a trace by notes, before the search for secrets.

use codex_session::rollout::content;
use common::json::value::{Map, Value};
use mlflow_store::trace::Trace;

/// Replaces every file in the values of spans by a note.
pub(super) fn replace(trace: &mut Trace) {
    for span in &mut trace.spans {
        replace_in(&mut span.inputs);
        replace_in(&mut span.outputs);
        replace_in_fields(&mut span.attributes);
        span.events.iter_mut().for_each(|event| replace_in_fields(&mut event.attributes));
    }
}

fn replace_in_fields(values: &mut Map) {
    values.values_mut().for_each(replace_in);
}

fn replace_in(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(note) = content::note_of(text) {
                *text = note.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(replace_in),
        Value::Object(values) => {
            // MCP's shape of images and audio: `{"type": "image", "mimeType": "image/png", "data": "…"}`.
            if let (Some(Value::String(kind)), Some(Value::String(data))) =
                (values.get("mimeType"), values.get("data"))
            {
                let note = content::note(kind, data);
                values.insert("data", note.into());
            }
            replace_in_fields(values);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
