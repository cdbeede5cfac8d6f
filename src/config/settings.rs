//! The settings of this run: process environment, then the configuration file, then the default.

use super::target::{BadTarget, Experiment, Target};
use crate::codex::home::CodexHome;
use crate::env::{Variables, World};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

pub const DEFAULT_EXPERIMENT: &str = "codex-sessions";

const ENABLED: &str = "MLFLOW_CODEX_TRACING_ENABLED";
const TRACKING_URI: &str = "MLFLOW_TRACKING_URI";
const EXPERIMENT_NAME: &str = "MLFLOW_EXPERIMENT_NAME";
const EXPERIMENT_ID: &str = "MLFLOW_EXPERIMENT_ID";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub tracing: Setting<Tracing>,
    pub target: Setting<Target>,
    pub experiment: Setting<Experiment>,
    /// What was asked for and could not be followed, as sentences.
    pub problems: Vec<String>,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Environment(&'static str),
    File,
    Default,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    On,
    Off,
}

/// `mlflow_config.json`, as far as it concerns us; unknown keys are nobody's mistake.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    environment: BTreeMap<String, Value>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("cannot read {0}: {1} (tracing goes on with the defaults)")]
    Io(String, io::Error),
    #[error("{0} is not valid: {1} (tracing goes on with the defaults)")]
    Json(String, serde_json::Error),
}

impl Settings {
    /// Never fails: what cannot be followed becomes a problem, and the default stands in for it.
    pub fn read(world: &World, home: &CodexHome) -> Settings {
        let (file, problem) = match ConfigFile::read(&home.config()) {
            Ok(file) => (file, None),
            Err(error) => (ConfigFile::default(), Some(error.to_string())),
        };
        let base = world.cwd.as_deref().unwrap_or(home.path());
        let mut settings = Settings::decide(&world.variables, &file, base, home);
        settings.problems.extend(problem);
        settings
    }

    fn decide(variables: &Variables, file: &ConfigFile, base: &Path, home: &CodexHome) -> Settings {
        let mut problems = Vec::new();
        let told = |name: &'static str| {
            let in_environment =
                variables.text(name).map(|value| (value.to_owned(), Source::Environment(name)));
            in_environment.or_else(|| Some((file.text(name)?, Source::File)))
        };
        let asked = told(ENABLED).map(|(value, source)| (Switch::read(&value), value, source));
        let tracing = match &asked {
            _ if variables.text("CODEX_TRACED") == Some("0") => {
                Setting { value: Tracing::Off, source: Source::Environment("CODEX_TRACED") }
            }
            None => Setting { value: Tracing::On, source: Source::Default },
            Some((Switch::On, _, source)) => Setting { value: Tracing::On, source: *source },
            Some((Switch::Off, _, source)) => Setting { value: Tracing::Off, source: *source },
            // Whoever writes a word here we do not know may have meant "off".
            Some((Switch::Unclear, value, source)) => {
                problems.push(format!(
                    "{ENABLED} is \"{value}\", so there is no trace (set it to true or false)"
                ));
                Setting { value: Tracing::Off, source: *source }
            }
        };
        // People export a server's address for their training runs; a session goes there only if
        // somebody asked for tracing.
        let consent = matches!(asked, Some((Switch::On, ..)));
        let default =
            || Setting { value: Target::Sqlite(home.state().join("mlflow.db")), source: Source::Default };
        let target = match told(TRACKING_URI) {
            None => default(),
            Some((uri, source)) => match Target::parse(&uri, base) {
                Ok(target) if target.is_remote() && source != Source::File && !consent => {
                    problems.push(format!(
                        "{TRACKING_URI} names {target}, but tracing to it was not switched on, so the trace stays local \
                         (set {ENABLED}=true to send it there)"
                    ));
                    default()
                }
                Ok(value) => Setting { value, source },
                Err(BadTarget(uri)) => {
                    problems.push(format!("{}, so the trace stays local", BadTarget(uri)));
                    default()
                }
            },
        };
        let experiment = experiment(variables, file, target.source);
        Settings { tracing, target, experiment, problems }
    }
}

