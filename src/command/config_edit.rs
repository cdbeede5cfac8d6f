//! A change of the configuration file, by `enable` and `disable`.

use super::CommandError;
use super::survey::missing_home;
use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::settings::file::{self, ConfigFile, FileState};
use common::disk;
use common::printable::clean;
use jiff::Timestamp;
use std::fmt::Write;
use std::io;

/// The configuration file, ready for a change.
pub(super) struct ConfigEdit {
    pub(super) home: CodexHome,
    pub(super) file: ConfigFile,
    pub(super) is_broken: bool,
}

impl ConfigEdit {
    /// Fails where `CODEX_HOME` names a missing folder: Codex refuses it, so the program does not create it.
    pub(super) fn open(world: &World) -> Result<ConfigEdit, CommandError> {
        let home = super::home(world)?;
        if let Some(problem) = missing_home(world, &home) {
            return Err(format!("{}\n  hint: make it, or unset CODEX_HOME to use ~/.codex", clean(problem)));
        }
        match ConfigFile::read(&home.config()) {
            (_, FileState::Unreadable(error)) => {
                Err(format!("{}\n  hint: look at its permissions (`ls -l`)", clean(error)))
            }
            (file, state) => Ok(ConfigEdit { home, file, is_broken: matches!(state, FileState::Broken(_)) }),
        }
    }

    /// Writes the file, and first copies a broken one. The lines for the user that name the files.
    pub(super) fn store(&self) -> Result<String, CommandError> {
        let path = self.home.config();
        let failed = |error: io::Error| {
            format!(
                "cannot write {}: {}\n  hint: look at the permissions of its folder, and at the disk (`df -h`)",
                clean(path.display()),
                disk::reason(&error)
            )
        };
        let aside = self.is_broken.then(|| file::keep_aside(&path, Timestamp::now()));
        let aside = aside.transpose().map_err(failed)?;
        self.file.store(&path).map_err(failed)?;
        let mut lines = format!("  written to    {}\n", clean(path.display()));
        if let Some(aside) = aside {
            let aside = clean(aside.display());
            let _ = writeln!(lines, "The file before was broken, and is kept as {aside}");
        }
        Ok(lines)
    }
}
