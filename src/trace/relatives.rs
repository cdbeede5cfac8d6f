//! A session and its sub-agents, as members of one family.

use super::launches::with_failed_turns;
use crate::claim::thread_record::ThreadRecord;
use codex_session::session::family::{Family, StartedBy, started_by};
use codex_session::session::model::Session;
use std::borrow::Cow;

/// A member of the family, with the index of its parent.
#[derive(Clone, Copy)]
pub(super) struct Relative<'a> {
    pub(super) session: &'a Session,
    pub(super) parent: Option<usize>,
}

/// The session itself, with the turns failed that a failed launch left without an answer.
pub(super) fn root_session<'a>(family: &'a Family, record: &ThreadRecord) -> Option<Cow<'a, Session>> {
    family.members.first().map(|member| with_failed_turns(&member.session, record))
}

/// The family's members. `root` replaces the first one.
pub(super) fn relatives_of<'a>(family: &'a Family, root: Option<&'a Session>) -> Vec<Relative<'a>> {
    let members = family.members.iter().enumerate();
    let session = |at, own| root.filter(|_| at == 0).unwrap_or(own);
    members.map(|(at, it)| Relative { session: session(at, &it.session), parent: it.parent }).collect()
}

/// For each relative, the index of the session's turn that it descends from.
pub(super) fn turn_indices(relatives: &[Relative]) -> Vec<usize> {
    let mut turns = vec![0; relatives.len()];
    for (index, relative) in relatives.iter().enumerate() {
        turns[index] = match relative.parent {
            None => 0,
            Some(0) => match started_by(relative.session, relatives[0].session) {
                StartedBy::Call { turn, .. } | StartedBy::Turn(turn) => turn,
                StartedBy::Thread => 0,
            },
            Some(parent) => turns[parent],
        };
    }
    turns
}
