//! JSON that keeps its fields in written order and shares its texts between clones.
//!
//! A large session holds thousands of small objects. `serde_json::Value`, with a hash table per object, took most of
//! the time and memory of building a trace.

use super::text::Text;
use serde::Serialize;
use serde_json::Number;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::Index;

#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize)]
#[serde(untagged)]
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

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        if let Value::Object(fields) = self { fields.get_mut(key) } else { None }
    }

    pub fn as_object(&self) -> Option<&Map> {
        if let Value::Object(fields) = self { Some(fields) } else { None }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(values) = self { Some(values) } else { None }
    }

    pub fn as_text(&self) -> Option<&Text> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    pub fn as_str(&self) -> Option<&str> {
        self.as_text().map(Text::as_str)
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    pub fn as_number(&self) -> Option<&Number> {
        if let Value::Number(number) = self { Some(number) } else { None }
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

/// Up to this many fields, a linear search is faster than hashing.
const FEW: usize = 16;

/// Fields, each name once. Equal to fields of the same names and values in the same order.
#[derive(Clone, Default, PartialEq, Hash)]
pub struct Map(Vec<(Text, Value)>);

impl Map {
    pub fn new() -> Map {
        Map::default()
    }

    pub fn with_capacity(fields: usize) -> Map {
        Map(Vec::with_capacity(fields))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Replaces the value of the field of that name, or appends the field.
    pub fn insert(&mut self, key: impl Into<Text>, value: Value) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(there) => *there = value,
            None => self.0.push((key, value)),
        }
    }

    /// Appends a field; no field may have that name yet (checked in debug builds).
    pub fn push(&mut self, key: &'static str, value: Value) {
        debug_assert!(!self.contains_key(key), "{key} twice");
        self.0.push((Text::word(key), value));
    }

    /// As `push`; nothing for None.
    pub fn put(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.push(key, value.into());
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.0.iter().position(|(name, _)| *name == key)?;
        Some(self.0.remove(place).1)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Text> {
        self.0.iter().map(|(name, _)| name)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

/// A field, or null where there is none.
impl Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&Value::Null)
    }
}

/// Of several fields of one name, the last value counts, at the position of the first (as in `serde_json`).
impl FromIterator<(Text, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(fields: I) -> Map {
        let mut map = Map::new();
        let mut places: HashMap<Text, usize> = HashMap::new();
        for (name, value) in fields {
            if map.len() < FEW {
                map.insert(name, value);
                continue;
            }
            if places.is_empty() {
                places = map.keys().cloned().zip(0..).collect();
            }
            match places.entry(name) {
                Entry::Occupied(place) => map.0[*place.get()].1 = value,
                Entry::Vacant(free) => {
                    map.0.push((free.key().clone(), value));
                    free.insert(map.len() - 1);
                }
            }
        }
        map.0.shrink_to_fit();
        map
    }
}

impl Extend<(Text, Value)> for Map {
    fn extend<I: IntoIterator<Item = (Text, Value)>>(&mut self, fields: I) {
        fields.into_iter().for_each(|(name, value)| self.insert(name, value));
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_fields_of_one_name_the_last_value_counts_at_the_first_position() {
        for others in [1, 2 * FEW] {
            let middle: String = (0..others).map(|n| format!(r#""{n}":{n},"#)).collect();
            let text = format!(r#"{{"twice":1,{middle}"twice":2,"0":7}}"#);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap(), "{others}");
            assert_eq!(value.as_object().unwrap().keys().next().unwrap(), &"twice");
        }
    }

    #[test]
    fn fields_are_replaced_in_place_and_removed() {
        let mut map = Map::from([("a", 1_u64.into()), ("b", 2_u64.into())]);
        map.insert("a", "new".into());
        map.insert(String::from("c"), Value::Null);
        assert_eq!(Value::from(map.clone()).to_string(), r#"{"a":"new","b":2,"c":null}"#);
        assert_eq!((map.remove("b"), map.remove("b")), (Some(2_u64.into()), None));
        map.retain(|name, value| name == "a" && value.as_str().is_some());
        assert_eq!((map.len(), map.get("a").and_then(Value::as_str)), (1, Some("new")));
    }

    #[test]
    fn a_missing_field_or_element_is_null() {
        let value = Value::from(serde_json::json!({"a": [{"b": "c"}]}));
        assert_eq!(value["a"][0]["b"].as_str(), Some("c"));
        for missing in [&value["b"], &value["a"][1], &value["a"]["b"], &value[0]] {
            assert!(missing.is_null(), "{missing}");
        }
    }
}
