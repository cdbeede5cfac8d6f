//! The configuration file, `mlflow_config.json` in Codex's home: reads it, and changes keys without losing others.

use super::further_targets::KEYS;
use common::disk;
use common::variables::Variables;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

const ENVIRONMENT: &str = "environment";
const SESSIONS_DIR: &str = "sessions_dir";
const PRICES: &str = "prices";
const REDACTION: &str = "redaction";
const TAGS: &str = "tags";
const TARGETS: &str = "targets";

/// The file's content. Unknown keys are no error; a change keeps them.
#[derive(Clone, Default, PartialEq)]
pub struct ConfigFile {
    object: Map<String, Value>,
}

/// Hides the content, which may hold credentials.
impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigFile(…)")
    }
}

/// The result of reading the file, with the error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    Valid,
    Missing,
    Broken(String),
    Unreadable(String),
}

/// Why the text is no configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl ConfigFile {
    /// The file, or an empty one if it is missing or cannot be read.
    pub fn read(path: &Path) -> (ConfigFile, FileState) {
        let state = match fs::read(path) {
            Ok(bytes) => match ConfigFile::parse(&bytes) {
                Ok(file) => return (file, FileState::Valid),
                Err(invalid) => FileState::Broken(format!("{} is not valid: {invalid}", path.display())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileState::Missing,
            Err(error) => FileState::Unreadable(format!("cannot read {}: {error}", path.display())),
        };
        (ConfigFile::default(), state)
    }

    pub fn parse(bytes: &[u8]) -> Result<ConfigFile, InvalidConfig> {
        let object = match serde_json::from_slice(bytes).map_err(|error| InvalidConfig(error.to_string()))? {
            Value::Object(object) => object,
            other => return Err(InvalidConfig(format!("it holds {}, not an object", kind_of(&other)))),
        };
        match object.get(ENVIRONMENT) {
            None | Some(Value::Object(_) | Value::Null) => Ok(ConfigFile { object }),
            Some(other) => {
                Err(InvalidConfig(format!("its \"environment\" is {}, not an object", kind_of(other))))
            }
        }
    }

    /// A variable of its `environment`. Also accepts `true` and numbers without quotes.
    pub fn text(&self, name: &str) -> Option<String> {
        text_of(self.object.get(ENVIRONMENT)?.get(name)?)
    }

    /// Its whole `environment`.
    pub fn variables(&self) -> Variables {
        let names = self.object.get(ENVIRONMENT).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        names.filter_map(|name| Some((name.clone(), self.text(name)?))).collect()
    }

    /// A further folder of session files. A relative path is relative to the file's own folder, which is `home`.
    pub fn sessions_dir(&self, home: &Path) -> Option<PathBuf> {
        let text = self.object.get(SESSIONS_DIR)?.as_str().filter(|text| !text.is_empty())?;
        Some(home.join(text))
    }

    /// The user's own prices: a file or a folder. A relative path is relative to the file's own folder, which is `home`.
    pub fn prices(&self, home: &Path) -> Option<PathBuf> {
        let text = self.object.get(PRICES)?.as_str().filter(|text| !text.is_empty())?;
        Some(home.join(text))
    }

    /// Why `prices` names no file, as a clause.
    pub fn prices_problem(&self) -> Option<String> {
        let value = self.object.get(PRICES).filter(|value| !value.is_null() && !value.is_string())?;
        Some(format!("\"prices\" in mlflow_config.json is {}, not a path", kind_of(value)))
    }

    /// The user's additions to the rules for secrets.
    pub fn redaction(&self) -> Option<&Value> {
        self.object.get(REDACTION).filter(|redaction| !redaction.is_null())
    }

    /// The variables of each further target: its own keys, and those of its `environment`.
    pub fn targets(&self) -> Vec<Variables> {
        let entries = self.object.get(TARGETS).and_then(Value::as_array).into_iter().flatten();
        let variables = |entry: &Value| {
            let own =
                KEYS.iter().filter_map(|(key, name)| Some((name.to_string(), text_of(entry.get(key)?)?)));
            let environment = entry.get(ENVIRONMENT).and_then(Value::as_object).into_iter().flatten();
            let others = environment.filter_map(|(name, value)| Some((name.clone(), text_of(value)?)));
            others.chain(own).collect()
        };
        entries.map(variables).collect()
    }

    /// Adds a further target, or changes the one that `is_it` knows by its address. Keys without a value are removed.
    pub fn set_target(&mut self, keys: &[(&str, Option<&str>)], is_it: impl Fn(&str) -> bool) {
        let targets = self.object.entry(TARGETS).or_insert_with(|| json!([]));
        if !targets.is_array() {
            *targets = json!([]);
        }
        let targets = targets.as_array_mut().expect("a list was put there");
        let known = targets.iter().position(|entry| address_of(entry).is_some_and(&is_it));
        let place = known.unwrap_or_else(|| {
            targets.push(json!({}));
            targets.len() - 1
        });
        let entry = targets[place].as_object_mut().expect("an entry with an address is an object");
        for (key, value) in keys {
            match value {
                Some(value) => _ = entry.insert(key.to_string(), (*value).into()),
                None => _ = entry.shift_remove(*key),
            }
        }
    }

    /// Removes the further targets that `is_it` knows by their addresses. False if there was none.
    pub fn remove_target(&mut self, is_it: impl Fn(&str) -> bool) -> bool {
        let Some(targets) = self.object.get_mut(TARGETS).and_then(Value::as_array_mut) else { return false };
        let before = targets.len();
        targets.retain(|entry| !address_of(entry).is_some_and(&is_it));
        let is_removed = targets.len() < before;
        if targets.is_empty() {
            self.object.shift_remove(TARGETS);
        }
        is_removed
    }

    /// The tags of traces; None for a value that is no text, number or truth value.
    pub fn tags(&self) -> Vec<(String, Option<String>)> {
        let tags = self.object.get(TAGS).and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        tags.map(|(key, value)| (key.clone(), text(value))).collect()
    }

    /// Sets a variable of its `environment`, or removes it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        if !self.object.get(ENVIRONMENT).is_some_and(Value::is_object) {
            // In a new file, `environment` comes first.
            self.object.shift_insert(0, ENVIRONMENT.to_owned(), json!({}));
        }
        let variables = self.object[ENVIRONMENT].as_object_mut().expect("an object was put there");
        match value {
            Some(value) => _ = variables.insert(name.to_owned(), value.into()),
            None => _ = variables.shift_remove(name),
        }
    }

    pub fn set_sessions_dir(&mut self, folder: &str) {
        self.object.insert(SESSIONS_DIR.to_owned(), folder.into());
    }

    /// Writes durably, with mode 0600. A symbolic link stays a link: its target is written.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        disk::write_private(&disk::followed(path), self.written().as_bytes())
    }

    /// The text of the file.
    pub fn written(&self) -> String {
        let text =
            serde_json::to_string_pretty(&self.object).expect("a map with text keys always serializes");
        text + "\n"
    }
}

