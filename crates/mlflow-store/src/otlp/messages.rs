//! The chat of a span, as its inputs and outputs hold it, in the parts of OpenTelemetry's messages.

use common::json::text::Text;
use common::json::value::{Map, Value};

/// A call that the model requested: id, name and arguments.
pub(super) struct RequestedCall<'v> {
    pub(super) id: &'v Value,
    pub(super) name: &'v Value,
    pub(super) arguments: &'v Value,
}

/// The messages of a span's inputs.
pub(super) fn of_inputs(inputs: &Value) -> &[Value] {
    inputs["messages"].as_array().unwrap_or_default()
}

/// The messages of a span's outputs.
pub(super) fn of_outputs(outputs: &Value) -> impl Iterator<Item = &Value> {
    let choices = outputs["choices"].as_array().unwrap_or_default();
    choices.iter().map(|choice| &choice["message"]).filter(|message| !message.is_null())
}

pub(super) fn calls_of(message: &Value) -> impl Iterator<Item = RequestedCall<'_>> {
    let calls = message["tool_calls"].as_array().unwrap_or_default();
    calls.iter().map(|call| {
        let function = &call["function"];
        RequestedCall { id: &call["id"], name: &function["name"], arguments: &function["arguments"] }
    })
}

/// `gen_ai.input.messages`; None without a message.
pub(super) fn input_parts(inputs: &Value) -> Option<Value> {
    let messages: Vec<Value> = of_inputs(inputs).iter().map(|message| with_parts(message, None)).collect();
    (!messages.is_empty()).then(|| messages.into())
}

/// `gen_ai.output.messages`; None without a message. Conventions before 0.1 require the reason for a message's end.
pub(super) fn output_parts(outputs: &Value, finish_reason: Option<&Value>) -> Option<Value> {
    let reason = finish_reason.cloned().unwrap_or_else(|| Text::word("stop").into());
    let messages: Vec<Value> =
        of_outputs(outputs).map(|message| with_parts(message, Some(&reason))).collect();
    (!messages.is_empty()).then(|| messages.into())
}

fn with_parts(message: &Value, finish_reason: Option<&Value>) -> Value {
    let mut parts = Vec::new();
    if let Some(reasoning) = message.get("reasoning") {
        parts.push([("type", Text::word("reasoning").into()), ("content", reasoning.clone())].into());
    }
    let content = &message["content"];
    match message.get("tool_call_id") {
        Some(id) => parts.push(part("tool_call_response", [("id", id), ("response", content)])),
        None => match content {
            Value::Array(pieces) => parts.extend(pieces.iter().map(piece)),
            text if text.as_str().is_some_and(|text| !text.is_empty()) => {
                parts.push(part("text", [("content", content)]));
            }
            _ => {}
        },
    }
    for RequestedCall { id, name, arguments } in calls_of(message) {
        let arguments = parsed(arguments);
        parts.push(part("tool_call", [("id", id), ("name", name), ("arguments", &arguments)]));
    }
    let mut whole = Map::with_capacity(3);
    whole.put("role", message.get("role").cloned());
    whole.put("parts", Some(parts));
    whole.put("finish_reason", finish_reason.cloned());
    whole.into()
}

/// A text of a message with images, or an image as the message has it.
fn piece(piece: &Value) -> Value {
    match piece.get("text") {
        Some(text) => part("text", [("content", text)]),
        None => piece.clone(),
    }
}

fn part<const N: usize>(kind: &'static str, fields: [(&'static str, &Value); N]) -> Value {
    let mut part = Map::with_capacity(N + 1);
    part.put("type", Some(Text::word(kind)));
    for (key, value) in fields {
        part.put(key, Some(value.clone()).filter(|value| !value.is_null()));
    }
    part.into()
}

/// A model writes the arguments of most tools as the text of a JSON object.
fn parsed(arguments: &Value) -> Value {
    let object = arguments.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    object.filter(|value| value.as_object().is_some()).unwrap_or_else(|| arguments.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn shown(value: Option<Value>) -> Json {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn a_chat_becomes_messages_with_parts() {
        let inputs = json!({"messages": [
            {"role": "user", "content": "hi"},
            {"role": "tool", "content": "3 files", "tool_call_id": "call_1"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}]},
        ]});
        let expected = json!([
            {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "3 files"}]},
            {"role": "user", "parts": [{"type": "text", "content": "look"}, {"type": "image_url", "image_url": {}}]},
        ]);
        assert_eq!(shown(input_parts(&inputs.into())), expected);
        let outputs = json!({"choices": [{"message": {
            "role": "assistant",
            "content": "done",
            "reasoning": "why",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "exec", "arguments": "{\"cmd\":\"ls\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "js", "arguments": "text(1)"}},
            ],
        }}]});
        let expected = json!([{
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "why"},
                {"type": "text", "content": "done"},
                {"type": "tool_call", "id": "c1", "name": "exec", "arguments": {"cmd": "ls"}},
                {"type": "tool_call", "id": "c2", "name": "js", "arguments": "text(1)"},
            ],
            "finish_reason": "tool_call",
        }]);
        assert_eq!(shown(output_parts(&outputs.into(), Some(&Text::word("tool_call").into()))), expected);
        for nothing in [json!(null), json!({}), json!({"messages": [], "choices": []}), json!("x")] {
            let value = nothing.clone().into();
            assert_eq!((input_parts(&value), output_parts(&value, None)), (None, None), "{nothing}");
        }
    }
}
