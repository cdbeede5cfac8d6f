//! `mlflow enable`: writes the configuration file, with the target of the traces.

use super::config_edit::ConfigEdit;
use super::survey::patience;
use super::text_layout::wrap;
use super::{CommandError, further_target};
use crate::base::world::World;
use crate::cli::Enable;
use crate::settings::access;
use crate::settings::file::FileState;
use crate::settings::modes::{ENABLED, GRANULARITY};
use crate::settings::{Settings, Source, Tracing};
use common::printable::clean;
use common::variables::Variables;
use launch::exit::ChildExit;
use mlflow_store::exporter::{ExportError, Readiness};
use mlflow_store::target::access::Access;
use mlflow_store::target::{
    DEFAULT_EXPERIMENT, EXPERIMENT_ID, EXPERIMENT_NAME, Experiment, TRACKING_URI, Target, WORKSPACE,
};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The exit code for wrong usage, as in clap and in shells.
const WRONG_USE: i32 = 2;

pub(super) fn run(enable: &Enable, world: &World) -> Result<ChildExit, CommandError> {
    let done = match (&enable.add, &enable.remove) {
        (Some(uri), _) => further_target::add(uri, enable, world),
        (None, Some(uri)) => further_target::remove(uri, world),
        (None, None) => match changed(enable, world) {
            Ok(changed) => return report(changed, world),
            Err(refusal) => Err(refusal),
        },
    };
    match done {
        Ok(page) => {
            super::print(&page);
            Ok(ChildExit::Code(0))
        }
        Err(Refusal::Usage(refused)) => {
            crate::base::notice::print(&refused);
            Ok(ChildExit::Code(WRONG_USE))
        }
        Err(Refusal::Target(error)) => Err(format!(
            "{error}\n  hint: nothing was written; put that right, or write it all the same with --no-check"
        )),
        Err(Refusal::File(error)) => Err(error),
    }
}

/// Settings that are ready to be written.
pub(super) struct Changed {
    pub(super) edit: ConfigEdit,
    wanted: Wanted,
    checked: Option<Readiness>,
}

/// Why nothing is written.
pub(super) enum Refusal {
    /// The words of the command.
    Usage(String),
    /// The target cannot take traces.
    Target(String),
    /// The file cannot be changed.
    File(CommandError),
}

/// The configuration file as the command changes it; its target was looked at. Nothing is written.
pub(super) fn changed(enable: &Enable, world: &World) -> Result<Changed, Refusal> {
    let mut edit = ConfigEdit::open(world).map_err(Refusal::File)?;
    let wanted = wanted(enable, world, &edit).map_err(Refusal::Usage)?;
    let access = crate::settings::access::with_file(world, &edit.file);
    let checked = (!enable.no_check).then(|| check(&wanted, access)).transpose();
    let checked = checked.map_err(|error| Refusal::Target(clean(error)))?;
    let file = &mut edit.file;
    file.set(ENABLED, Some("true"));
    file.set(TRACKING_URI, Some(&wanted.uri));
    if let Some(workspace) = wanted.target.workspace() {
        file.set(WORKSPACE, Some(workspace));
    }
    let (name, id) = match &wanted.experiment {
        Experiment::Name(name) => (Some(name.as_str()), None),
        Experiment::Id(id) => (None, Some(id.as_str())),
    };
    file.set(EXPERIMENT_NAME, name);
    file.set(EXPERIMENT_ID, id);
    if let Some(granularity) = enable.granularity {
        file.set(GRANULARITY, Some(granularity.as_str()));
    }
    file.set_sessions_dir(&wanted.sessions_dir);
    Ok(Changed { edit, wanted, checked })
}

