//! Codex's home, with Codex's folders and this program's.

use crate::base::world::World;
use std::path::{Path, PathBuf};

/// `$CODEX_HOME`, else `~/.codex`. Not canonical: a link stays as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodexHome(PathBuf);

impl CodexHome {
    /// None when there is neither a variable nor a home folder: then Codex has nowhere to write either.
    pub fn from_world(world: &World) -> Option<CodexHome> {
        let set = world.variables.os("CODEX_HOME").map(PathBuf::from);
        let path = set.or_else(|| Some(world.home.as_ref()?.join(".codex")))?;
        // Codex may change its folder (`-C`); a relative home counts from the launcher's.
        let absolute = if path.is_absolute() { path } else { world.cwd.as_ref()?.join(path) };
        Some(CodexHome(absolute))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("mlflow_config.json")
    }

    pub fn sessions(&self) -> PathBuf {
        self.0.join("sessions")
    }

    /// One lock file per thread that has a writer (Codex 0.147 and later).
    pub fn writer_locks(&self) -> PathBuf {
        self.0.join("thread-writer-locks")
    }

    /// All files of this program.
    pub fn state(&self) -> PathBuf {
        self.0.join("mlflow")
    }
}
