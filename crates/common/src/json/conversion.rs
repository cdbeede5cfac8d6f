//! JSON values to and from `serde`, from Rust values and from `serde_json`; and their comparison.

use super::text::Text;
use super::value::{Map, Value};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;
use std::fmt;

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
        Value::deserialize(value).unwrap_or_default()
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<serde_json::Value> for Value {
    fn eq(&self, other: &serde_json::Value) -> bool {
        serde_json::to_value(self).is_ok_and(|own| own == *other)
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

/// Compact JSON, without spaces.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

macro_rules! visit {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, value: $of) -> Result<Value, E> {
            Ok(value.into())
        })*
    };
}

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

    visit!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);

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
            fields.next_entry().unwrap_or_else(|found| {
                error = Some(found);
                None
            })
        });
        let map = all.collect();
        error.map_or(Ok(Value::Object(map)), Err)
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(fields) => Ok(fields),
            _ => Err(D::Error::custom("not an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
