//! `mlflow disable`: switches tracing off and keeps the other settings.

use super::CommandError;
use super::config_edit::ConfigEdit;
use super::text_layout::{counted, wrap};
use crate::base::world::World;
use crate::settings::file::FileState;
use crate::settings::modes::ENABLED;
use crate::settings::{Settings, Source, Tracing};
use std::fmt::Write;

pub(super) fn run(world: &World) -> Result<(), CommandError> {
    let mut edit = ConfigEdit::open(world)?;
    edit.file.set(ENABLED, Some("false"));
    let mut text = format!("Tracing is off.\n{}", edit.store()?);
    let settings = Settings::with_file(world, &edit.home, (edit.file, FileState::Valid));
    if let (Tracing::On, Source::Environment(name)) = (settings.tracing.value, settings.tracing.source) {
        let warning = format!(
            "Warning: {name} is set in this environment and comes before the file, so tracing goes on here; unset it."
        );
        let _ = writeln!(text, "{}", wrap(&warning, 0));
    }
    let waiting = crate::queue::spool(&crate::base::paths::Paths::new(&edit.home)).paths().len();
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
