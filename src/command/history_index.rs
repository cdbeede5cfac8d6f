//! The index of sessions, up to date: for `list`, `usage` and names of sessions.

use super::CommandError;
use super::progress::Progress;
use crate::base::notice;
use crate::finish::context::Context;
use crate::history::index::{Index, IndexError};
use crate::history::update::Sources;
use common::disk;
use common::printable::hex;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command waits without a word for another one that reads the session files.
const SILENT: Duration = Duration::from_millis(300);

/// A reading that takes longer shows its progress in a log.
const QUIET: Duration = Duration::from_secs(2);

/// A first reading of a large home takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Asks the index, after the session files that are new or changed were read. A damaged index is made anew; where the
/// home takes none, it is in memory, for this command only.
pub(super) fn ask<T>(
    context: &Context,
    question: impl Fn(&Index) -> Result<T, IndexError>,
) -> Result<T, CommandError> {
    let home = context.home();
    if !home.path().is_dir() {
        return Err(format!(
            "{} is no folder, so there is no session\n  hint: is CODEX_HOME the home that Codex writes to?",
            home.path().display()
        ));
    }
    let redact = |text: &str| context.redactor_for_output().text(text);
    let further = [context.settings().sessions_dir.value.clone()];
    let sources = Sources { home, further: &further, redact: &redact, prices: context.prices() };
    let _lock = lock(&context.paths.folder().join(".lock-history"));
    let (path, maker) = (context.paths.history(), maker(context));
    let answer = |index: Index| answer_of(index, &sources, context, &question);
    // Placeholders with a salt of one process must not stay.
    let kept = match context.redactor() {
        Ok(_) => Index::open(&path, &maker),
        Err(error) => Err(IndexError::Folder(context.paths.salt(), error)),
    };
    let answered = match kept.and_then(answer) {
        Err(error) if error.is_damage() => Index::make_anew(&path, &maker).and_then(answer),
        answered => answered,
    };
    let answered = match answered {
        Err(error) if error.is_of_disk() => {
            notice::print(&format!("{error}: the session files are read for this command only"));
            Index::in_memory().and_then(answer)
        }
        answered => answered,
    };
    answered.map_err(|error| {
        format!("{error}\n  hint: {} may be removed; it is made anew from the session files", path.display())
    })
}

fn answer_of<T>(
    mut index: Index,
    sources: &Sources,
    context: &Context,
    question: &impl Fn(&Index) -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    let unreadable = index.update(sources, |sessions| {
        let progress = Progress::choose(context.world, sessions, QUIET);
        Box::new(move || progress.one_more())
    })?;
    let answer = question(&index)?;
    let problems = unreadable.into_iter().chain(index.problems()?);
    name_first(&problems.collect::<Vec<_>>());
    Ok(answer)
}

/// Folders and files that cannot be read, so that their sessions are left out.
fn name_first(problems: &[(PathBuf, String)]) {
    let Some((path, why)) = problems.first() else { return };
    let others = match problems.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    notice::print(&format!("cannot read {}: {why}{others}", path.display()));
}

/// Another version may read session files otherwise, and other rules redact other texts.
fn maker(context: &Context) -> String {
    let rules = context.settings().file.redaction().map(ToString::to_string).unwrap_or_default();
    format!("{} {}", env!("CARGO_PKG_VERSION"), hex(&Sha256::digest(rules)))
}

/// None where the folder takes no lock: two readers then do the same work.
fn lock(path: &Path) -> Option<disk::FileLock> {
    if let Some(lock) = disk::lock_within(path, SILENT).ok()? {
        return Some(lock);
    }
    notice::print(&"another codex-traced reads the session files; this one waits");
    disk::lock_within(path, PATIENCE).ok()?
}
