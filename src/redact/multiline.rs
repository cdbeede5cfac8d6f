//! Texts of several lines in the inputs and outputs of tools.
//!
//! MLflow's page renders a top-level text of inputs and outputs as Markdown, which joins lines and makes a patch
//! unreadable. It shows a text one level down line by line.

use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::trace::{SpanType, Trace};

/// The field that holds the text.
const TEXT: &str = "text";

/// Moves each such text one level down, as `{"text": …}` under its own name. Runs after redaction, which needs the
/// name next to the value to recognize some secrets.
pub(super) fn nest(trace: &mut Trace) {
    for span in trace.spans.iter_mut().filter(|span| span.span_type == SpanType::Tool) {
        for value in [&mut span.inputs, &mut span.outputs] {
            match value {
                Value::Object(fields) => fields.values_mut().for_each(nest_text),
                other => nest_text(other),
            }
        }
    }
}

fn nest_text(value: &mut Value) {
    if let Value::String(text) = value
        && text.trim_end().contains('\n')
    {
        let mut fields = Map::with_capacity(1);
        fields.insert(Text::word(TEXT), Value::String(text.clone()));
        *value = Value::Object(fields);
    }
}

/// The text, at the top or one level down.
pub fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(TEXT)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_text_of_several_lines_moves_one_level_down() {
        let table = [
            (json!("one\n"), json!("one\n")),
            (json!("one\ntwo"), json!({"text": "one\ntwo"})),
            (json!(["one\ntwo"]), json!(["one\ntwo"])),
            (json!({"text": "one\ntwo"}), json!({"text": "one\ntwo"})),
            (json!(7), json!(7)),
        ];
        for (before, after) in table {
            let mut value = Value::from(before.clone());
            nest_text(&mut value);
            assert_eq!(serde_json::to_value(&value).unwrap(), after, "{before}");
            assert_eq!(text_of(&value), before.as_str().or(before["text"].as_str()), "{before}");
        }
    }
}
