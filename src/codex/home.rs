//! Codex's home, and the folders in it that are Codex's and ours.

use crate::env::World;
use std::path::{Path, PathBuf};

/// `$CODEX_HOME`, else `~/.codex`. Not canonical: a link stays as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodexHome(PathBuf);

impl CodexHome {
    /// None when there is neither a variable nor a home folder: then Codex has nowhere to write either.
    pub fn of(world: &World) -> Option<CodexHome> {
        let told = world.variables.os("CODEX_HOME").map(PathBuf::from);
        let path = told.or_else(|| Some(world.home.as_ref()?.join(".codex")))?;
        // Codex may be told to change its folder (`-C`); a relative home means ours.
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

    /// Codex 0.147 and later: one lock file per thread that has a writer.
    pub fn writer_locks(&self) -> PathBuf {
        self.0.join("thread-writer-locks")
    }

    /// Everything of ours.
    pub fn state(&self) -> PathBuf {
        self.0.join("mlflow")
    }
}
