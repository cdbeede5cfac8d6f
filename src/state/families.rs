//! Sessions as they are traced: a thread out of all its files, and with it the threads that it started.

use super::State;
use crate::claim;
use crate::codex::thread::ThreadId;
use crate::rollout::shelf::{Parts, Shelf, rollout_of};
use crate::rollout::{files, path};
use crate::session::family::{Family, working_times};
use crate::session::model::Session;
use crate::session::{self, Writer, chain};
use jiff::Timestamp;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// Reads a session file. Who keeps one in memory need not read it again.
pub type Read<'a> = &'a dyn Fn(&Path, Writer) -> io::Result<Session>;

/// A thread's own session.
#[derive(Clone, Debug)]
pub struct Own {
    pub session: Session,
    /// The file that grows.
    pub rollout: PathBuf,
}

impl State {
    /// Who may still write to the thread, as far as can be told.
    pub fn writer_of(&self, thread: &ThreadId) -> Writer {
        if claim::writer_of(&self.home, thread).is_some() { Writer::Alive } else { Writer::Gone }
    }

    /// The thread whose trace holds what this one did: itself, or the one at the end of those that started it.
    pub fn root_of(&self, thread: &ThreadId) -> ThreadId {
        let (mut root, mut seen) = (thread.clone(), HashSet::new());
        while seen.insert(root.clone())
            && let Some(meta) = self.meta_of(&root)
            && meta.parent().is_some()
        {
            let by_session = meta.session_id.as_deref().filter(|session| *session != meta.id);
            let candidates = [by_session, meta.parent()].into_iter().flatten().filter_map(ThreadId::parse);
            match candidates.into_iter().find(|above| path::find(self.home.path(), above).is_some()) {
                Some(above) => root = above,
                None => break,
            }
        }
        root
    }

    fn meta_of(&self, thread: &ThreadId) -> Option<crate::rollout::line::SessionMeta> {
        files::meta_of(&path::find(self.home.path(), thread)?).ok()?
    }

    /// None for a thread without a file. `since` is when whoever asks began to look at it, if it was not always.
    pub fn own(
        &self,
        thread: &ThreadId,
        shelf: &mut Shelf,
        since: Option<Timestamp>,
        read: Read,
    ) -> Result<Option<Own>, (PathBuf, io::Error)> {
        let files = shelf.files_of(thread, since);
        self.own_of(thread, &files, read)
    }

    /// As `own`, of these files: the one way in which a session is made of its files, for every caller. Of twins,
    /// such as an older copy, the one that holds most counts. Only the last file can still be written to.
    pub fn own_of(
        &self,
        thread: &ThreadId,
        files: &Parts,
        read: Read,
    ) -> Result<Option<Own>, (PathBuf, io::Error)> {
        let (mut parts, mut rollout) = (Vec::new(), PathBuf::new());
        for (place, twins) in (1..).zip(files) {
            let writer = if place == files.len() { self.writer_of(thread) } else { Writer::Gone };
            let Some((session, file)) = fullest(twins, writer, read)? else { continue };
            parts.push(session);
            rollout = file;
        }
        Ok(chain::join(parts).map(|session| Own { session, rollout }))
    }

    /// The session with those that it started, which lie in Codex's home, or beside its file.
    pub fn family(&self, own: Session, rollout: &Path, shelf: &mut Shelf, read: Read) -> Family {
        Family::gather(own, |parent| {
            let made = shelf.made_within(&working_times(parent), rollout.parent());
            let threads = made.into_iter().filter(|file| {
                let meta = files::meta_of(file).ok().flatten();
                meta.is_some_and(|meta| {
                    meta.parent() == Some(&parent.meta.id)
                        || meta.session_id.as_ref() == Some(&parent.meta.id)
                })
            });
            let read = |file: PathBuf| {
                let thread = path::thread_of(&file)?;
                let writer = self.writer_of(&thread);
                read(&file, writer)
                    .inspect_err(|error| tracing::warn!("cannot read {}: {error}", file.display()))
                    .ok()
            };
            // Nobody rewinds a sub-agent; a copy beside the parent's file is the same.
            let mut seen = HashSet::new();
            threads.filter(|file| seen.insert(rollout_of(file))).filter_map(read).collect()
        })
    }
}

/// One that cannot be read counts only where no twin can.
fn fullest(
    twins: &[PathBuf],
    writer: Writer,
    read: Read,
) -> Result<Option<(Session, PathBuf)>, (PathBuf, io::Error)> {
    let (mut fullest, mut failure): (Option<(Session, PathBuf)>, _) = (None, None);
    let held = |session: &Session| (session.last_line_at, session.inferences().count(), session.turns.len());
    for file in twins {
        match read(file, writer) {
            Ok(session) if fullest.as_ref().is_some_and(|(best, _)| held(best) >= held(&session)) => {}
            Ok(session) => fullest = Some((session, file.clone())),
            Err(error) => failure = Some((file.clone(), error)),
        }
    }
    match (fullest, failure) {
        (None, Some(failure)) => Err(failure),
        (fullest, _) => Ok(fullest),
    }
}

/// From the disk.
pub fn read(file: &Path, writer: Writer) -> io::Result<Session> {
    session::read(file, writer)
}
