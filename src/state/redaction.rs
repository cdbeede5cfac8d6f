//! The one place where a session becomes a trace that may leave: without secrets, and with no more than its folder
//! and its settings allow.

use super::{State, StateError};
use crate::claim::record::ThreadRecord;
use crate::config::content::{Content, Folders};
use crate::config::file::ConfigFile;
use crate::session::model::Session;
use crate::trace::build::{Surroundings, build};
use crate::trace::redact::{Keep, Redacted, Redactor, Rules, Salt};
use std::path::{Path, PathBuf};

impl State {
    /// None when the session has nothing to show, or its folder wants no trace.
    pub(super) fn made(
        &self,
        session: &Session,
        record: &ThreadRecord,
        surroundings: Surroundings,
        asked: Content,
    ) -> Result<Option<Redacted>, StateError> {
        // Where the session was, which need not be where we are.
        let folders = session.meta.cwd.as_deref().map(|cwd| Folders::of(Path::new(cwd), &self.home));
        let folders = folders.unwrap_or_default();
        if let Some(file) = folders.off {
            tracing::info!(
                "thread {} was in a folder without traces, as {} says",
                session.meta.id,
                file.display()
            );
            return Ok(None);
        }
        let keep = match asked.max(folders.content()) {
            Content::Full => Keep::Everything,
            Content::Metadata => Keep::Figures,
        };
        let redactor = self.redactor()?;
        Ok(build(session, record, surroundings).map(|trace| redactor.redact(trace, keep)))
    }

    /// With the rules of the configuration as they are when the first trace is made.
    pub fn redactor(&self) -> Result<&Redactor, StateError> {
        if let Some(made) = self.redactor.get() {
            return Ok(made);
        }
        let path = self.salt();
        let salt = Salt::of(&path).map_err(|error| StateError::Salt(path, error))?;
        let (rules, problems) = self.rules();
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(self.redactor.get_or_init(|| Redactor::new(rules, salt)))
    }

    pub(super) fn salt(&self) -> PathBuf {
        self.folder.join("salt")
    }

    /// What of the configuration's rules cannot be followed, as sentences. It costs nothing where there are none.
    pub fn redaction_problems(&self) -> Vec<String> {
        let has_rules = ConfigFile::read(&self.home.config()).is_ok_and(|file| file.redaction().is_some());
        if has_rules { self.rules().1 } else { Vec::new() }
    }

    /// A configuration that cannot be read leaves ours, which count in any case.
    fn rules(&self) -> (Rules, Vec<String>) {
        let file = ConfigFile::read(&self.home.config()).unwrap_or_default();
        match file.redaction() {
            Some(redaction) => Rules::ours().and(redaction),
            None => (Rules::ours(), Vec::new()),
        }
    }
}
