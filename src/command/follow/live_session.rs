//! A session as it is now: its files are read as they grow, each line once, and its trace is built and redacted from them
//! as `show FILE` does.

use super::subject::Subject;
use crate::claim::thread_record::ThreadRecord;
use crate::command::CommandError;
use crate::finish::context::Context;
use crate::finish::gather;
use crate::settings::modes::Content;
use crate::trace::build::{TraceSource, build_family};
use crate::tracer::session_cache::SessionCache;
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::session::Writer;
use codex_session::session::family::Family;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use mlflow_store::trace::Trace;
use std::collections::{BTreeSet, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub(super) struct LiveSession<'a> {
    context: &'a Context<'a>,
    subject: Subject,
    shelf: ThreadFiles,
    /// The thread's own files. None when they have to be looked for.
    parts: Option<Parts>,
    cache: SessionCache,
    /// The ids of the thread and of those that it started.
    members: HashSet<String>,
}

/// The redacted trace, and the session file that Codex appends to.
#[derive(Debug)]
pub(super) struct View {
    pub(super) trace: Trace,
    /// When the first turn began and ended. The root span of a session with one turn is longer: it begins with the thread.
    pub(super) first_turn: (Timestamp, Timestamp),
    pub(super) rollout: PathBuf,
}

impl<'a> LiveSession<'a> {
    pub(super) fn new(subject: Subject, context: &'a Context<'a>) -> LiveSession<'a> {
        let folder = context.settings().sessions_dir.value.clone();
        let members = HashSet::from([subject.thread().to_string()]);
        LiveSession {
            context,
            subject,
            shelf: ThreadFiles::new(context.home().path()).with_folder(folder),
            parts: None,
            cache: SessionCache::default(),
            members,
        }
    }

    pub(super) fn thread(&self) -> &ThreadId {
        self.subject.thread()
    }

    /// Whether one of these files, which were written to, belongs to the session.
    pub(super) fn has_changed(&mut self, written: &BTreeSet<PathBuf>) -> bool {
        let mut has_changed = false;
        for path in written {
            if self.cache.holds(path) {
                has_changed = true;
            } else if ThreadId::from_rollout_name(path).as_ref() == Some(self.subject.thread()) {
                // A rewind began a new file, or the thread came back from the archive.
                self.forget_files();
                has_changed = true;
            } else {
                let origin = self.shelf.origin_of(path);
                if self.members.iter().any(|member| origin.is_below(member)) {
                    self.shelf.relist();
                    has_changed = true;
                }
            }
        }
        has_changed
    }

    fn forget_files(&mut self) {
        self.shelf.relist();
        self.parts = None;
    }

    /// Reads what was added. `writer` is whether the session may still grow; None leaves it to its lock.
    /// Without a turn there is nothing to show yet.
    pub(super) fn read(&mut self, writer: Option<Writer>) -> Result<Option<View>, CommandError> {
        let read = match self.gathered(writer) {
            // A file was archived or compressed since it was found.
            Err((_, error)) if error.kind() == ErrorKind::NotFound => {
                self.forget_files();
                self.gathered(writer)
            }
            read => read,
        };
        let read = read.map_err(|(file, error)| format!("cannot read {}: {error}", file.display()))?;
        let Some((family, rollout)) = read else { return Ok(None) };
        self.members = family.members.iter().map(|member| member.session.meta.id.clone()).collect();
        let record = ThreadRecord::load(&self.context.paths.threads(), self.thread()).unwrap_or_default();
        let trace = build_family(
            &family,
            &record,
            TraceSource { rollout: &rollout, user: None, prices: self.context.prices() },
        );
        let Some(trace) = trace else { return Ok(None) };
        let first = family.members.first().and_then(|root| root.session.turns.first());
        let first_turn = (
            first.and_then(|turn| turn.started_at).unwrap_or(trace.started_at),
            first.and_then(|turn| turn.ended_at).unwrap_or(trace.ended_at),
        );
        let redactor = self.context.redactor().map_err(|error| error.to_string())?;
        Ok(Some(View { trace: redactor.redact(trace, Content::Full).into(), first_turn, rollout }))
    }

    fn gathered(
        &mut self,
        writer: Option<Writer>,
    ) -> Result<Option<(Family, PathBuf)>, (PathBuf, io::Error)> {
        let LiveSession { context, subject, shelf, parts, cache, .. } = self;
        let home = context.home();
        let parts = &*parts.get_or_insert_with(|| match subject {
            Subject::Thread(thread) => shelf.files_of(thread, None),
            Subject::File(thread, file) => shelf.files_with(file, thread),
        });
        let is_last = |file: &Path| parts.last().is_some_and(|twins| twins.iter().any(|twin| twin == file));
        let read = |file: &Path, thread: Option<&ThreadId>| {
            let by_lock = || thread.map_or(Writer::Gone, |thread| gather::writer_of(thread, home));
            let writer = writer.filter(|_| is_last(file)).unwrap_or_else(by_lock);
            cache.session_with(file, writer)
        };
        let own = gather::session_of(subject.thread(), parts, &read)?;
        Ok(own.map(|own| gather::family(own, shelf, &read)))
    }
}