fn report(changed: Changed, world: &World) -> Result<ChildExit, CommandError> {
    let Changed { edit, wanted, checked } = changed;
    let written = edit.store()?;
    let mut page = String::from("Tracing is on.\n");
    let mut line = |label: &str, value: &str| _ = writeln!(page, "  {label:<13} {value}");
    line("tracking URI", &clean(&wanted.uri));
    if let Some(workspace) = wanted.target.workspace() {
        line("workspace", &clean(workspace));
    }
    if !wanted.target.is_append_only() {
        let found = checked.as_ref().map(|checked| checked.experiment_id.is_some());
        line("experiment", &experiment_text(&wanted.experiment, found));
    }
    if let Some(granularity) = edit.file.text(GRANULARITY) {
        line("one trace per", &clean(granularity));
    }
    line("sessions", &clean(&wanted.sessions_dir));
    page.push_str(&written);
    let moved = wanted.moved();
    let reachable = reachable_text(&wanted.target, checked.as_ref().and_then(|c| c.version.as_deref()));
    for note in moved.into_iter().chain(reachable).chain(warnings(world, edit)) {
        let _ = writeln!(page, "{}", wrap(&note, 0));
    }
    let look = match &wanted.target {
        Target::Otlp(_) => "the collector's page",
        target if target.is_remote() => "`codex-traced mlflow ui`",
        _ => "`codex-traced mlflow show`",
    };
    let _ = writeln!(page, "Next: `codex-traced exec \"…\"`, then {look}.");
    super::print(&page);
    Ok(ChildExit::Code(0))
}

/// The new settings for the file.
struct Wanted {
    target: Target,
    uri: String,
    experiment: Experiment,
    sessions_dir: String,
    /// The id of an experiment of the previous target, which the new target does not have.
    left_behind: Option<String>,
}

impl Wanted {
    /// For the user, where the experiment of the previous target is not taken along.
    fn moved(&self) -> Option<String> {
        let id = clean(self.left_behind.as_ref()?);
        Some(format!(
            "Experiment {id} was of the target before, so traces go to \"{DEFAULT_EXPERIMENT}\" here; \
             choose another with -e or -n."
        ))
    }
}

impl Changed {
    /// See `Wanted::moved`.
    pub(super) fn moved(&self) -> Option<String> {
        self.wanted.moved()
    }

    /// Whether traces go to a server or a workspace.
    pub(super) fn is_remote(&self) -> bool {
        self.wanted.target.is_remote()
    }
}

/// The answer of the new target, which is not in the settings yet. `uri` may hold a user and password.
fn check(wanted: &Wanted, access: Access) -> Result<Readiness, ExportError> {
    let Wanted { target, uri, experiment, .. } = wanted;
    let variables = Variables::from([(TRACKING_URI, uri.as_str())]).or(&access.variables);
    // Credentials of the environment apply to this target, unless the environment names another.
    let named = if access.named.is_empty() { vec![target.clone()] } else { access.named.clone() };
    mlflow_store::readiness(target, experiment, &Access { variables, named, ..access }, patience())
}

fn wanted(enable: &Enable, world: &World, edit: &ConfigEdit) -> Result<Wanted, CommandError> {
    let ConfigEdit { home, file, .. } = edit;
    let here = world.cwd.as_deref().unwrap_or(home.path());
    let before = file.text(TRACKING_URI).and_then(|uri| Target::parse(&uri, here).ok());
    let target = match &enable.tracking_uri {
        Some(uri) => target_of(uri, here)?,
        None => before.clone().unwrap_or_else(|| Target::Sqlite(home.state().join("mlflow.db"))),
    };
    let uri = match (&target, &enable.tracking_uri) {
        // Keeps the address as typed: it may hold a user and password.
        (Target::Http(_) | Target::Otlp(_), Some(typed)) => typed.clone(),
        (Target::Http(_) | Target::Otlp(_), None) => file.text(TRACKING_URI).unwrap_or_else(|| target.uri()),
        _ => target.uri(),
    };
    if Target::parse(&uri, Path::new("/")).as_ref() != Ok(&target) {
        return Err(format!(
            "{} cannot be written down: its path is no UTF-8\n  hint: choose another folder with -u",
            clean(&uri)
        ));
    }
    let same_target = before.as_ref() == Some(&target);
    let (experiment, left_behind) = match (&enable.experiment_id, &enable.experiment_name) {
        (Some(id), _) => (Experiment::Id(id_of(id)?), None),
        (None, Some(name)) => (Experiment::Name(name_of(name)?), None),
        (None, None) => match (file.text(EXPERIMENT_NAME), file.text(EXPERIMENT_ID)) {
            (Some(name), _) => (Experiment::Name(name), None),
            (None, Some(id)) if same_target => (Experiment::Id(id), None),
            // Another target has other experiments under the same ids.
            (None, id) => (Experiment::Name(DEFAULT_EXPERIMENT.to_owned()), id),
        },
    };
    let sessions_dir = match &enable.sessions_dir {
        Some(folder) => folder_of(&here.join(folder))?,
        None => file.sessions_dir(home.path()).unwrap_or_else(|| home.sessions()),
    };
    let sessions_dir = sessions_dir.into_os_string().into_string().map_err(|folder| {
        format!(
            "{} cannot be written down: its name is no UTF-8\n  hint: choose another folder with -s",
            clean(folder.display())
        )
    })?;
    // A workspace that the file names stays there, and applies to the new server.
    let mut updated = file.clone();
    updated.set(TRACKING_URI, Some(&uri));
    let workspace = access::workspace_for(&target, &world.variables, &updated, here);
    let target = target.with_workspace(workspace);
    Ok(Wanted { target, uri, experiment, sessions_dir, left_behind })
}