/// Name before id, as MLflow has it. Those of the file belong to the file's target.
fn experiment(variables: &Variables, file: &ConfigFile, target: Source) -> Setting<Experiment> {
    let of_environment =
        |key: &'static str| variables.text(key).map(|value| (value.to_owned(), Source::Environment(key)));
    let of_file =
        |key: &str| file.text(key).filter(|_| target == Source::File).map(|value| (value, Source::File));
    let name = |(value, source)| Setting { value: Experiment::Name(value), source };
    let id = |(value, source)| Setting { value: Experiment::Id(value), source };
    of_environment(EXPERIMENT_NAME)
        .map(name)
        .or_else(|| of_environment(EXPERIMENT_ID).map(id))
        .or_else(|| of_file(EXPERIMENT_NAME).map(name))
        .or_else(|| of_file(EXPERIMENT_ID).map(id))
        .unwrap_or_else(|| name((DEFAULT_EXPERIMENT.to_owned(), Source::Default)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    Unclear,
}

impl Switch {
    fn read(value: &str) -> Switch {
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Switch::On,
            "false" | "0" | "no" | "off" => Switch::Off,
            _ => Switch::Unclear,
        }
    }
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| ConfigError::Json(path.display().to_string(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ConfigFile::default()),
            Err(error) => Err(ConfigError::Io(path.display().to_string(), error)),
        }
    }

    /// All of its `environment`, as if it were one.
    pub(super) fn variables(&self) -> Variables {
        self.environment.keys().filter_map(|name| Some((name.clone(), self.text(name)?))).collect()
    }

    /// People write true and 5 without quotes, too.
    fn text(&self, name: &str) -> Option<String> {
        match self.environment.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide<const N: usize>(variables: [(&str, &str); N], file: &str) -> Settings {
        let world = World {
            args: Vec::new(),
            variables: Variables::from([("CODEX_HOME", "/home")]),
            cwd: None,
            home: None,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            terminals: Default::default(),
        };
        let home = CodexHome::of(&world).unwrap();
        let file = serde_json::from_str(file).unwrap();
        Settings::decide(&Variables::from(variables), &file, Path::new("/here"), &home)
    }

    fn local() -> Setting<Target> {
        Setting { value: Target::Sqlite("/home/mlflow/mlflow.db".into()), source: Source::Default }
    }

    #[test]
    fn without_a_word_traces_go_to_the_local_database() {
        let settings = decide([], "{}");
        assert_eq!(settings.target, local());
        assert_eq!(settings.experiment.value, Experiment::Name("codex-sessions".into()));
        assert_eq!(settings.tracing, Setting { value: Tracing::On, source: Source::Default });
    }

    #[test]
    fn the_environment_comes_before_the_file_and_says_so() {
        let file = r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "true", "MLFLOW_TRACKING_URI": "http://file:1",
            "MLFLOW_EXPERIMENT_NAME": "of-the-file"}, "unknown": 1}"#;
        let settings = decide([], file);
        assert_eq!(
            settings.target,
            Setting { value: Target::Http("http://file:1".into()), source: Source::File }
        );
        assert_eq!(settings.experiment.value, Experiment::Name("of-the-file".into()));
        let settings = decide([("MLFLOW_TRACKING_URI", "sqlite:///x.db"), ("CODEX_TRACED", "0")], file);
        assert_eq!(settings.target.value, Target::Sqlite("/here/x.db".into()));
        assert_eq!(
            settings.experiment,
            Setting { value: Experiment::Name("codex-sessions".into()), source: Source::Default }
        );
        assert_eq!(settings.tracing.value, Tracing::Off);
    }

    #[test]
    fn a_server_that_merely_stands_in_the_environment_gets_nothing() {
        let uri = ("MLFLOW_TRACKING_URI", "http://training:5000");
        let settings = decide([uri], "{}");
        assert_eq!((settings.target, settings.problems.len()), (local(), 1));
        let settings = decide([uri, ("MLFLOW_CODEX_TRACING_ENABLED", "true")], "{}");
        assert_eq!(settings.target.value, Target::Http("http://training:5000".into()));
    }

    #[test]
    fn off_in_any_writing_is_off_and_an_unknown_word_is_neither_on_nor_consent() {
        let enabled = |value: &str| {
            format!(r#"{{"environment": {{"MLFLOW_CODEX_TRACING_ENABLED": {value}}}, "x": 1}}"#)
        };
        let table = [
            ("true", Tracing::On, 0),
            (r#""True""#, Tracing::On, 0),
            ("1", Tracing::On, 0),
            ("false", Tracing::Off, 0),
            (r#""off""#, Tracing::Off, 0),
            (r#""nope""#, Tracing::Off, 1),
            ("null", Tracing::On, 0),
        ];
        for (value, tracing, problems) in table {
            let settings = decide([], &enabled(value));
            assert_eq!((settings.tracing.value, settings.problems.len()), (tracing, problems), "{value}");
        }
        let off = [("MLFLOW_TRACKING_URI", "http://training:5000"), ("MLFLOW_CODEX_TRACING_ENABLED", "off")];
        assert_eq!(decide(off, "{}").target, local());
    }

    #[test]
    fn what_cannot_be_followed_is_a_problem_and_the_trace_stays_local() {
        let settings = decide([("MLFLOW_TRACKING_URI", "ftp://x")], "{}");
        assert_eq!((settings.target, settings.problems.len()), (local(), 1));
    }
}
