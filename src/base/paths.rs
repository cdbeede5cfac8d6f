//! Where codex-traced keeps its files: `$CODEX_HOME/mlflow`.

use crate::base::codex_home::CodexHome;
use std::path::{Path, PathBuf};

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
