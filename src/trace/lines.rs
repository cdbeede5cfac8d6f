//! Texts of several lines in what a tool was given and gave back.
//!
//! MLflow's page takes a text at the top of inputs and outputs for Markdown, which joins lines: of a patch nothing can
//! be read. A text one level down is shown line by line.

use super::model::{SpanType, Trace};
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;

/// The field that takes the text in.
pub const TEXT: &str = "text";

/// Puts each such text one level down, as `{"text": …}` under its own name. Only once secrets are out: the name of a
/// value shows that it is one.
pub(super) fn apart(trace: &mut Trace) {
    for span in trace.spans.iter_mut().filter(|span| span.span_type == SpanType::Tool) {
        for value in [&mut span.inputs, &mut span.outputs] {
            match value {
                Value::Object(fields) => fields.values_mut().for_each(lower),
                other => lower(other),
            }
        }
    }
}

fn lower(value: &mut Value) {
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
    fn only_a_text_of_several_lines_goes_one_level_down() {
        let table = [
            (json!("one\n"), json!("one\n")),
            (json!("one\ntwo"), json!({"text": "one\ntwo"})),
            (json!(["one\ntwo"]), json!(["one\ntwo"])),
            (json!({"text": "one\ntwo"}), json!({"text": "one\ntwo"})),
            (json!(7), json!(7)),
        ];
        for (before, after) in table {
            let mut value = Value::from(before.clone());
            lower(&mut value);
            assert_eq!(serde_json::to_value(&value).unwrap(), after, "{before}");
            assert_eq!(text_of(&value), before.as_str().or(before["text"].as_str()), "{before}");
        }
    }
}
