//! `mlflow enable --add` and `--remove`: targets that get traces in addition to the first one.

use super::config_edit::ConfigEdit;
use super::enable::{Refusal, experiment_text, id_of, name_of, target_of};
use super::survey::patience;
use crate::base::world::World;
use crate::cli::Enable;
use crate::settings::file::FileState;
use crate::settings::modes::{Content, ENABLED};
use crate::settings::{Settings, access};
use common::printable::clean;
use mlflow_store::target::{DEFAULT_EXPERIMENT, Experiment, Target};
use std::fmt::Write;
use std::path::Path;

/// Returns what to print. The command switches tracing on, as `enable` does.
pub(super) fn add(uri: &str, enable: &Enable, world: &World) -> Result<String, Refusal> {
    let mut edit = ConfigEdit::open(world).map_err(Refusal::File)?;
    let here = world.cwd.as_deref().unwrap_or(edit.home.path());
    let target = target_of(uri, here).map_err(Refusal::Usage)?;
    let before = Settings::with_file(world, &edit.home, (edit.file.clone(), FileState::Valid));
    if before.target.value.has_address_of(&target) {
        return Err(Refusal::Usage(format!(
            "traces go to {} already: it is the first target\n  hint: `codex-traced mlflow enable -u URI` changes that one",
            clean(uri)
        )));
    }
    // The address as typed: it may hold a user and password.
    let uri = if matches!(target, Target::Http(_) | Target::Otlp(_)) { uri.to_owned() } else { target.uri() };
    let (id, name) = (enable.experiment_id.as_deref(), enable.experiment_name.as_deref());
    let id = id.map(id_of).transpose().map_err(Refusal::Usage)?;
    let name = name.map(name_of).transpose().map_err(Refusal::Usage)?;
    let content = enable.content.filter(|content| !content.is_full());
    let keys = [
        ("tracking_uri", Some(&*uri)),
        ("experiment_name", name.as_deref()),
        ("experiment_id", id.as_deref()),
        ("content", content.as_ref().map(Content::as_str)),
        ("live", enable.live.map(|live| live.as_str())),
    ];
    edit.file.set_target(&keys, |known| is_at(known, &target, here));
    edit.file.set(ENABLED, Some("true"));
    let experiment = match (id, name) {
        (Some(id), _) => Experiment::Id(id),
        (None, name) => Experiment::Name(name.unwrap_or_else(|| DEFAULT_EXPERIMENT.to_owned())),
    };
    let found = match enable.no_check {
        true => None,
        false => {
            let access = access::with_file(world, &edit.file);
            let checked = mlflow_store::readiness(&target, &experiment, &access, patience());
            Some(checked.map_err(|error| Refusal::Target(clean(error)))?.experiment_id.is_some())
        }
    };
    let written = edit.store().map_err(Refusal::File)?;
    let mut page = String::from("Traces go to one more target.\n");
    let mut line = |label: &str, value: &str| _ = writeln!(page, "  {label:<13} {value}");
    line("first target", &clean(before.target.value.uri()));
    line("further one", &clean(&uri));
    if !target.is_append_only() {
        line("experiment", &experiment_text(&experiment, found));
    }
    line("content", before.content.value.max(content.unwrap_or_default()).as_str());
    page.push_str(&written);
    Ok(page)
}

/// Returns what to print. Traces that wait for the target still go there.
pub(super) fn remove(uri: &str, world: &World) -> Result<String, Refusal> {
    let mut edit = ConfigEdit::open(world).map_err(Refusal::File)?;
    let here = world.cwd.as_deref().unwrap_or(edit.home.path());
    let target = target_of(uri, here).map_err(Refusal::Usage)?;
    if !edit.file.remove_target(|known| is_at(known, &target, here)) {
        return Err(Refusal::Usage(format!(
            "{} is no further target\n  hint: `codex-traced mlflow status` lists them",
            clean(uri)
        )));
    }
    let written = edit.store().map_err(Refusal::File)?;
    Ok(format!("{} gets no more traces, except those that wait on disk for it.\n{written}", clean(uri)))
}

fn is_at(known: &str, target: &Target, here: &Path) -> bool {
    Target::parse(known, here).is_ok_and(|known| known.has_address_of(target))
}
