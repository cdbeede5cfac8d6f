//! The spool's content for users: each entry with a short id to type, and the reason why it is still there.

use super::entry::Head;
use super::retry::{EntryTries, Pause};
use super::{Spool, SpoolError};
use crate::trace::ids::trace_of_thread;
use common::printable::hex;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// 8 hex digits, derived from the entry's file name; constant as long as the entry exists.
    pub id: String,
    pub path: PathBuf,
    pub trace: TraceId,
    /// None when the entry cannot be read.
    pub target: Option<Target>,
    pub bytes: u64,
    pub put_at: Option<Timestamp>,
    pub state: EntryState,
}

/// Why an entry is still in the spool.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryState {
    /// It was not tried, and its target does not pause.
    Waits,
    /// The entry or its target failed and pauses: number of failures, time and reason of the last one.
    Paused(Pause),
    /// It waits for a codex-traced that can read it.
    Unreadable(String),
    Quarantined(String),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    #[error("nothing in the spool is called {0}")]
    Unknown(String),
    #[error("{0} means {1} entries of the spool")]
    Ambiguous(String, usize),
}

impl Spool {
    /// Entries that wait, then entries in quarantine; each oldest first.
    pub fn list(&self) -> Vec<Listed> {
        let backoff = self.all_pauses();
        let waiting = self.paths().into_iter().filter_map(|path| {
            let head = Head::load(&path);
            let state = match &head {
                Ok(head) => {
                    let of_target = backoff.iter().find_map(|backoff| backoff.get(&head.target)).cloned();
                    let own = EntryTries::load(&path).map(|tries| tries.pause);
                    both(own, of_target).map_or(EntryState::Waits, EntryState::Paused)
                }
                Err(error) => EntryState::Unreadable(error.to_string()),
            };
            listed(path, head.map(|head| head.target), state)
        });
        let set_aside = self.quarantined().into_iter().filter_map(|path| {
            let reason = Spool::reason(&path).unwrap_or_else(|| "for a reason that was lost".into());
            let target = Head::load(&path).map(|head| head.target);
            listed(path, target, EntryState::Quarantined(reason))
        });
        waiting.chain(set_aside).collect()
    }

    pub fn drop_listed(listed: &Listed) -> Result<(), SpoolError> {
        match listed.state {
            EntryState::Quarantined(_) => Spool::drop_quarantined(&listed.path),
            EntryState::Waits | EntryState::Paused(_) | EntryState::Unreadable(_) => {
                Spool::remove(&listed.path)
            }
        }
    }
}

/// Joins the pauses of an entry and its target: a launch tries the entry when both have ended.
fn both(own: Option<Pause>, of_target: Option<Pause>) -> Option<Pause> {
    let (Some(own), Some(of_target)) = (&own, &of_target) else { return own.or(of_target) };
    let last = if own.since >= of_target.since { own } else { of_target };
    let (failures, until) = (own.failures.max(of_target.failures), own.until.max(of_target.until));
    Some(Pause { failures, until, ..last.clone() })
}

/// None when the entry is gone by now.
fn listed(path: PathBuf, target: Result<Target, SpoolError>, state: EntryState) -> Option<Listed> {
    if target.as_ref().is_err_and(SpoolError::is_gone) {
        return None;
    }
    let (trace, bytes) = (Spool::trace_of(&path)?, fs::metadata(&path).ok()?.len());
    let (id, put_at) = (id_of(&path), Spool::put_at(&path));
    Some(Listed { id, path, trace, target: target.ok(), bytes, put_at, state })
}

fn id_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    hex(&Sha256::digest(name.as_encoded_bytes())[..4])
}

/// The only entry with this id, trace id or session id.
pub fn named<'a>(name: &str, listed: &'a [Listed]) -> Result<&'a Listed, NotOne> {
    let (lower, session) = (name.to_ascii_lowercase(), trace_of_thread(&name.to_ascii_lowercase()));
    let is_meant =
        |entry: &&Listed| entry.id == lower || entry.trace.to_string() == lower || entry.trace == session;
    let found: Vec<&Listed> = listed.iter().filter(is_meant).collect();
    match found[..] {
        [] => Err(NotOne::Unknown(name.to_owned())),
        [only] => Ok(only),
        _ => Err(NotOne::Ambiguous(name.to_owned(), found.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::retry::{Against, Lane};
    use super::super::tests::{entry, failed, remote};
    use super::*;

    #[test]
    fn every_entry_is_listed_with_why_it_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let put = |second| spool.put(&entry("n"), Timestamp::from_second(second).unwrap()).unwrap();
        let (aside, later, waits) = (put(1), put(2), put(3));
        spool.quarantine(&aside, "too large").unwrap();
        fs::write(&later, "{\"version\":9}\n").unwrap();
        let states = |spool: &Spool| -> Vec<EntryState> {
            spool.list().into_iter().map(|listed| listed.state).collect()
        };
        let unreadable =
            EntryState::Unreadable("an entry of version 9, which a later codex-traced wrote".into());
        let set_aside = EntryState::Quarantined("too large".into());
        assert_eq!(states(&spool), [unreadable.clone(), EntryState::Waits, set_aside.clone()]);
        let pause = Pause::after(None, failed(Lane::Local, "away", Timestamp::UNIX_EPOCH));
        spool.backoff(&Lane::Local).set(&entry("n").target, Some(pause.clone())).unwrap();
        assert_eq!(states(&spool), [unreadable, EntryState::Paused(pause), set_aside]);

        let tries = |now| {
            let (at, reason) = (Timestamp::from_second(now).unwrap(), format!("refused at {now}"));
            EntryTries::after(None, Against::Trace, failed(remote(), &reason, at))
        };
        tries(100).write(&waits).unwrap();
        let EntryState::Paused(pause) = states(&spool).remove(1) else { panic!("it was tried") };
        assert_eq!((pause.failures, pause.reason.as_str()), (1, "refused at 100"));
        assert_eq!((pause.since.as_second(), pause.until.as_second()), (100, 130));

        let listed = spool.list();
        for entry in &listed {
            assert_eq!(named(&entry.id, &listed), Ok(entry));
            Spool::drop_listed(entry).unwrap();
        }
        assert_eq!((spool.list(), waits.exists()), (vec![], false));
    }

    #[test]
    fn an_ambiguous_or_unknown_name_selects_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        spool.put(&entry("n"), Timestamp::UNIX_EPOCH).unwrap();
        let one = spool.list();
        for name in ["tr-07070707070707070707070707070707", "07070707-0707-0707-0707-070707070707"] {
            assert_eq!(named(name, &one), Ok(&one[0]));
        }
        spool.put(&entry("n"), Timestamp::UNIX_EPOCH).unwrap();
        let (two, name) = (spool.list(), "tr-07070707070707070707070707070707");
        assert_eq!(named(name, &two), Err(NotOne::Ambiguous(name.into(), 2)));
        assert_eq!(named("ffff", &two), Err(NotOne::Unknown("ffff".into())));
        assert_eq!(named("", &two), Err(NotOne::Unknown("".into())));
    }
}
