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
use std::path::Path;
use std::time::Duration;

/// How long a command waits without a word for another one that reads the session files.
const SILENT: Duration = Duration::from_millis(300);

/// A first reading of a large home takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Opens the index, and reads the session files that are new or changed. A damaged index is made anew.
pub(super) fn open(context: &Context) -> Result<Index, CommandError> {
    let home = context.home();
    if !home.path().is_dir() {
        return Err(format!(
            "{} is no folder, so there is no session\n  hint: is CODEX_HOME the home that Codex writes to?",
            home.path().display()
        ));
    }
    // Without a salt that can be kept, no text is kept either.
    let redact =
        |text: &str| context.redactor().map_or_else(|_| Some(String::new()), |redactor| redactor.text(text));
    let further = [context.settings().sessions_dir.value.clone()];
    let sources = Sources { home, further: &further, redact: &redact, prices: context.prices() };
    let _lock = lock(&context.paths.folder().join(".lock-history"));
    let path = context.paths.history();
    let maker = maker(context);
    let index = match Index::open(&path, &maker) {
        Err(IndexError::Folder(..)) => Index::in_memory(),
        opened => opened,
    };
    let updated = match index.and_then(|index| update(index, &sources, context)) {
        Err(error) if error.is_damage() => {
            Index::make_anew(&path, &maker).and_then(|index| update(index, &sources, context))
        }
        updated => updated,
    };
    updated.map_err(|error| {
        format!("{error}\n  hint: {} may be removed; it is made anew from the session files", path.display())
    })
}

/// Another version may read session files otherwise, and other rules redact other texts.
fn maker(context: &Context) -> String {
    let rules = context.settings().file.redaction().map(ToString::to_string).unwrap_or_default();
    format!("{} {}", env!("CARGO_PKG_VERSION"), hex(&Sha256::digest(rules)))
}

fn update(mut index: Index, sources: &Sources, context: &Context) -> Result<Index, IndexError> {
    index.update(sources, |sessions| {
        let progress = Progress::choose(context.world, sessions);
        Box::new(move || progress.one_more())
    })?;
    Ok(index)
}

/// None where the folder takes no lock: two readers then do the same work.
fn lock(path: &Path) -> Option<disk::FileLock> {
    if let Some(lock) = disk::lock_within(path, SILENT).ok()? {
        return Some(lock);
    }
    notice::print(&"another codex-traced reads the session files; this one waits");
    disk::lock_within(path, PATIENCE).ok()?
}
