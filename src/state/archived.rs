//! Sessions that go on when their target has archived their trace: the later turns become a trace of their own.

use super::State;
use super::delivery::PATIENCE;
use super::families::{self, Own};
use super::found::Toward;
use super::lost::Answers;
use crate::claim::journal::Destination;
use crate::codex::thread::ThreadId;
use crate::config::granularity::Granularity;
use crate::env::World;
use crate::export::deliver::{Archived, Waiting};
use crate::rollout::shelf::Shelf;
use crate::session::family::Family;
use crate::spool::policy::{Lane, is_overtaken};
use crate::spool::{Spool, SpoolError};
use crate::trace::continued::{Continued, first_lacking};
use crate::trace::ids::TraceId;
use std::io;
use std::path::Path;

/// MLflow archives what is days old: a session that goes on for so long is none.
pub(super) const MOST_PARTS: usize = 100;

/// What became of an entry whose target has archived its trace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// The later turns are in the spool, as this trace.
    As(TraceId),
    /// The archive has all of it.
    Nowhere,
    /// Nothing can be made of it.
    SetAside(Vec<Waiting>),
}

impl State {
    /// The part of the session that is current; None for the session's own trace, where that is not archived, or
    /// holds all.
    pub(super) fn part_of(&self, family: &Family) -> Option<Continued> {
        let session = &family.members.first()?.session;
        let receipts = self.receipts();
        let (mut part, mut id) = (None, TraceId::of_thread(&session.meta.id));
        for number in 1..=MOST_PARTS {
            let Some(kept) = receipts.archived(id) else { break };
            let begin = part.map_or(0, |part: Continued| part.from);
            let has = |span| kept.receipt.spans.contains_key(&span);
            let from = first_lacking(family, begin, &has, kept.rank.ended_at);
            if from >= session.turns.len() {
                break;
            }
            part = Some(Continued { number, from, continues: id });
            id = TraceId::of_continuation(&session.meta.id, number);
        }
        part
    }

    /// The trace that holds the thread's last turns, as far as receipts tell.
    pub fn newest_part(&self, thread: &ThreadId) -> TraceId {
        let receipts = self.receipts();
        let mut id = TraceId::of_thread(thread.as_str());
        for number in 1..=MOST_PARTS {
            let next = TraceId::of_continuation(thread.as_str(), number);
            if receipts.archived(id).is_none() || !receipts.file_of(next).exists() {
                break;
            }
            id = next;
        }
        id
    }

    /// Puts what the archive lacks into the spool, and takes the entry out that cannot be delivered.
    pub(super) fn go_on(&self, archived: &Archived, world: &World) -> Result<GoesOn, SpoolError> {
        let Archived { trace, target, paths, reason } = archived;
        let Some(newest) = paths.last() else { return Ok(GoesOn::Nowhere) };
        let entry = Spool::load(newest)?;
        let Some(kept) = self.receipts().of(*trace, target) else {
            let why = format!("{reason}, and no receipt here says which of its turns are there");
            return self.no_way(archived, &why);
        };
        let thread = entry.trace.metadata.get("session").and_then(|thread| ThreadId::from_meta(thread));
        let destination = Destination { target: target.clone(), experiment: entry.experiment.clone() };
        let made = thread.and_then(|thread| {
            let mut shelf = Shelf::of(self.home.path());
            // An import may have found it outside of Codex's home.
            let file = entry.trace.metadata.get("session_file").map(Path::new).filter(|file| file.is_file());
            let files = match file {
                Some(file) => shelf.files_with(file, &thread),
                None => shelf.files_of(&thread, None),
            };
            let Own { session, rollout } = self.own_of(&thread, &files, &families::read).ok()??;
            let family = self.family(session, &rollout, &mut shelf, &families::read);
            let (granularity, answers) = (Granularity::Session, &Answers::default());
            let toward = Toward { destination: &destination, granularity, answers };
            self.found(&thread, &family, &rollout, toward, world).ok()?
        });
        let Some(made) = made else {
            let why = format!("{reason}, and its session file cannot be read any more");
            return self.no_way(archived, &why);
        };
        if made.traces.iter().any(|(made, _)| made.id == *trace) {
            if is_overtaken(kept.rank, Some(crate::spool::entry::Rank::of(&entry.trace))) {
                return self
                    .no_way(archived, &format!("{reason}, and what came later is no turn of its own"));
            }
            Spool::remove_all(paths)?;
            return Ok(GoesOn::Nowhere);
        }
        let id = made.traces.first().map(|(trace, _)| trace.id);
        self.put_found(made).map_err(|error| match error {
            super::StateError::Spool(_, error) => error,
            other => SpoolError::Io(io::Error::other(other.to_string())),
        })?;
        Spool::remove_all(paths)?;
        Ok(id.map_or(GoesOn::Nowhere, GoesOn::As))
    }