/// Copies a broken file to `<name>.broken-<time>` in its folder, before a new one replaces it.
pub fn keep_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let free = (1..).map(|n| match n {
        1 => path.with_file_name(format!("{name}.broken-{time}")),
        n => path.with_file_name(format!("{name}.broken-{time}-{n}")),
    });
    let aside = free.into_iter().find(|aside| !aside.exists()).expect("one of all names is free");
    disk::write_private(&aside, &fs::read(path)?)?;
    Ok(aside)
}

/// None for null and for an empty text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

fn address_of(target: &Value) -> Option<&str> {
    target.get("tracking_uri")?.as_str()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn at(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("mlflow_config.json")
    }

    #[test]
    fn a_new_file_holds_exactly_the_documented_json() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ConfigFile::read(&at(&folder)).0;
        file.set_sessions_dir("/home/sessions");
        file.set("MLFLOW_CODEX_TRACING_ENABLED", Some("true"));
        file.set("MLFLOW_TRACKING_URI", Some("http://localhost:5000"));
        file.set("MLFLOW_EXPERIMENT_ID", None);
        file.set("MLFLOW_EXPERIMENT_NAME", Some("codex-sessions"));
        file.store(&at(&folder)).unwrap();
        let expected = r#"{
  "environment": {
    "MLFLOW_CODEX_TRACING_ENABLED": "true",
    "MLFLOW_TRACKING_URI": "http://localhost:5000",
    "MLFLOW_EXPERIMENT_NAME": "codex-sessions"
  },
  "sessions_dir": "/home/sessions"
}
"#;
        assert_eq!(fs::read_to_string(at(&folder)).unwrap(), expected);
        assert_eq!(fs::metadata(at(&folder)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ConfigFile::read(&at(&folder)).0, file);
    }

    #[test]
    fn a_change_keeps_all_other_keys_and_their_order() {
        let text = r#"{"z": [1, 2.50, 12345678901234567890], "environment": {"OTHER": "x", "MLFLOW_TRACKING_URI": "old"}, "a": {"b": null}}"#;
        let mut file = ConfigFile::parse(text.as_bytes()).unwrap();
        file.set("MLFLOW_TRACKING_URI", Some("new"));
        file.set("MLFLOW_EXPERIMENT_ID", Some("7"));
        let expected = r#"{"z":[1,2.5,12345678901234567890],"environment":{"OTHER":"x","MLFLOW_TRACKING_URI":"new","MLFLOW_EXPERIMENT_ID":"7"},"a":{"b":null}}"#;
        assert_eq!(serde_json::to_string(&file.object).unwrap(), expected);
    }

    #[test]
    fn a_link_stays_a_link_with_and_without_its_target() {
        for there in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let dotfiles = folder.path().join("dotfiles");
            fs::create_dir(&dotfiles).unwrap();
            let end = dotfiles.join("codex.json");
            if there {
                fs::write(&end, r#"{"mine": 1}"#).unwrap();
            }
            symlink("dotfiles/codex.json", at(&folder)).unwrap();
            let mut file = ConfigFile::read(&at(&folder)).0;
            file.set("MLFLOW_CODEX_TRACING_ENABLED", Some("false"));
            file.store(&at(&folder)).unwrap();
            assert!(fs::symlink_metadata(at(&folder)).unwrap().is_symlink());
            let written = fs::read_to_string(end).unwrap();
            assert_eq!((written.contains("mine"), written.contains("ENABLED")), (there, true), "{written}");
        }
    }

    #[test]
    fn an_invalid_file_gives_a_reason_and_is_copied_under_a_free_name() {
        let table = [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[1]", "it holds a list, not an object"),
            (r#"{"environment": "MLFLOW=1"}"#, "its \"environment\" is a text, not an object"),
        ];
        for (text, why) in table {
            assert_eq!(ConfigFile::parse(text.as_bytes()).unwrap_err().to_string(), why);
        }
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-22T10:04:14Z".parse().unwrap();
        for (text, name) in [("{", "20261122T100414Z"), ("[", "20261122T100414Z-2")] {
            fs::write(at(&folder), text).unwrap();
            let aside = keep_aside(&at(&folder), now).unwrap();
            assert_eq!(aside, folder.path().join(format!("mlflow_config.json.broken-{name}")));
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[test]
    fn a_sessions_folder_is_relative_to_the_home() {
        let of = |text: &str| ConfigFile::parse(text.as_bytes()).unwrap().sessions_dir(Path::new("/home"));
        assert_eq!(of(r#"{"sessions_dir": "/a"}"#), Some("/a".into()));
        assert_eq!(of(r#"{"sessions_dir": "more"}"#), Some("/home/more".into()));
        assert_eq!((of(r#"{"sessions_dir": ""}"#), of("{}")), (None, None));
    }
}
