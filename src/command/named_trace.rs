//! The trace that an argument names, and where it was found: a local store, the spool, or a session file.

use super::CommandError;
use super::trace_argument::{self, Named};
use crate::claim::thread_record::ThreadRecord;
use crate::finish::context::Context;
use crate::finish::gather;
use crate::queue::spool::Spool;
use crate::queue::spool::entry::Entry;
use crate::queue::thread_history::{last_trace, newest_part};
use crate::queue::{receipts, spool};
use crate::settings::modes::Content;
use crate::trace::build::{TraceSource, build_family};
use codex_session::rollout::files::SessionFiles;
use codex_session::rollout::thread_files::ThreadFiles;
use codex_session::session::family::Family;
use codex_session::session::{self, Writer};
use codex_session::thread::ThreadId;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use mlflow_store::trace::Trace;
use mlflow_store::{file_store, sqlite};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The redacted trace, and the place where it was found. Without an argument, the newest trace.
pub(super) fn find(what: Option<&OsStr>, context: &Context) -> Result<(Trace, String), CommandError> {
    match what {
        None => {
            let trace = last_trace(&context.paths, context.settings().roles()).ok_or(
                "there is no trace yet\n  hint: run `codex-traced exec \"…\"`, or name a session file",
            )?;
            stored(trace, context)
        }
        Some(what) if Path::new(what).is_file() => {
            Ok((of_rollout(Path::new(what), context)?, format!("session file {}", Path::new(what).display())))
        }
        Some(what) => {
            let text = what.to_string_lossy();
            let named = trace_argument::by_name(&text, context)?.ok_or_else(|| {
                format!("{text} is neither a trace id (tr-…), a session id, nor a file\n  hint: `codex-traced mlflow list` shows the sessions")
            })?;
            named_by_id(named, context)
        }
    }
}

/// A session that no target of this machine has is read from its file.
fn named_by_id(named: Named, context: &Context) -> Result<(Trace, String), CommandError> {
    let newest = named.thread.map_or(named.trace, |thread| newest_part(&thread, &context.paths));
    match (stored(newest, context), named.file) {
        (Err(_), Some(file)) => Ok((of_rollout(&file, context)?, format!("session file {}", file.display()))),
        (found, _) => found,
    }
}

/// The session's file; None for the id of a trace.
pub(super) fn file_of(what: &OsStr, context: &Context) -> Result<Option<PathBuf>, CommandError> {
    let named = trace_argument::by_name(&what.to_string_lossy(), context)?;
    Ok(named.and_then(|named| named.file))
}

/// The newest version of the trace, from its store or from the spool.
fn stored(id: TraceId, context: &Context) -> Result<(Trace, String), CommandError> {
    // A session keeps the target of its first delivery.
    let receipts = receipts(&context.paths);
    let receipt = receipts.first(id, context.settings().roles()).or_else(|| receipts.all(id).pop());
    let target = receipt.map_or_else(|| context.settings().target.value.clone(), |receipt| receipt.target);
    let entries = spool(&context.paths).paths().into_iter().filter(|path| Spool::trace_of(path) == Some(id));
    let waiting = entries.filter_map(|path| {
        let trace = Trace::from(Entry::load(&path).ok()?.trace);
        Some((trace, format!("{} (waiting to be delivered)", path.display())))
    });
    let delivered = match &target {
        Target::Sqlite(path) => sqlite::read(path, id).map_err(|error| error.to_string()),
        Target::FileStore(root) => file_store::read(root, id).map_err(|error| error.to_string()),
        Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => {
            Err("this version shows traces from local stores only".to_owned())
        }
    };
    let delivered = delivered.map(|trace| Some((trace?, target.to_string())));
    let newest = waiting.chain(delivered.clone().ok().flatten()).max_by_key(|(trace, _)| trace.ended_at);
    newest.ok_or_else(|| match delivered {
        Ok(_) => format!("{id} is not in {target}\n  hint: name its session file to see it all the same"),
        Err(why) => {
            format!("cannot read {target}: {why}\n  hint: name the session file to see it all the same")
        }
    })
}

fn of_rollout(path: &Path, context: &Context) -> Result<Trace, CommandError> {
    let read = ReadSession::from_file(path, context)?;
    // Redacted as for a store, so that the output can be shared.
    read.trace(path, Content::Full, context)
}

/// A session as its files hold it: its texts are not redacted.
pub(super) struct ReadSession {
    pub(super) family: Family,
    pub(super) record: ThreadRecord,
    rollout: PathBuf,
}

impl ReadSession {
    pub(super) fn from_file(path: &Path, context: &Context) -> Result<ReadSession, CommandError> {
        let cannot = |file: &Path, error: &io::Error| format!("cannot read {}: {error}", file.display());
        // A Codex may still write the file, so an open turn counts as running.
        let read = |file: &Path, _: Option<&ThreadId>| session::read(file, Writer::Alive);
        let mut walk = SessionFiles::default();
        walk.add_file(path).map_err(|error| cannot(path, &error))?;
        let thread = walk.files.pop().map(|file| file.thread);
        let mut shelf = ThreadFiles::new(context.home().path())
            .with_folder(context.settings().sessions_dir.value.clone());
        let own = match &thread {
            Some(thread) => {
                let files = shelf.files_with(path, thread);
                gather::session_of(thread, &files, &read).map_err(|(file, error)| cannot(&file, &error))?
            }
            // The file names no thread.
            None => {
                let session = read(path, None).map_err(|error| cannot(path, &error))?;
                Some((session, path.to_path_buf()))
            }
        };
        let own = own.ok_or_else(|| no_turn(path))?;
        let record = thread
            .and_then(|thread| ThreadRecord::load(&context.paths.threads(), &thread).ok())
            .unwrap_or_default();
        let (family, rollout) = gather::family(own, &mut shelf, &read);
        Ok(ReadSession { family, record, rollout })
    }

    /// Its redacted trace, of the session's file at `path`.
    pub(super) fn trace(
        &self,
        path: &Path,
        content: Content,
        context: &Context,
    ) -> Result<Trace, CommandError> {
        let source = TraceSource { rollout: &self.rollout, user: None, prices: context.prices() };
        let trace = build_family(&self.family, &self.record, source).ok_or_else(|| no_turn(path))?;
        let redactor = context.redactor().map_err(|error| error.to_string())?;
        Ok(redactor.redact(trace, content).into())
    }
}

fn no_turn(path: &Path) -> CommandError {
    format!("{} holds no turn\n  hint: is it a session file of Codex (rollout-….jsonl)?", path.display())
}
