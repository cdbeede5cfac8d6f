//! Prompts and answers of a thread as chat messages: MLflow's page shows a chat, and its judges read the text.

use super::build::put;
use super::limits::MOST_SAID;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::session::model::Turn;

/// Assumed bytes of a message's JSON besides its text.
const FRAME: usize = 64;

/// Prompts up to the last one with the answers between them, and the answer to the last prompt.
pub(super) struct Conversation {
    messages: Vec<Value>,
    answer: Option<Text>,
}

impl Conversation {
    /// From the turns that were not rolled back; from all turns if all were. `task` replaces the first prompt.
    pub(super) fn of(turns: &[Turn], task: Option<&str>) -> Conversation {
        let standing: Vec<&Turn> = turns.iter().filter(|turn| !turn.is_taken_back).collect();
        let turns = if standing.is_empty() { turns.iter().collect() } else { standing };
        let answer = turns.last().and_then(|turn| turn.final_answer.clone());
        let (mut messages, mut room, mut left_out) = (Vec::new(), MOST_SAID, 0_usize);
        for (at, turn) in turns.iter().enumerate().rev() {
            let is_last = at + 1 == turns.len();
            let prompt = task.filter(|_| at == 0).or(turn.prompt.as_deref());
            let said = turn.final_answer.as_ref().filter(|_| !is_last).map(|text| ("assistant", &**text));
            for (role, text) in said.into_iter().chain(prompt.map(|text| ("user", text))) {
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
        Conversation { messages, answer }
    }

    /// Span inputs: the prompt and the messages; null where both are missing.
    pub(super) fn inputs(self, prompt: Option<&str>) -> Value {
        let mut inputs = Map::new();
        put(&mut inputs, "prompt", prompt);
        put(&mut inputs, "messages", Some(self.messages).filter(|messages| !messages.is_empty()));
        if inputs.is_empty() { Value::Null } else { inputs.into() }
    }

    /// Adds the answer to the span outputs, as chat completions have it.
    pub(super) fn add_answer(&self, outputs: &mut Value) {
        if let (Some(answer), Value::Object(outputs)) = (&self.answer, outputs) {
            let choice = Value::from([("message", message("assistant", answer.clone()))]);
            put(outputs, "choices", Some(vec![choice]));
        }
    }
}

fn message(role: &'static str, text: Text) -> Value {
    [("role", Text::word(role).into()), ("content", text.into())].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::limits::LONGEST_SAID;
    use serde_json::{Value as Json, json};

    fn turn(prompt: &str, answer: Option<&str>) -> Turn {
        Turn { prompt: Some(prompt.into()), final_answer: answer.map(Text::from), ..Turn::default() }
    }

    fn taken_back(turn: Turn) -> Turn {
        Turn { is_taken_back: true, ..turn }
    }

    fn shown(turns: &[Turn], task: Option<&str>) -> [Json; 2] {
        let conversation = Conversation::of(turns, task);
        let mut outputs = Value::Object(Map::new());
        conversation.add_answer(&mut outputs);
        let inputs = conversation.inputs(None);
        [&inputs["messages"], &outputs["choices"]].map(|value| serde_json::to_value(value).unwrap())
    }

    fn said(role: &str, text: &str) -> Json {
        json!({"role": role, "content": text})
    }

    #[test]
    fn a_conversation_ends_at_the_last_prompt_and_keeps_its_answer_separate() {
        let choices = |text: &str| json!([{"message": said("assistant", text)}]);
        let table = [
            (vec![turn("a", Some("1"))], None, json!([said("user", "a")]), choices("1")),
            (
                vec![turn("a", Some("1")), turn("b", None), turn("c", Some("3"))],
                None,
                json!([said("user", "a"), said("assistant", "1"), said("user", "b"), said("user", "c")]),
                choices("3"),
            ),
            // An answer to an earlier prompt is not the answer to this one.
            (
                vec![turn("a", Some("1")), turn("b", None)],
                None,
                json!([said("user", "a"), said("assistant", "1"), said("user", "b")]),
                Json::Null,
            ),
            (
                vec![turn("a", Some("1")), taken_back(turn("b", Some("2"))), turn("c", Some("3"))],
                None,
                json!([said("user", "a"), said("assistant", "1"), said("user", "c")]),
                choices("3"),
            ),
            (vec![taken_back(turn("a", Some("1")))], None, json!([said("user", "a")]), choices("1")),
            (
                vec![turn("a head", Some("1")), turn("b", Some("2"))],
                Some("the task"),
                json!([said("user", "the task"), said("assistant", "1"), said("user", "b")]),
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
        let long = "x".repeat(LONGEST_SAID);
        let turns: Vec<Turn> = (0..100).map(|_| turn(&long, Some("ok"))).collect();
        let [messages, _] = shown(&turns, None);
        let messages = messages.as_array().unwrap();
        let kept = messages.len() - 1;
        assert!((10..40).contains(&kept), "{kept}");
        let note = format!("[… {} earlier messages left out; the turns have them …]", 199 - kept);
        assert_eq!(messages[0], said("system", &note));
        assert_eq!(messages.last(), Some(&said("user", &long)));
        // The last message stays even if it exceeds the limit; its text is cut later, with all texts.
        let [messages, _] = shown(&[turn("a", Some("1")), turn(&"x".repeat(MOST_SAID + 1), None)], None);
        assert_eq!(messages.as_array().map(Vec::len), Some(2));
    }
}
