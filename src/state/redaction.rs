//! The one place where a session becomes a trace that may leave: without secrets, and with no more than its folder
//! and its settings allow.

use super::{State, StateError};
use crate::claim::record::ThreadRecord;
use crate::codex::thread::ThreadId;
use crate::config::content::{Content, Folders};
use crate::config::file::ConfigFile;
use crate::config::granularity::Granularity;
use crate::config::images::Images;
use crate::rollout::path;
use crate::session::family::Family;
use crate::trace::build::{Surroundings, build_family, build_turns};
use crate::trace::continued::build_continued;
use crate::trace::images::Images as SmallImages;
use crate::trace::redact::{Keep, Redacted, Redactor, Rules, Salt};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl State {
    /// How much of a session its folders and settings allow; None where a folder wants no trace. A session that was
    /// resumed elsewhere, and sub-agents, have several; and a link may lead below a folder that says something.
    pub(super) fn keep(&self, family: &Family, asked: Content) -> Option<Keep> {
        let mut content = asked;
        let told = family.members.iter().flat_map(|member| &member.session.folders).map(PathBuf::from);
        let told: BTreeSet<PathBuf> = told.collect();
        let real = told.iter().filter_map(|folder| folder.canonicalize().ok());
        for folder in real.chain(told.iter().cloned()).collect::<BTreeSet<_>>() {
            let said = Folders::of(&folder, &self.home);
            if let Some(file) = said.off {
                let thread = family.members.first().map_or("", |root| &root.session.meta.id);
                tracing::info!("thread {thread} was in a folder without traces, as {} says", file.display());
                return None;
            }
            content = content.max(said.content());
        }
        Some(match content {
            Content::Full => Keep::Everything,
            Content::Metadata => Keep::Figures,
        })
    }

    /// One of the whole session, or one of each turn; none where nobody asked anything.
    pub(super) fn made(
        &self,
        family: &Family,
        record: &ThreadRecord,
        granularity: Granularity,
        surroundings: Surroundings,
        keep: Option<Keep>,
        images: Images,
    ) -> Result<Vec<Redacted>, StateError> {
        let Some(keep) = keep else { return Ok(Vec::new()) };
        let redactor = self.redactor()?;
        let traces = match granularity {
            Granularity::Session => match self.part_of(family) {
                None => build_family(family, record, surroundings).into_iter().collect(),
                Some(part) => build_continued(family, part, record, surroundings).into_iter().collect(),
            },
            Granularity::Turn => build_turns(family, record, surroundings),
        };
        let redacted = traces.into_iter().map(|trace| redactor.redact(trace, keep));
        if images == Images::AsNotes || keep == Keep::Figures {
            return Ok(redacted.collect());
        }
        let shown = self.images_of(family, surroundings.rollout);
        Ok(redacted.map(|trace| trace.with_images(&shown)).collect())
    }

    /// Read from the files again: only few people ask for them, and a session would keep them all in memory.
    fn images_of(&self, family: &Family, rollout: &Path) -> SmallImages {
        let mut images = SmallImages::default();
        images.add_those_of(rollout);
        let others =
            family.members.iter().skip(1).filter_map(|member| ThreadId::parse(&member.session.meta.id));
        for file in others.filter_map(|thread| path::find(self.home.path(), &thread)) {
            images.add_those_of(&file);
        }
        images
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
