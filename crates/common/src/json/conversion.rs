//! JSON values from Rust values and `serde_json`, and their comparison.

use super::text::Text;
use super::value::{Map, Value};
use serde_json::Number;

impl<const N: usize> From<[(&'static str, Value); N]> for Value {
    fn from(fields: [(&'static str, Value); N]) -> Value {
        Value::Object(fields.into())
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

from!(Value::Object: Map);
from!(Value::Array: Vec<Value>);
from!(Value::Bool: bool);
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

/// No name may occur twice (checked in debug builds).
impl<const N: usize> From<[(&'static str, Value); N]> for Map {
    fn from(fields: [(&'static str, Value); N]) -> Map {
        let mut map = Map::with_capacity(N);
        fields.into_iter().for_each(|(name, value)| map.push(name, value));
        map
    }
}
