//! Chat messages, as MLflow's page renders them: prompts and answers of a thread, and single responses.

use codex_session::session::model::{Inference, Message, ToolRequest, Turn};
use common::json::text::Text;
use common::json::value::{Map, Value};

/// Bytes of all messages of a conversation. A page shows no more, and the turns' spans hold all messages.
const MOST_MESSAGE_BYTES: usize = 1 << 20;

/// Assumed bytes of a message's JSON besides its text.
const FRAME: usize = 64;

/// Prompts up to the last one with the answers between them, and the answer to the last prompt.
pub(super) struct ChatHistory {
    messages: Vec<Value>,
    answer: Option<Text>,
}

impl ChatHistory {
    /// From the turns that were not rolled back; from all turns if all were. `task` replaces the first prompt.
    pub(super) fn from_turns<'t>(
        turns: impl Iterator<Item = &'t Turn> + Clone,
        task: Option<&str>,
    ) -> ChatHistory {
        let kept: Vec<&Turn> = turns.clone().filter(|turn| !turn.is_taken_back).collect();
        let turns = if kept.is_empty() { turns.collect() } else { kept };
        let answer = turns.last().and_then(|turn| turn.final_answer.clone());
        let (mut messages, mut room, mut left_out) = (Vec::new(), MOST_MESSAGE_BYTES, 0_usize);
        for (at, turn) in turns.iter().enumerate().rev() {
            let is_last = at + 1 == turns.len();
            let prompt = task.filter(|_| at == 0).or(turn.prompt.as_deref());
            let earlier_answer =
                turn.final_answer.as_ref().filter(|_| !is_last).map(|text| ("assistant", &**text));
            for (role, text) in earlier_answer.into_iter().chain(prompt.map(|text| ("user", text))) {
                // Keeps the newest messages and always the last one; the turns' spans hold all of them.
                let takes = text.len() + FRAME;
                if left_out > 0 || (takes > room && !messages.is_empty()) {
                    left_out += 1;
                    continue;
                }
                room = room.saturating_sub(takes);
                messages.push(message(role, text.into()));
            }
        }
        if left_out > 0 {
            let note = format!("[… {left_out} earlier messages left out; the turns have them …]");
            messages.push(message("system", note.into()));
        }
        messages.reverse();
        ChatHistory { messages, answer }
    }

    /// Span inputs: the prompt and the messages; null where both are missing.
    pub(super) fn inputs(self, prompt: Option<&str>) -> Value {
        let mut inputs = Map::new();
        inputs.put("prompt", prompt);
        inputs.put("messages", Some(self.messages).filter(|messages| !messages.is_empty()));
        if inputs.is_empty() { Value::Null } else { inputs.into() }
    }

    /// Adds the answer to the span outputs, as chat completions have it.
    pub(super) fn add_answer(&self, outputs: &mut Value) {
        if let (Some(answer), Value::Object(outputs)) = (&self.answer, outputs) {
            let choice = Value::from([("message", message("assistant", answer.clone()))]);
            outputs.put("choices", Some(vec![choice]));
        }
    }
}

fn message(role: &'static str, text: Text) -> Value {
    [("role", Text::word(role).into()), ("content", text.into())].into()
}

/// A message of a model request.
pub(super) fn request_message(message: &Message) -> Value {
    // A role that MLflow's page does not know, such as Codex's `developer`, makes it show all messages as YAML.
    let role = match message.role.as_str() {
        "user" | "assistant" | "system" | "tool" => message.role.clone(),
        _ => Text::word("system"),
    };
    let mut chat = Map::with_capacity(3);
    chat.put("role", Some(role));
    chat.put("content", Some(&message.text));
    chat.put("tool_call_id", message.tool_call_id.as_ref());
    chat.into()
}

/// Outputs of a model response.
pub(super) fn response(inference: &Inference) -> Value {
    let text = joined(&inference.texts);
    let calls = || inference.requests.iter().map(chat_tool_call).collect::<Vec<_>>();
    let mut message = Map::with_capacity(4);
    message.put("role", Some(Text::word("assistant")));
    message.put("content", Some(&text));
    message.put("reasoning", Some(&inference.reasoning).filter(|it| !it.is_empty()).map(|it| joined(it)));
    message.put("tool_calls", Some(&inference.requests).filter(|it| !it.is_empty()).map(|_| calls()));
    let choice = Value::from([("message", message.into())]);
    [("response", text.into()), ("choices", vec![choice].into())].into()
}

