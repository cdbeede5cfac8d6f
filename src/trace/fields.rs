//! Optional fields of attributes, inputs and outputs.

use common::json::value::{Map, Value};

/// Appends a field unless the value is None. The caller ensures that the key is new.
pub(super) fn put(attributes: &mut Map, key: &'static str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        attributes.push(key, value.into());
    }
}
