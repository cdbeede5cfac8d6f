//! Values of attributes in OTLP.

use crate::wire::{json, nanoseconds};
use common::json::value::Value;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

/// Levels of nesting that are sent as such. A server's protobuf reader refuses 100 nested messages, and each
/// level of objects takes three.
const DEEPEST: usize = 24;

/// OTLP has no time before 1970.
pub(super) fn since_1970(at: Timestamp) -> u64 {
    u64::try_from(nanoseconds(at)).unwrap_or(0)
}

/// With objects as such: MLflow 3.6 does not parse JSON that is sent as text.
pub(super) fn key_value(key: &str, value: &Value) -> KeyValue {
    key_value_at(0, key, value)
}

/// With objects, and lists of anything but scalars, as the text of their JSON: few collectors keep them as such.
pub(super) fn flat_key_value(key: &str, value: &Value) -> KeyValue {
    let is_scalar = |value: &Value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
    match value {
        Value::Array(values) if values.iter().all(is_scalar) => key_value(key, value),
        Value::Array(_) | Value::Object(_) => key_value(key, &compact_json(value).into()),
        scalar => key_value(key, scalar),
    }
}

/// Without spaces.
pub(super) fn compact_json(value: &Value) -> String {
    serde_json::to_string(value).expect("values with text keys always serialize")
}

fn key_value_at(depth: usize, key: &str, value: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any_value(value, depth)), ..Default::default() }
}

/// Only levels below `DEEPEST` are sent as text.
fn any_value(value: &Value, depth: usize) -> AnyValue {
    let any = match value {
        Value::Null => None,
        Value::Bool(value) => Some(Any::BoolValue(*value)),
        Value::String(text) => Some(Any::StringValue(text.to_string())),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::IntValue(whole),
            (None, Some(real)) if !number.is_u64() => Any::DoubleValue(real),
            // The protocol's integers are signed; a double would lose digits.
            _ => Any::StringValue(number.to_string()),
        }),
        Value::Array(_) | Value::Object(_) if depth == DEEPEST => Some(Any::StringValue(json(value))),
        Value::Array(values) => {
            let values = values.iter().map(|value| any_value(value, depth + 1)).collect();
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        Value::Object(values) => {
            let values = values.iter().map(|(key, value)| key_value_at(depth + 1, key, value)).collect();
            Some(Any::KvlistValue(KeyValueList { values }))
        }
    };
    AnyValue { value: any }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use serde_json::json;

    #[test]
    fn values_keep_their_types() {
        let table = [
            (json!(null), None),
            (json!(true), Some(Any::BoolValue(true))),
            (json!("a"), Some(Any::StringValue("a".into()))),
            (json!(-3), Some(Any::IntValue(-3))),
            (json!(0.25), Some(Any::DoubleValue(0.25))),
            (json!(1.0), Some(Any::DoubleValue(1.0))),
            (json!(u64::MAX), Some(Any::StringValue("18446744073709551615".into()))),
        ];
        for (value, any) in table {
            assert_eq!(any_value(&value.clone().into(), 0).value, any, "{value}");
        }
        let nested = any_value(&json!({"list": [1, null]}).into(), 0);
        let list = ArrayValue { values: vec![any_value(&1_u64.into(), 2), AnyValue { value: None }] };
        let entry = KeyValue {
            key: "list".into(),
            value: Some(AnyValue { value: Some(Any::ArrayValue(list)) }),
            ..Default::default()
        };
        assert_eq!(nested.value, Some(Any::KvlistValue(KeyValueList { values: vec![entry] })));
    }

    #[test]
    fn a_flat_value_is_a_scalar_a_list_of_scalars_or_json() {
        let text = |value: serde_json::Value| flat_key_value("k", &value.into()).value.unwrap().value;
        assert_eq!(text(json!({"a": [1, null]})), Some(Any::StringValue(r#"{"a":[1,null]}"#.into())));
        assert_eq!(text(json!([{"a": 1}])), Some(Any::StringValue(r#"[{"a":1}]"#.into())));
        assert!(matches!(text(json!(["a", "b"])), Some(Any::ArrayValue(list)) if list.values.len() == 2));
        assert_eq!(text(json!(3)), Some(Any::IntValue(3)));
    }

    #[test]
    fn a_value_below_the_deepest_level_becomes_text() {
        let mut deep = json!("core");
        for _ in 0..200 {
            deep = json!({"a": deep});
        }
        let value = any_value(&deep.into(), 0);
        // prost reads no deeper than 100 messages, as MLflow's reader does.
        assert!(AnyValue::decode(value.encode_to_vec().as_slice()).is_ok());
        let (mut at, mut levels) = (value, 0);
        while let Some(Any::KvlistValue(mut list)) = at.value {
            levels += 1;
            at = list.values.remove(0).value.unwrap();
        }
        let text = matches!(&at.value, Some(Any::StringValue(text)) if text.starts_with("{\"a\": {"));
        assert!(levels == DEEPEST && text, "{levels} {at:?}");
    }
}
