//! The settings of a process: from its environment, else the configuration file, else the default.

pub mod access;
mod caller;
mod ci_job;
pub mod file;
pub mod folder_policy;
pub mod further_targets;
pub mod launch_context;
pub mod modes;
mod sampling;
mod tags;
mod tracking_target;
pub mod variable_reference;
pub mod wait;

use self::file::{ConfigFile, FileState};
use self::folder_policy::FolderPolicy;
use self::further_targets::{FurtherTarget, TargetRoles, further_targets};
use self::launch_context::LaunchContext;
use self::modes::{CONTENT, Content, ENABLED, GRANULARITY, Granularity, IMAGES, LIVE, Live, parse_switch};
use crate::base::paths::CodexHome;
use crate::base::world::World;
use common::variables::Variables;
use mlflow_store::target::{DEFAULT_EXPERIMENT, EXPERIMENT_ID, EXPERIMENT_NAME, Experiment, Target};
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use tracking_target::{Chosen, TargetSources};

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub tracing: Setting<Tracing>,
    pub target: Setting<Target>,
    pub experiment: Setting<Experiment>,
    /// Targets that get traces too.
    pub further: Vec<FurtherTarget>,
    pub content: Setting<Content>,
    /// Applies to threads without a trace. Others keep the granularity of their first trace.
    pub granularity: Setting<Granularity>,
    /// None where it depends on the target.
    pub live: Option<Live>,
    /// Whether a trace holds small images in addition to their notes, as MLflow's page displays them.
    pub shows_images: bool,
    /// The folder in which `import` looks for session files: Codex's own unless the file names another.
    pub sessions_dir: Setting<PathBuf>,
    /// What a launch takes over from the program that started it.
    pub launch: LaunchContext,
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
    /// When traces in this target are brought up to date while Codex works.
    pub fn live_for(&self, target: &Target) -> Live {
        self.live.unwrap_or_else(|| Live::usual_for(target))
    }

    /// As `live_for`, by the target's own setting where it has one.
    pub fn live_for_further(&self, further: &FurtherTarget) -> Live {
        further.live.unwrap_or_else(|| self.live_for(&further.target))
    }

    /// Whether any target is brought up to date while Codex works.
    pub fn is_live(&self) -> bool {
        let further = self.further.iter().map(|one| self.live_for_further(one));
        further.chain([self.live_for(&self.target.value)]).any(|live| live != Live::Off)
    }

    pub fn roles(&self) -> TargetRoles<'_> {
        TargetRoles { first: &self.target.value, further: &self.further }
    }

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
        let asked = value_of(ENABLED).map(|(value, source)| (parse_switch(&value), value, source));
        let tracing = match &asked {
            _ if variables.text("CODEX_TRACED") == Some("0") => {
                Setting { value: Tracing::Off, source: Source::Environment("CODEX_TRACED") }
            }
            None => Setting { value: Tracing::On, source: Source::Default },
            Some((Some(true), _, source)) => Setting { value: Tracing::On, source: *source },
            Some((Some(false), _, source)) => Setting { value: Tracing::Off, source: *source },
            // The author of an unknown word may have meant "off".
            Some((None, value, source)) => {
                problems.push(format!(
                    "{ENABLED} is \"{value}\", so there is no trace (set it to true or false)"
                ));
                Setting { value: Tracing::Off, source: *source }
            }
        };
        let has_consent = matches!(asked, Some((Some(true), ..)));
        let sources = TargetSources { variables, file, base, home, has_consent };
        let Chosen { target, collector, problems: of_target } = sources.choose();
        problems.extend(of_target);
        // The author of an unknown word wanted a restriction.
        let content = parsed(value_of(CONTENT), Content::parse, Content::Metadata, &mut |word| {
            problems.push(format!(
                "{CONTENT} is \"{word}\", so only figures are traced (set it to full or metadata)"
            ));
        });
        let experiment = experiment(variables, file, target.source);
        let (mut further, of_further) = further_targets(file, base);
        problems.extend(of_further);
        // MLflow's dual export.
        further.extend(collector.filter(|one| further.iter().all(|it| it.target != *one)).map(|target| {
            let (experiment, content) = (experiment.value.clone(), Content::Full);
            FurtherTarget { target, experiment, content, live: None }
        }));
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
        let live = value_of(LIVE).and_then(|(word, _)| {
            let mode = Live::parse(&word);
            if mode.is_none() {
                problems.push(format!(
                    "{LIVE} is \"{word}\", so it counts as not set\n  hint: set it to on, turn or off"
                ));
            }
            mode
        });
        let images = parsed(value_of(IMAGES), parse_switch, false, &mut |word| {
            problems.push(format!(
                "{IMAGES} is \"{word}\", so images become notes\n  hint: set it to true or false"
            ));
        });
        let (launch, of_launch) = LaunchContext::read(variables, file);
        problems.extend(of_launch);
        Settings {
            tracing,
            target,
            experiment,
            further,
            content,
            granularity,
            live,
            shows_images: images.value,
            sessions_dir,
            launch,
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
mod tests;
