//! JSON that keeps its fields in written order and shares its texts between clones.
//!
//! A large session holds thousands of small objects. `serde_json::Value`, with a hash table per object, took most of
//! the time and memory of building a trace.

use super::map::Map;
use super::text::Text;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;
use std::fmt;
use std::ops::Index;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Text),
    Array(Vec<Value>),
    Object(Map),
}

impl Value {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        self.as_text().map(Text::as_str)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }
}

/// A field, or null where there is none.
impl Index<&str> for Value {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&Value::Null)
    }
}

/// An element, or null where there is none.
impl Index<usize> for Value {
    type Output = Value;

    fn index(&self, place: usize) -> &Value {
        self.as_array().and_then(|values| values.get(place)).unwrap_or(&Value::Null)
    }
}

impl<const N: usize> From<[(&'static str, Value); N]> for Value {
    fn from(fields: [(&'static str, Value); N]) -> Value {
        Value::Object(fields.into())
    }
}

impl From<Map> for Value {
    fn from(fields: Map) -> Value {
        Value::Object(fields)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Value {
        Value::Array(values)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

/// NaN and infinities become null.
impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

macro_rules! from {
    ($how:path: $($of:ty),*) => {
        $(impl From<$of> for Value {
            fn from(value: $of) -> Value {
                $how(value.into())
            }
        })*
    };
}

from!(Value::Number: u64, i64, u32, i32, usize);
from!(Value::String: &str, String, Text, &Text);

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(values) => Value::Array(values.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(fields) => {
                let own = |(name, value): (String, serde_json::Value)| (name.into(), value.into());
                Value::Object(fields.into_iter().map(own).collect())
            }
        }
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<serde_json::Value> for Value {
    fn eq(&self, other: &serde_json::Value) -> bool {
        match (self, other) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(own), serde_json::Value::Bool(value)) => own == value,
            (Value::Number(own), serde_json::Value::Number(number)) => own == number,
            (Value::String(own), serde_json::Value::String(text)) => own == text.as_str(),
            (Value::Array(own), serde_json::Value::Array(values)) => own == values,
            (Value::Object(own), serde_json::Value::Object(fields)) => {
                let is_there =
                    |(name, value): (&Text, &Value)| fields.get(&**name).is_some_and(|it| value == it);
                own.len() == fields.len() && own.iter().all(is_there)
            }
            _ => false,
        }
    }
}

/// Compact JSON, without spaces.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => text.serialize(serializer),
            Value::Array(values) => values.serialize(serializer),
            Value::Object(fields) => fields.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = values.next_element()? {
            all.push(value);
        }
        all.shrink_to_fit();
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut error = None;
        let all = std::iter::from_fn(|| {
            fields.next_entry().unwrap_or_else(|told| {
                error = Some(told);
                None
            })
        });
        let map = all.collect();
        error.map_or(Ok(Value::Object(map)), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_written_as_it_was_read() {
        let deep = format!("{}7{}", "[".repeat(100), "]".repeat(100));
        let table = [
            r#"{"b":1,"a":[null,true,"é\n",-3,0.1,1e300,18446744073709551615,1.0],"c":{},"d":[]}"#,
            "null",
            "\"\"",
            &deep,
        ];
        for text in table {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                value.to_string(),
                serde_json::from_str::<serde_json::Value>(text).unwrap().to_string()
            );
            assert_eq!(value, serde_json::from_str::<serde_json::Value>(text).unwrap());
        }
        for bad in ["{", "[1,]", r#"{"a":}"#, &format!("{}7", "[".repeat(200))] {
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_field_or_element_is_null() {
        let value = Value::from(json!({"a": [{"b": "c"}]}));
        assert_eq!(value["a"][0]["b"].as_str(), Some("c"));
        for missing in [&value["b"], &value["a"][1], &value["a"]["b"], &value[0]] {
            assert!(missing.is_null(), "{missing}");
        }
    }
}
