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
            let Own { session, rollout } = self.own(&thread, &mut shelf, None, &families::read).ok()??;
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
            other => SpoolError::Io(std::io::Error::other(other.to_string())),
        })?;
        Spool::remove_all(paths)?;
        Ok(id.map_or(GoesOn::Nowhere, GoesOn::As))
    }

    fn no_way(&self, archived: &Archived, why: &str) -> Result<GoesOn, SpoolError> {
        let spool = self.spool();
        let Some(_lock) = spool.lock(Lane::of(&archived.target), PATIENCE)? else {
            return Ok(GoesOn::SetAside(Vec::new()));
        };
        let aside = archived
            .paths
            .iter()
            .map(|path| Ok(Waiting { path: spool.put_aside(path, why)?, reason: why.to_owned() }));
        Ok(GoesOn::SetAside(aside.collect::<Result<_, SpoolError>>()?))
    }
}
