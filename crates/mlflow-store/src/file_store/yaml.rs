//! The YAML of a file store: mappings of a few plain values, in a form that PyYAML reads unchanged.

use crate::wire::json;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

/// One line for each key. Values are JSON, which is valid YAML except for a few characters.
pub(super) fn mapping(pairs: &[(&str, Value)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}: {}\n", escaped(&json(value)))).collect()
}

/// PyYAML refuses a file with control characters, and reads U+0085 as a line end. Only strings can contain
/// them, and a string may have an escape instead.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            plain => text.push(plain),
        }
    }
    text
}

/// The value of a key of the file's mapping, as text. Numbers too, since older MLflows wrote ids as numbers.
pub(super) fn text(file: &str, key: &str) -> Option<String> {
    match value(file, key)? {
        Scalar::String(text) => Some(text.into_owned()),
        Scalar::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn integer(file: &str, key: &str) -> Option<i64> {
    match value(file, key)? {
        Scalar::Integer(number) => Some(number),
        _ => None,
    }
}

fn value<'a>(file: &'a str, key: &str) -> Option<Scalar<'a>> {
    let document = Yaml::load_from_str(file).ok()?.into_iter().next()?;
    match document.as_mapping_get(key)? {
        Yaml::Value(scalar) => Some(scalar.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value_of;

    #[test]
    fn a_mapping_has_one_line_for_each_key() {
        let text = mapping(&[
            ("name", "a \"b\"\n\u{7f}\u{85}\u{2028}é😀".into()),
            ("took", 7.into()),
            ("none", Value::Null),
            ("place", value_of!({"type": "X", "of": {"id": "0"}})),
        ]);
        assert_eq!(
            text,
            concat!(
                r#"name: "a \"b\"\n\u007f\u0085\u2028é😀""#,
                "\ntook: 7\nnone: null\n",
                r#"place: {"type": "X", "of": {"id": "0"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn the_yaml_that_mlflow_writes_is_read() {
        // PyYAML's form of names that are long, or look like another type.
        let file = concat!(
            "artifact_location: file:///a/mlruns/0\ncreation_time: 1795341285097\nexperiment_id: '0'\n",
            "lifecycle_stage: active\nname: 'it''s: \"long\" and",
            "\n\n  folded   '\nodd: \"\\xE9 \\U0001F600\\\n  \\ more\"\nold: 12\nempty: ''\n"
        );
        let cases = [
            ("experiment_id", Some("0")),
            ("lifecycle_stage", Some("active")),
            ("name", Some("it's: \"long\" and\nfolded   ")),
            ("odd", Some("é 😀 more")),
            ("old", Some("12")),
            ("empty", Some("")),
            ("missing", None),
        ];
        for (key, expected) in cases {
            assert_eq!(text(file, key).as_deref(), expected, "{key}");
        }
        assert_eq!(integer(file, "creation_time"), Some(1_795_341_285_097));
        for broken in ["", "- a\n", "a: [", "{", "\u{0}"] {
            assert_eq!(text(broken, "a"), None, "{broken:?}");
        }
    }

    #[test]
    fn a_written_value_is_read_unchanged() {
        for name in
            ["plain", "'", "\"", "yes", "1", "a\nb\r\n\tc", "\u{7f}\u{85}\u{2028}\u{feff}é😀", " ", "#: -"]
        {
            assert_eq!(text(&mapping(&[("name", name.into())]), "name").as_deref(), Some(name), "{name:?}");
        }
    }
}
