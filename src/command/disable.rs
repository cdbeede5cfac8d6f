//! `mlflow disable`: switches tracing off and keeps the other settings.

use super::CommandError;
use super::config_edit::{ConfigEdit, aside_text, home, open, store};
use super::layout::{counted, wrap};
use crate::base::world::World;
use crate::settings::file::FileState;
use crate::settings::switch::ENABLED;
use crate::settings::{Settings, Source, Tracing};
use common::printable::clean;
use std::fmt::Write;

pub(super) fn run(world: &World) -> Result<(), CommandError> {
    let home = home(world)?;
    let path = home.config();
    let ConfigEdit { mut file, is_broken } = open(&path)?;
    file.set(ENABLED, Some("false"));
    let aside = store(&file, &path, is_broken)?;

    let mut text = String::from("Tracing is off.\n");
    let _ = writeln!(text, "  written to    {}", clean(path.display()));
    if let Some(aside) = aside {
        let _ = writeln!(text, "{}", aside_text(&aside));
    }
    let settings = Settings::with_file(world, &home, (file, FileState::Valid));
    if let (Tracing::On, Source::Environment(name)) = (settings.tracing.value, settings.tracing.source) {
        let warning = format!(
            "Warning: {name} is set in this environment and comes before the file, so tracing goes on here; unset it."
        );
        let _ = writeln!(text, "{}", wrap(&warning, 0));
    }
    let waiting = crate::queue::spool(&crate::base::paths::Paths::new(&home)).paths().len();
    if waiting > 0 {
        let traces = counted(waiting, "trace waits", "traces wait");
        let note = format!("{traces} on disk, to be delivered by `codex-traced mlflow sync`.");
        let _ = writeln!(text, "{}", wrap(&note, 0));
    }
    text.push_str("codex-traced now runs Codex and does nothing else. The other settings stay.\n");
    text.push_str("To switch on again: `codex-traced mlflow enable`.\n");
    super::print(&text);
    Ok(())
}
