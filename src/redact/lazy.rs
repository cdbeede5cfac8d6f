//! The redactor of a process, made for its first trace.

use super::{Redactor, Rules, Salt};
use crate::settings::file::ConfigFile;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Made late, because a launcher makes no trace before Codex starts, and the rules cost milliseconds to compile.
#[derive(Debug)]
pub struct LazyRedactor {
    salt: PathBuf,
    made: OnceLock<Redactor>,
}

impl LazyRedactor {
    /// With the salt of this file.
    pub fn new(salt: PathBuf) -> LazyRedactor {
        LazyRedactor { salt, made: OnceLock::new() }
    }

    /// The first call decides by whose rules. Errors: the salt cannot be kept.
    pub fn get(&self, config: &ConfigFile) -> io::Result<&Redactor> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let salt = Salt::load_or_create(&self.salt)?;
        let (rules, problems) = rules(config);
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(self.made.get_or_init(|| Redactor::new(rules, salt)))
    }
}

/// The rules of the configuration file that cannot be followed, as sentences. Nothing is compiled without such rules.
pub fn problems(config: &ConfigFile) -> Vec<String> {
    if config.redaction().is_some() { rules(config).1 } else { Vec::new() }
}

/// The built-in rules hold even where the configuration file cannot be read.
fn rules(config: &ConfigFile) -> (Rules, Vec<String>) {
    match config.redaction() {
        Some(redaction) => Rules::built_in().with_user_rules(redaction),
        None => (Rules::built_in(), Vec::new()),
    }
}