    fn no_way(&self, archived: &Archived, why: &str) -> Result<GoesOn, SpoolError> {
        let spool = self.spool();
        let Some(_lock) = spool.lock(Lane::of(&archived.target), PATIENCE)? else {
            let busy = "another codex-traced is delivering";
            return Err(SpoolError::Io(io::Error::new(io::ErrorKind::WouldBlock, busy)));
        };
        let aside = archived
            .paths
            .iter()
            .map(|path| Ok(Waiting { path: spool.put_aside(path, why)?, reason: why.to_owned() }));
        Ok(GoesOn::SetAside(aside.collect::<Result<_, SpoolError>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::home::CodexHome;
    use crate::config::target::{Experiment, Target};
    use crate::export::receipt::Receipt;
    use crate::export::receipts::Kept;
    use crate::session::{Writer, read};
    use crate::spool::entry::{Entry, Rank};
    use jiff::Timestamp;
    use std::fs;

    #[test]
    fn a_session_outside_of_codexs_home_goes_on_past_an_archive_too() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("codex");
        let world = World { variables: [("CODEX_HOME", home.to_str().unwrap())].into(), ..World::default() };
        let state = State::of(&CodexHome::of(&world).unwrap());
        let file = folder.path().join("kept.jsonl");
        let text = fs::read_to_string("tests/corpus/0.169.0/exec-json-resume-1.jsonl").unwrap();
        let target = Target::Http("http://a".into());
        let destination = Destination { target: target.clone(), experiment: Experiment::Name("e".into()) };
        let made = |lines: usize| {
            let part: String = text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
            fs::write(&file, part).unwrap();
            let family = Family::gather(read(&file, Writer::Gone).unwrap(), |_| Vec::new());
            let thread = ThreadId::from_meta(&family.members[0].session.meta.id).unwrap();
            let toward = Toward {
                destination: &destination,
                granularity: Granularity::Session,
                answers: &Answers::default(),
            };
            let found = state.found(&thread, &family, &file, toward, &world).unwrap().unwrap();
            (thread, found.traces.into_iter().next().unwrap().0)
        };
        let first_turn = text.lines().position(|line| line.contains("\"task_complete\"")).unwrap() + 1;
        let (thread, before) = made(first_turn);
        let (_, whole) = made(usize::MAX);
        let receipt = Receipt::of_trace(target.clone(), "1".into(), Timestamp::UNIX_EPOCH, &before);
        let receipt = Receipt { archived: true, ..receipt };
        state.receipts().keep(before.id, Kept { receipt, rank: Rank::of(&before), bytes: 1 }).unwrap();
        let trace = whole.id;
        let entry =
            Entry { target: target.clone(), experiment: destination.experiment.clone(), trace: whole };
        let path = state.spool().put(&entry, Timestamp::UNIX_EPOCH).unwrap();
        let archived = Archived { trace, target, paths: vec![path], reason: "archived".into() };
        let goes_on = state.go_on(&archived, &world).unwrap();
        assert_eq!(goes_on, GoesOn::As(TraceId::of_continuation(thread.as_str(), 1)));
        assert_eq!(state.spool().paths().len(), 1);
    }
}
