//! The redactor of a process, made for its first trace.

use super::{Redactor, Rules, Salt};
use crate::config::file::ConfigFile;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Made late, because a launcher makes no trace before Codex starts, and the rules cost milliseconds to compile.
#[derive(Debug)]
pub struct LazyRedactor {
    config: PathBuf,
    salt: PathBuf,
    made: OnceLock<Redactor>,
}

impl LazyRedactor {
    /// With the rules of this configuration file, and the salt of this file.
    pub fn new(config: PathBuf, salt: PathBuf) -> LazyRedactor {
        LazyRedactor { config, salt, made: OnceLock::new() }
    }

    /// The rules are those of the configuration file at the first call. Errors: the salt cannot be kept.
    pub fn get(&self) -> io::Result<&Redactor> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let salt = Salt::load_or_create(&self.salt)?;
        let (rules, problems) = self.rules();
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(self.made.get_or_init(|| Redactor::new(rules, salt)))
    }

    /// The rules of the configuration file that cannot be followed, as sentences. Nothing is compiled without such
    /// rules.
    pub fn problems(&self) -> Vec<String> {
        let has_rules = ConfigFile::read(&self.config).is_ok_and(|file| file.redaction().is_some());
        if has_rules { self.rules().1 } else { Vec::new() }
    }

    /// The built-in rules hold even where the configuration file cannot be read.
    fn rules(&self) -> (Rules, Vec<String>) {
        let file = ConfigFile::read(&self.config).unwrap_or_default();
        match file.redaction() {
            Some(redaction) => Rules::built_in().with_user_rules(redaction),
            None => (Rules::built_in(), Vec::new()),
        }
    }
}
