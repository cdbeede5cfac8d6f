//! What the steps from a session file to a trace share.

use crate::base::paths::Paths;
use crate::codex::home::CodexHome;
use crate::config::settings::Settings;
use crate::env::World;
use crate::trace::redact::LazyRedactor;
use std::sync::OnceLock;

/// One for each run of the program.
#[derive(Debug)]
pub struct Context<'w> {
    pub world: &'w World,
    pub paths: Paths,
    pub redactor: LazyRedactor,
    settings: OnceLock<Settings>,
}

impl<'w> Context<'w> {
    pub fn new(world: &'w World, home: &CodexHome) -> Context<'w> {
        let paths = Paths::new(home);
        let redactor = LazyRedactor::new(home.config(), paths.salt());
        Context { world, paths, redactor, settings: OnceLock::new() }
    }

    /// With settings that the caller has read.
    pub fn with_settings(self, settings: Settings) -> Context<'w> {
        Context { settings: OnceLock::from(settings), ..self }
    }

    /// Read once, at the first call.
    pub fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| Settings::read(self.world, self.paths.home()))
    }

    /// For a process that runs for hours: the user may have changed them.
    pub fn reread_settings(&mut self) {
        self.settings = OnceLock::new();
    }

    pub fn home(&self) -> &CodexHome {
        self.paths.home()
    }
}