fn joined(texts: &[Text]) -> Text {
    match texts {
        [only] => only.clone(),
        several => several.iter().map(Text::as_str).collect::<Vec<_>>().join("\n\n").into(),
    }
}

fn chat_tool_call(request: &ToolRequest) -> Value {
    let function = [("name", (&request.name).into()), ("arguments", (&request.arguments).into())];
    [
        ("id", (&request.call_id).into()),
        ("type", Text::word("function").into()),
        ("function", function.into()),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn turn(prompt: &str, answer: Option<&str>) -> Turn {
        Turn { prompt: Some(prompt.into()), final_answer: answer.map(Text::from), ..Turn::default() }
    }

    fn rolled_back(turn: Turn) -> Turn {
        Turn { is_taken_back: true, ..turn }
    }

    fn shown(turns: &[Turn], task: Option<&str>) -> [Json; 2] {
        let history = ChatHistory::from_turns(turns.iter(), task);
        let mut outputs = Value::Object(Map::new());
        history.add_answer(&mut outputs);
        let inputs = history.inputs(None);
        [&inputs["messages"], &outputs["choices"]].map(|value| serde_json::to_value(value).unwrap())
    }

    fn json_message(role: &str, text: &str) -> Json {
        json!({"role": role, "content": text})
    }

    #[test]
    fn a_conversation_ends_at_the_last_prompt_and_keeps_its_answer_separate() {
        let choices = |text: &str| json!([{"message": json_message("assistant", text)}]);
        let table = [
            (vec![turn("a", Some("1"))], None, json!([json_message("user", "a")]), choices("1")),
            (
                vec![turn("a", Some("1")), turn("b", None), turn("c", Some("3"))],
                None,
                json!([
                    json_message("user", "a"),
                    json_message("assistant", "1"),
                    json_message("user", "b"),
                    json_message("user", "c")
                ]),
                choices("3"),
            ),
            // An answer to an earlier prompt is not the answer to this one.
            (
                vec![turn("a", Some("1")), turn("b", None)],
                None,
                json!([json_message("user", "a"), json_message("assistant", "1"), json_message("user", "b")]),
                Json::Null,
            ),
            (
                vec![turn("a", Some("1")), rolled_back(turn("b", Some("2"))), turn("c", Some("3"))],
                None,
                json!([json_message("user", "a"), json_message("assistant", "1"), json_message("user", "c")]),
                choices("3"),
            ),
            (vec![rolled_back(turn("a", Some("1")))], None, json!([json_message("user", "a")]), choices("1")),
            (
                vec![turn("a head", Some("1")), turn("b", Some("2"))],
                Some("the task"),
                json!([
                    json_message("user", "the task"),
                    json_message("assistant", "1"),
                    json_message("user", "b")
                ]),
                choices("2"),
            ),
            (vec![], None, Json::Null, Json::Null),
        ];
        for (turns, task, messages, choices) in table {
            assert_eq!(shown(&turns, task), [messages, choices], "{turns:?}");
        }
    }

    #[test]
    fn a_long_conversation_keeps_the_newest_messages_and_counts_the_others() {
        let long = "x".repeat(64 << 10);
        let turns: Vec<Turn> = (0..100).map(|_| turn(&long, Some("ok"))).collect();
        let [messages, _] = shown(&turns, None);
        let messages = messages.as_array().unwrap();
        let kept = messages.len() - 1;
        assert!((10..40).contains(&kept), "{kept}");
        let note = format!("[… {} earlier messages left out; the turns have them …]", 199 - kept);
        assert_eq!(messages[0], json_message("system", &note));
        assert_eq!(messages.last(), Some(&json_message("user", &long)));
        // The last message stays even if it exceeds the limit; its text is cut later, with all texts.
        let [messages, _] =
            shown(&[turn("a", Some("1")), turn(&"x".repeat(MOST_MESSAGE_BYTES + 1), None)], None);
        assert_eq!(messages.as_array().map(Vec::len), Some(2));
    }
}