pub(super) fn target_of(uri: &str, here: &Path) -> Result<Target, CommandError> {
    let refused = |what: &str| {
        format!(
            "{what}: \"{}\"\n  hint: accepted are http://HOST:PORT, https://HOST, databricks, databricks://PROFILE,\n        \
             otlp+http://HOST:4318, otlp+https://HOST, sqlite:///RELATIVE.db, sqlite:////ABSOLUTE.db, file:///ABSOLUTE,\n        \
             or a folder's path",
            clean(uri)
        )
    };
    // A shell expands a tilde only at the beginning of a word.
    if uri.split_once(":///").or(uri.split_once("://")).is_some_and(|(_, path)| path.starts_with("~/")) {
        return Err(refused("a tilde within a tracking URI stands for itself (write $HOME)"));
    }
    Target::parse(uri, here).map_err(|_| refused("not a tracking URI"))
}

pub(super) fn id_of(id: &str) -> Result<String, CommandError> {
    match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(id.to_owned()),
        false => Err(format!(
            "not an experiment's id: \"{}\"\n  hint: an id is a number, such as the 7 in MLflow's #/experiments/7; a name goes with -n",
            clean(id)
        )),
    }
}

pub(super) fn name_of(name: &str) -> Result<String, CommandError> {
    match !name.trim().is_empty() && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "not an experiment's name: \"{}\"\n  hint: a name is a line of text, such as codex-sessions",
            clean(name)
        )),
    }
}

fn folder_of(folder: &Path) -> Result<PathBuf, CommandError> {
    match folder.is_dir() {
        true => Ok(folder.strip_prefix(".").unwrap_or(folder).to_owned()),
        false => Err(format!(
            "not a folder: {}\n  hint: -s takes a folder of Codex's session files (rollout-….jsonl), such as ~/.codex/sessions",
            clean(folder.display())
        )),
    }
}

/// `found` is None with `--no-check`.
pub(super) fn experiment_text(experiment: &Experiment, found: Option<bool>) -> String {
    match (experiment, found) {
        (Experiment::Id(id), _) => format!("{} (by id)", clean(id)),
        (Experiment::Name(name), Some(false)) => format!("{} (made with the first trace)", clean(name)),
        (Experiment::Name(name), _) => clean(name),
    }
}

fn reachable_text(target: &Target, version: Option<&str>) -> Option<String> {
    match (target, version) {
        (Target::FileStore(_), _) => Some(
            "MLflow 3.14 and newer open a folder of files only with MLFLOW_ALLOW_FILE_STORE=true.".to_owned(),
        ),
        (Target::Http(_), Some(version)) => Some(format!("The server answers: {}.", clean(version))),
        (Target::Otlp(_), _) => {
            Some("A collector gets each turn as a trace of its own, when the turn has ended.".to_owned())
        }
        _ => None,
    }
}

/// A sentence for each variable of the environment that overrides the file.
pub(super) fn warnings(world: &World, edit: ConfigEdit) -> Vec<String> {
    let settings = Settings::with_file(world, &edit.home, (edit.file, FileState::Valid));
    let sources = [
        settings.tracing.source,
        settings.target.source,
        settings.experiment.source,
        settings.granularity.source,
    ];
    let mut names: Vec<&str> = sources.into_iter().filter_map(environment_name).collect();
    names.dedup();
    let switch = environment_name(settings.tracing.source).filter(|_| settings.tracing.value == Tracing::Off);
    let sentence = |name| {
        let so = if Some(name) == switch { ", and here it switches tracing off" } else { "" };
        format!(
            "Warning: {name} is set in this environment and comes before the file{so}; unset it to follow the file."
        )
    };
    names.into_iter().map(sentence).collect()
}

fn environment_name(source: Source) -> Option<&'static str> {
    match source {
        Source::Environment(name) => Some(name),
        Source::File | Source::Folder | Source::Default => None,
    }
}
