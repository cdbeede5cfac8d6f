//! The settings of a process: from its environment, else the configuration file, else the default.

use super::content::{CONTENT, Content, FolderPolicy};
use super::file::{ConfigFile, FileState};
use super::granularity::{GRANULARITY, Granularity};
use super::images::{IMAGES, ImageMode};
use super::switch::{ENABLED, Switch};
use super::target::{
    BadTarget, DEFAULT_EXPERIMENT, EXPERIMENT_ID, EXPERIMENT_NAME, Experiment, TRACKING_URI, Target,
};
use super::workspace::{self, WORKSPACE};
use crate::codex::home::CodexHome;
use crate::env::{Variables, World};
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub tracing: Setting<Tracing>,
    pub target: Setting<Target>,
    pub experiment: Setting<Experiment>,
    pub content: Setting<Content>,
    /// Applies to threads without a trace. Others keep the granularity of their first trace.
    pub granularity: Setting<Granularity>,
    pub images: ImageMode,
    /// The folder in which `import` looks for session files: Codex's own unless the file names another.
    pub sessions_dir: Setting<PathBuf>,
    /// Sentences about settings that cannot be followed.
    pub problems: Vec<String>,
    /// The configuration file that they were read from; empty if it cannot be read.
    pub file: ConfigFile,
    pub file_state: FileState,
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Environment(&'static str),
    File,
    /// `.codex/mlflow_config.json` in the folder that Codex works in, or in a parent of it.
    Folder,
    Default,
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Source::Environment(name) => serializer.collect_str(&format_args!("environment:{name}")),
            Source::File => serializer.serialize_str("file"),
            Source::Folder => serializer.serialize_str("folder"),
            Source::Default => serializer.serialize_str("default"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    On,
    Off,
}

impl Settings {
    /// Never fails: a setting that cannot be followed becomes a problem, and its default applies.
    pub fn read(world: &World, home: &CodexHome) -> Settings {
        Settings::with_file(world, home, ConfigFile::read(&home.config()))
    }

    /// As `read`, with the result of `ConfigFile::read`.
    pub fn with_file(
        world: &World,
        home: &CodexHome,
        (file, file_state): (ConfigFile, FileState),
    ) -> Settings {
        let base = world.cwd.as_deref().unwrap_or(home.path());
        let mut settings = Settings::decide(&world.variables, &file, base, home);
        if let FileState::Broken(error) | FileState::Unreadable(error) = &file_state {
            settings.problems.push(format!("{error} (tracing goes on with the defaults)"));
        }
        settings.tighten(FolderPolicy::read(base, home));
        Settings { file, file_state, ..settings }
    }

    /// A folder's file only restricts: it never switches tracing or full content on.
    fn tighten(&mut self, folders: FolderPolicy) {
        if folders.content() > self.content.value {
            self.content = Setting { value: folders.content(), source: Source::Folder };
        }
        if folders.off.is_some() && self.tracing.value == Tracing::On {
            self.tracing = Setting { value: Tracing::Off, source: Source::Folder };
        }
        self.problems.extend(folders.problem);
    }

    pub(super) fn decide(
        variables: &Variables,
        file: &ConfigFile,
        base: &Path,
        home: &CodexHome,
    ) -> Settings {
        let mut problems = Vec::new();
        let value_of = |name: &'static str| {
            let in_environment =
                variables.text(name).map(|value| (value.to_owned(), Source::Environment(name)));
            in_environment.or_else(|| Some((file.text(name)?, Source::File)))
        };
        let asked = value_of(ENABLED).map(|(value, source)| (Switch::read(&value), value, source));
        let tracing = match &asked {
            _ if variables.text("CODEX_TRACED") == Some("0") => {
                Setting { value: Tracing::Off, source: Source::Environment("CODEX_TRACED") }
            }
            None => Setting { value: Tracing::On, source: Source::Default },
            Some((Switch::On, _, source)) => Setting { value: Tracing::On, source: *source },
            Some((Switch::Off, _, source)) => Setting { value: Tracing::Off, source: *source },
            // The author of an unknown word may have meant "off".
            Some((Switch::Unclear, value, source)) => {
                problems.push(format!(
                    "{ENABLED} is \"{value}\", so there is no trace (set it to true or false)"
                ));
                Setting { value: Tracing::Off, source: *source }
            }
        };
        // Users export a server's address for their training runs. A session goes there only if the user also
        // switched tracing on.
        let consent = matches!(asked, Some((Switch::On, ..)));
        let default =
            || Setting { value: Target::Sqlite(home.state().join("mlflow.db")), source: Source::Default };
        let target = match value_of(TRACKING_URI) {
            None => default(),
            Some((uri, source)) => match Target::parse(&uri, base) {
                Ok(target) if target.is_remote() && source != Source::File && !consent => {
                    problems.push(format!(
                        "{TRACKING_URI} names {target}, but nobody switched tracing to it on: the trace stays on this machine\n  \
                         hint: set {ENABLED}=true to send it there"
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
        let target = match workspace::named_for(&target.value, variables, file, base) {
            Some(name) if name.chars().any(char::is_control) => {
                problems.push(format!(
                    "{WORKSPACE} holds characters that no workspace has, so the trace stays local\n  \
                     hint: set it to the workspace's name"
                ));
                default()
            }
            workspace => Setting { value: target.value.with_workspace(workspace), ..target },
        };
        // The author of an unknown word wanted a restriction.
        let content = parsed(value_of(CONTENT), Content::parse, Content::Metadata, &mut |word| {
            problems.push(format!(
                "{CONTENT} is \"{word}\", so only figures are traced (set it to full or metadata)"
            ));
        });
        let experiment = experiment(variables, file, target.source);
        let sessions_dir = match file.sessions_dir(home.path()) {
            Some(value) => Setting { value, source: Source::File },
            None => Setting { value: home.sessions(), source: Source::Default },
        };
        let granularity =
            parsed(value_of(GRANULARITY), Granularity::parse, Granularity::default(), &mut |word| {
                problems.push(format!(
                    "{GRANULARITY} is \"{word}\", so a trace is a session\n  hint: set it to session or turn"
                ));
            });
        let images = parsed(value_of(IMAGES), ImageMode::parse, ImageMode::default(), &mut |word| {
            problems.push(format!(
                "{IMAGES} is \"{word}\", so images become notes\n  hint: set it to true or false"
            ));
        });
        let images = images.value;
        Settings {
            tracing,
            target,
            experiment,
            content,
            granularity,
            images,
            sessions_dir,
            problems,
            file: ConfigFile::default(),
            file_state: FileState::Missing,
        }
    }
}

/// The value of a variable; `otherwise`, and a problem, for an unknown word.
fn parsed<T: Default>(
    found: Option<(String, Source)>,
    parse: impl Fn(&str) -> Option<T>,
    otherwise: T,
    problem: &mut dyn FnMut(&str),
) -> Setting<T> {
    let Some((word, source)) = found else { return Setting { value: T::default(), source: Source::Default } };
    let value = parse(&word).unwrap_or_else(|| {
        problem(&word);
        otherwise
    });
    Setting { value, source }
}

/// The name precedes the id, as in MLflow. An experiment of the file applies only to the file's target.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decide<const N: usize>(variables: [(&str, &str); N], file: &str) -> Settings {
        let world = World { variables: Variables::from([("CODEX_HOME", "/home")]), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let file = ConfigFile::parse(file.as_bytes()).unwrap();
        Settings::decide(&Variables::from(variables), &file, Path::new("/here"), &home)
    }

    fn local() -> Setting<Target> {
        Setting { value: Target::Sqlite("/home/mlflow/mlflow.db".into()), source: Source::Default }
    }

    #[test]
    fn without_settings_traces_go_to_the_local_database() {
        let settings = decide([], "{}");
        assert_eq!(settings.target, local());
        assert_eq!(settings.experiment.value, Experiment::Name("codex-sessions".into()));
        assert_eq!(settings.tracing, Setting { value: Tracing::On, source: Source::Default });
    }

    #[test]
    fn the_environment_precedes_the_file_and_is_named_as_the_source() {
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
    fn a_server_in_the_environment_without_the_switch_gets_nothing() {
        let uri = ("MLFLOW_TRACKING_URI", "http://training:5000");
        let settings = decide([uri], "{}");
        assert_eq!((settings.target, settings.problems.len()), (local(), 1));
        let settings = decide([uri, ("MLFLOW_CODEX_TRACING_ENABLED", "true")], "{}");
        assert_eq!(settings.target.value, Target::Http("http://training:5000".into()));
    }

    #[test]
    fn the_environment_or_the_file_sets_the_granularity() {
        let of_file = |word: &str| format!(r#"{{"environment": {{"CODEX_TRACED_GRANULARITY": "{word}"}}}}"#);
        let in_environment = Source::Environment(GRANULARITY);
        let table = [
            (None, "{}".to_owned(), Granularity::Session, Source::Default, 0),
            (None, of_file("turn"), Granularity::Turn, Source::File, 0),
            (Some("session"), of_file("turn"), Granularity::Session, in_environment, 0),
            (Some(" turn "), "{}".to_owned(), Granularity::Turn, in_environment, 0),
            (Some("turns"), of_file("turn"), Granularity::Session, in_environment, 1),
            (Some(""), of_file("turns"), Granularity::Session, Source::File, 1),
        ];
        for (word, file, value, source, problems) in table {
            let settings = decide([(GRANULARITY, word.unwrap_or(""))], &file);
            assert_eq!(settings.granularity, Setting { value, source }, "{word:?} {file}");
            assert_eq!(settings.problems.len(), problems, "{word:?} {file}");
        }
    }

    #[test]
    fn images_are_shown_only_on_request() {
        let asked = |word| decide([(IMAGES, word)], "{}");
        assert_eq!((decide([], "{}").images, asked("true").images), (ImageMode::AsNotes, ImageMode::Shown));
        let unclear = asked("all");
        assert_eq!((unclear.images, unclear.problems.len()), (ImageMode::AsNotes, 1));
        let file = r#"{"environment": {"CODEX_TRACED_IMAGES": true}}"#;
        assert_eq!(decide([], file).images, ImageMode::Shown);
    }

    #[test]
    fn all_spellings_of_off_switch_off_and_an_unknown_word_is_no_consent() {
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
    fn an_invalid_tracking_uri_is_a_problem_and_the_trace_stays_local() {
        let settings = decide([("MLFLOW_TRACKING_URI", "ftp://x")], "{}");
        assert_eq!((settings.target, settings.problems.len()), (local(), 1));
    }
}
