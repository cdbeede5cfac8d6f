//! A session as it is now: its files are read as they grow, each line once, and its trace is built and redacted from them
//! as `show FILE` does.

use super::subject::Subject;
use crate::claim::thread_record::ThreadRecord;
use crate::command::CommandError;
use crate::finish::context::Context;
use crate::finish::gather;
use crate::settings::modes::Content;
use crate::trace::build::{TraceSource, build_family};
use codex_session::rollout::thread_files::{Parts, ThreadFiles};
use codex_session::session::family::Family;
use codex_session::session::model::Session;
use codex_session::session::{self, Tail, Writer};
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use mlflow_store::trace::Trace;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub(super) struct LiveSession<'a> {
    context: &'a Context<'a>,
    subject: Subject,
    shelf: ThreadFiles,
    /// The thread's own files. None when they have to be looked for.
    parts: Option<Parts>,
    readers: RefCell<HashMap<PathBuf, Reader>>,
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

/// What was read of a file.
enum Reader {
    Growing(Box<Tail>),
    /// A compressed file or an old document: Codex does not append to it.
    Whole(Metadata, Box<Session>),
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
            readers: RefCell::default(),
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
            if self.readers.borrow().contains_key(path) {
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
                self.readers.get_mut().retain(|path, _| path.exists());
                self.gathered(writer)
            }
            read => read,
        };
        let read = read.map_err(|(file, error)| format!("cannot read {}: {error}", file.display()))?;
        let Some((family, rollout)) = read else { return Ok(None) };
        self.members = family.members.iter().map(|member| member.session.meta.id.clone()).collect();
        let record = ThreadRecord::load(&self.context.paths.threads(), self.thread()).unwrap_or_default();
        let trace = build_family(&family, &record, TraceSource { rollout: &rollout, user: None });
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
        let LiveSession { context, subject, shelf, parts, readers, .. } = self;
        let home = context.home();
        let parts = &*parts.get_or_insert_with(|| match subject {
            Subject::Thread(thread) => shelf.files_of(thread, None),
            Subject::File(thread, file) => shelf.files_with(file, thread),
        });
        let is_last = |file: &Path| parts.last().is_some_and(|twins| twins.iter().any(|twin| twin == file));
        let read = |file: &Path, thread: Option<&ThreadId>| {
            let by_lock = || thread.map_or(Writer::Gone, |thread| gather::writer_of(thread, home));
            let writer = writer.filter(|_| is_last(file)).unwrap_or_else(by_lock);
            read(file, writer, &mut readers.borrow_mut())
        };
        let own = gather::session_of(subject.thread(), parts, &read)?;
        Ok(own.map(|own| gather::family(own, shelf, &read)))
    }
}

fn read(file: &Path, writer: Writer, readers: &mut HashMap<PathBuf, Reader>) -> io::Result<Session> {
    if file.extension().is_some_and(|extension| extension == "jsonl") {
        let reader =
            readers.entry(file.to_path_buf()).or_insert_with(|| Reader::Growing(Box::new(Tail::new(file))));
        if let Reader::Growing(tail) = reader {
            tail.read()?;
            return Ok(tail.session_with(writer));
        }
    }
    let metadata = fs::metadata(file)?;
    let is_same = |before: &Metadata| {
        before.len() == metadata.len() && before.modified().ok() == metadata.modified().ok()
    };
    if let Some(Reader::Whole(before, session)) = readers.get(file)
        && is_same(before)
    {
        return Ok((**session).clone());
    }
    let session = session::read(file, Writer::Gone)?;
    readers.insert(file.to_path_buf(), Reader::Whole(metadata, Box::new(session.clone())));
    Ok(session)
}
