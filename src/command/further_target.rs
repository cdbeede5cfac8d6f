//! `mlflow enable --add` and `--remove`: targets that get traces in addition to the first one.

use super::CommandError;
use super::config_edit::ConfigEdit;
use super::enable::{Refusal, experiment_text, id_of, name_of, target_of, warnings};
use super::survey::patience;
use super::text_layout::{counted, wrap};
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::cli::Enable;
use crate::queue::spool;
use crate::settings::file::{ConfigFile, FileState};
use crate::settings::modes::ENABLED;
use crate::settings::{Settings, Source, access};
use common::printable::clean;
use mlflow_store::target::{TRACKING_URI, Target};
use std::fmt::Write;
use std::path::Path;

/// Returns what to print. The command switches tracing on, as `enable` does, and leaves the first target as it is: a
/// server that only the environment names gets no consent by it.
pub(super) fn add(uri: &str, enable: &Enable, world: &World) -> Result<String, Refusal> {
    let mut edit = ConfigEdit::open(world).map_err(Refusal::File)?;
    let here = world.cwd.as_deref().unwrap_or(edit.home.path());
    let target = target_of(uri, here).map_err(Refusal::Usage)?;
    let before = settings_of(&edit, world).target;
    if edit.file.text(TRACKING_URI).is_none() && !matches!(before.source, Source::Environment(_)) {
        edit.file.set(TRACKING_URI, Some(&before.value.uri()));
    }
    edit.file.set(ENABLED, Some("true"));
    // The address as typed: it may hold a user and password.
    let uri = if matches!(target, Target::Http(_) | Target::Otlp(_)) { uri.to_owned() } else { target.uri() };
    set_entry(&uri, &target, enable, &mut edit.file, here).map_err(Refusal::Usage)?;
    let after = settings_of(&edit, world);
    if after.target.value.has_address_of(&target) {
        return Err(Refusal::Usage(format!(
            "traces go to {} already: it is the first target\n  hint: `codex-traced mlflow enable -u URI` changes that one",
            clean(uri)
        )));
    }
    let added = after.further.iter().find(|one| one.target.has_address_of(&target));
    let added = added.ok_or_else(|| Refusal::Usage(format!("{} cannot be a further target", clean(&uri))))?;
    let found = match enable.no_check {
        true => None,
        false => {
            let access = access::with_file(world, &edit.file);
            let checked = mlflow_store::readiness(&added.target, &added.experiment, &access, patience());
            Some(checked.map_err(|error| Refusal::Target(clean(error)))?.experiment_id.is_some())
        }
    };
    let written = edit.store().map_err(Refusal::File)?;
    let mut page = String::from("Traces go to one more target.\n");
    let mut line = |label: &str, value: &str| _ = writeln!(page, "  {label:<13} {value}");
    line("first target", &clean(after.target.value.uri()));
    line("further one", &clean(&uri));
    if !target.is_append_only() {
        line("experiment", &experiment_text(&added.experiment, found));
    }
    line("content", after.content.value.max(added.content).as_str());
    page.push_str(&written);
    for warning in warnings(world, edit) {
        let _ = writeln!(page, "{}", wrap(&warning, 0));
    }
    Ok(page)
}

fn settings_of(edit: &ConfigEdit, world: &World) -> Settings {
    Settings::with_file(world, &edit.home, (edit.file.clone(), FileState::Valid))
}

/// Changes what the command names, and keeps the rest of an entry that is there.
fn set_entry(
    uri: &str,
    target: &Target,
    enable: &Enable,
    file: &mut ConfigFile,
    here: &Path,
) -> Result<(), CommandError> {
    let id = enable.experiment_id.as_deref().map(id_of).transpose()?;
    let name = enable.experiment_name.as_deref().map(name_of).transpose()?;
    let mut keys = vec![("tracking_uri", Some(uri))];
    if id.is_some() || name.is_some() {
        keys.extend([("experiment_name", name.as_deref()), ("experiment_id", id.as_deref())]);
    }
    keys.extend(enable.content.as_ref().map(|content| ("content", Some(content.as_str()))));
    keys.extend(enable.live.map(|live| ("live", Some(live.as_str()))));
    file.set_target(&keys, |known| is_at(known, target, here));
    Ok(())
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
    let mut page = format!("{} gets no more traces.\n{written}", clean(uri));
    let waiting = spool(&Paths::new(&edit.home)).list().into_iter();
    let of_it = waiting.filter(|one| one.target.as_ref().is_some_and(|known| known.has_address_of(&target)));
    let count = of_it.count();
    if count > 0 {
        let traces = counted(count, "trace waits", "traces wait");
        let note = format!(
            "{traces} on disk for it, and its \"environment\" is gone: `codex-traced mlflow sync` still tries; \
             `codex-traced mlflow sync --list` shows them, `--drop ID` removes one."
        );
        let _ = writeln!(page, "{}", wrap(&note, 0));
    }
    Ok(page)
}

fn is_at(known: &str, target: &Target, here: &Path) -> bool {
    Target::parse(known, here).is_ok_and(|known| known.has_address_of(target))
}
