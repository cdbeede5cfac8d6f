//! The one place where a session becomes a trace that may leave: without secrets, and with no more than its folder
//! and its settings allow.

use super::{State, StateError};
use crate::claim::record::ThreadRecord;
use crate::config::content::{Content, Folders};
use crate::config::file::ConfigFile;
use crate::config::granularity::Granularity;
use crate::session::family::Family;
use crate::trace::build::{Surroundings, build_family, build_turns};
use crate::trace::redact::{Keep, Redacted, Redactor, Rules, Salt};
use std::path::{Path, PathBuf};

impl State {
    /// None when nobody asked anything in the session, or its folder wants no trace.
    pub(super) fn made(
        &self,
        family: &Family,
        record: &ThreadRecord,
        surroundings: Surroundings,
        granularity: Granularity,
        asked: Content,
    ) -> Result<Vec<Redacted>, StateError> {
        let Some(session) = family.members.first().map(|member| &member.session) else {
            return Ok(Vec::new());
        };
        // Where the session was, which need not be where we are.
        let folders = session.meta.cwd.as_deref().map(|cwd| Folders::of(Path::new(cwd), &self.home));
        let folders = folders.unwrap_or_default();
        if let Some(file) = folders.off {
            tracing::info!(
                "thread {} was in a folder without traces, as {} says",
                session.meta.id,
                file.display()
            );
            return Ok(Vec::new());
        }
        let keep = match asked.max(folders.content()) {
            Content::Full => Keep::Everything,
            Content::Metadata => Keep::Figures,
        };
        let redactor = self.redactor()?;
        let traces = match granularity {
            Granularity::Session => build_family(family, record, surroundings).into_iter().collect(),
            Granularity::Turn => build_turns(family, record, surroundings),
        };
        Ok(traces.into_iter().map(|trace| redactor.redact(trace, keep)).collect())
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
