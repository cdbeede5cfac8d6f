//! A change of the configuration file, by `enable` and `disable`.

use super::CommandError;
use super::survey::missing_home;
use crate::base::codex_home::CodexHome;
use crate::base::world::World;
use crate::settings::file::{self, ConfigFile, FileState};
use common::disk;
use common::printable::clean;
use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration file, ready for a change.
pub(super) struct ConfigEdit {
    pub(super) file: ConfigFile,
    /// `store` copies the broken file before it writes the new one.
    pub(super) is_broken: bool,
}

pub(super) fn open(path: &Path) -> Result<ConfigEdit, CommandError> {
    match ConfigFile::read(path) {
        (_, FileState::Unreadable(error)) => {
            Err(format!("{}\n  hint: look at its permissions (`ls -l`)", clean(error)))
        }
        (file, state) => Ok(ConfigEdit { file, is_broken: matches!(state, FileState::Broken(_)) }),
    }
}

/// The path of the copy of a broken file.
pub(super) fn store(
    file: &ConfigFile,
    path: &Path,
    is_broken: bool,
) -> Result<Option<PathBuf>, CommandError> {
    let failed = |error: io::Error| {
        format!(
            "cannot write {}: {}\n  hint: look at the permissions of its folder, and at the disk (`df -h`)",
            clean(path.display()),
            disk::reason(&error)
        )
    };
    let aside = is_broken.then(|| file::keep_aside(path, Timestamp::now())).transpose().map_err(failed)?;
    file.store(path).map_err(failed)?;
    Ok(aside)
}

pub(super) fn aside_text(aside: &Path) -> String {
    format!("The file before was broken, and is kept as {}", clean(aside.display()))
}

/// Codex's home. Fails where `CODEX_HOME` names a missing folder: Codex refuses it, so the program does not create it.
pub(super) fn home(world: &World) -> Result<CodexHome, CommandError> {
    let home = super::home(world)?;
    match missing_home(world, &home) {
        None => Ok(home),
        Some(problem) => {
            Err(format!("{}\n  hint: make it, or unset CODEX_HOME to use ~/.codex", clean(problem)))
        }
    }
}
