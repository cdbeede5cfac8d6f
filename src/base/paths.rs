//! Codex's home, and where codex-traced keeps its files in it: `$CODEX_HOME/mlflow`.

use super::world::World;
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

/// Codex's home and the folder of codex-traced in it. Nothing is read or made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    home: CodexHome,
    folder: PathBuf,
}

impl Paths {
    pub fn new(home: &CodexHome) -> Paths {
        Paths { home: home.clone(), folder: home.state() }
    }

    pub fn home(&self) -> &CodexHome {
        &self.home
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("codex_tracing.log")
    }

    /// One launch record for each launch that is not finished.
    pub fn launches(&self) -> PathBuf {
        self.folder.join("launches")
    }

    /// Held by the process that finishes the launches of others.
    pub fn launches_lock(&self) -> PathBuf {
        self.folder.join(".lock-launches")
    }

    /// One thread record for each thread that a launch wrote.
    pub fn threads(&self) -> PathBuf {
        self.folder.join("threads")
    }

    pub fn unclaimed(&self) -> PathBuf {
        self.folder.join("unclaimed.json")
    }

    /// A sentence of a finisher that no launcher printed; the next launcher prints it.
    pub fn notice(&self) -> PathBuf {
        self.folder.join("notice")
    }

    /// The targets whose introduction was printed.
    pub fn introduced(&self) -> PathBuf {
        self.folder.join("introduced")
    }

    /// What `mlflow setup` wrote.
    pub fn setup(&self) -> PathBuf {
        self.folder.join("setup.json")
    }

    /// The index of all sessions, which can be made again from their files.
    pub fn history(&self) -> PathBuf {
        self.folder.join("history.db")
    }

    /// The sessions that an import need not read again; a cache.
    pub fn imported(&self) -> PathBuf {
        self.folder.join("imported.json")
    }

    /// Held by the import that writes them.
    pub fn imported_lock(&self) -> PathBuf {
        self.folder.join(".lock-imported")
    }

    /// The price lists of `mlflow prices --update`.
    pub fn prices(&self) -> PathBuf {
        self.folder.join("prices.json")
    }

    /// Held by the update that writes them.
    pub fn prices_lock(&self) -> PathBuf {
        self.folder.join(".lock-prices")
    }

    pub fn receipts(&self) -> PathBuf {
        self.folder.join("receipts")
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// Of the placeholders that replace secrets.
    pub fn salt(&self) -> PathBuf {
        self.folder.join("salt")
    }
}
