//! What the steps from a session file to a trace share.

use super::price_files::LoadedPrices;
use crate::base::paths::{CodexHome, Paths};
use crate::base::user_name;
use crate::base::world::World;
use crate::redact::{Redactor, Salt};
use crate::settings::Settings;
use crate::trace::price_book::PriceBook;
use jiff::Timestamp;
use mlflow_store::target::access::Access;
use std::io;
use std::sync::OnceLock;

/// One for each run of the program.
pub struct Context<'w> {
    pub world: &'w World,
    pub paths: Paths,
    settings: OnceLock<Settings>,
    redactor: OnceLock<Redactor>,
    /// With a salt of this process.
    passing_redactor: OnceLock<Redactor>,
    prices: OnceLock<LoadedPrices>,
    user: OnceLock<String>,
}

impl<'w> Context<'w> {
    pub fn new(world: &'w World, home: &CodexHome) -> Context<'w> {
        Context {
            world,
            paths: Paths::new(home),
            settings: OnceLock::new(),
            redactor: OnceLock::new(),
            passing_redactor: OnceLock::new(),
            prices: OnceLock::new(),
            user: OnceLock::new(),
        }
    }

    pub fn home(&self) -> &CodexHome {
        self.paths.home()
    }

    /// The configuration file is read once, at the first call.
    pub fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| Settings::read(self.world, self.home()))
    }

    /// For a process that runs for hours: the user may have changed them. True if the configuration file differs, and
    /// with it the rules for secrets, or if the prices differ.
    pub fn reread_settings(&mut self) -> bool {
        let now = Settings::read(self.world, self.home());
        let is_changed = self.settings.get().is_some_and(|before| before.file != now.file);
        if is_changed {
            self.redactor = OnceLock::new();
        }
        self.settings = now.into();
        self.reread_prices() || is_changed
    }

    /// True if traces have other prices now.
    fn reread_prices(&mut self) -> bool {
        let is_stale = |loaded: &LoadedPrices| loaded.is_stale(&self.paths, &self.settings().file);
        if !self.prices.get().is_some_and(is_stale) {
            return false;
        }
        let before = self.prices.take();
        before.is_some_and(|before| before.book.fingerprint() != self.prices().fingerprint())
    }

    pub fn access(&self) -> Access {
        crate::settings::access::with_file(self.world, &self.settings().file)
    }

    /// Read for the first trace; a file that cannot be used becomes a problem.
    pub fn prices(&self) -> &PriceBook {
        &self.loaded_prices().book
    }

    /// Sentences about files of prices that cannot be used.
    pub fn price_problems(&self) -> &[String] {
        &self.loaded_prices().problems
    }

    fn loaded_prices(&self) -> &LoadedPrices {
        self.prices.get_or_init(|| {
            let loaded = LoadedPrices::load(&self.paths, &self.settings().file, Timestamp::now());
            loaded.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
            loaded
        })
    }

    /// The user that traces name. A directory service that does not answer is asked again for the next trace.
    pub fn user(&self) -> Option<&str> {
        if let Some(known) = self.user.get() {
            return Some(known);
        }
        let found = user_name::name(self.world)?;
        Some(self.user.get_or_init(|| found))
    }

    /// Made for the first trace, with the rules of that time: a launcher makes no trace before Codex starts.
    /// Errors: the salt of the placeholders cannot be kept.
    pub fn redactor(&self) -> io::Result<&Redactor> {
        if let Some(made) = self.redactor.get() {
            return Ok(made);
        }
        let salt = Salt::load_or_create(&self.paths.salt())?;
        // One thread of an import makes it, and the others wait.
        Ok(self.redactor.get_or_init(|| Redactor::from_config(&self.settings().file, salt)))
    }

    /// For texts that leave no file: where the salt cannot be kept, with a salt of this process.
    pub fn redactor_for_output(&self) -> &Redactor {
        let passing = || {
            let salt = Salt::random().unwrap_or_else(|_| Salt::new([0; 32]));
            Redactor::from_config(&self.settings().file, salt)
        };
        self.redactor().unwrap_or_else(|_| self.passing_redactor.get_or_init(passing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::variables::Variables;
    use std::fs;

    #[test]
    fn a_process_that_runs_for_hours_has_the_prices_of_an_update() {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::from([("CODEX_HOME", folder.path().to_str().unwrap())]);
        let world = World { variables, ..World::default() };
        let mut context = Context::new(&world, &CodexHome::from_world(&world).unwrap());
        let price = r#"{"tiers":{"standard":[[1,2,null,null]]}}"#;
        let update = format!(
            r#"{{"version":1,"lists":[{{"valid_from":"2027-01-01T00:00:00Z","source":"a","as_of":"2027-01-01","openai":{{"m":{price}}}}}]}}"#
        );
        let path = context.paths.prices();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(!context.reread_settings(), "no price was asked for yet");
        let before = context.prices().fingerprint().to_owned();
        fs::write(&path, &update).unwrap();
        assert_eq!(context.prices().fingerprint(), before);
        assert!(context.reread_settings());
        assert_ne!(context.prices().fingerprint(), before);
        assert!(!context.reread_settings(), "nothing changed since");
        // Other bytes with the same prices.
        fs::write(&path, update + " ").unwrap();
        assert!(!context.reread_settings());
    }
}
