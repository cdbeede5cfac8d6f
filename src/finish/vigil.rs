//! Waiting for turns that go on in Codex's daemon: a trace is completed when its turn ends, or its writer does.

use super::{Spooled, quietly, spool};
use crate::claim::journal::Launch;
use crate::env::World;
use crate::rollout::changes::Changes;
use crate::session::tail::Tail;
use crate::state::recover::Going;
use crate::state::{OpenTurn, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long after a turn's end its trace is made: a command may outlive its turn by a moment, and what Codex writes
/// at the end comes in several lines.
const LINGER: Duration = Duration::from_millis(250);

/// How often we look where nobody tells us: at a rollout outside of Codex's home, at a writer without a descriptor.
const PACE: Duration = Duration::from_secs(2);

pub(super) struct Vigil<'a> {
    state: &'a State,
    world: &'a World,
    going_on: Vec<(Going, Vec<Watched>)>,
    changes: Changes,
}

/// A turn that is waited for.
struct Watched {
    turn: OpenTurn,
    tail: Tail,
    /// Readable when the writer ends.
    ending: Option<OwnedFd>,
}

impl Watched {
    fn of(turn: OpenTurn) -> Watched {
        Watched { tail: Tail::of(&turn.rollout), ending: turn.writer.ending(), turn }
    }

    /// Nobody will add to it, or nothing is left to be added.
    fn is_over(&mut self) -> bool {
        // In this order: what was written before the writer's end is read.
        let is_alive = self.turn.writer.is_alive();
        // One that was archived or deleted meanwhile is looked for where it may be now.
        let is_there = self.tail.read().is_ok();
        !is_alive || !is_there || self.tail.is_at_rest()
    }
}

impl<'a> Vigil<'a> {
    pub(super) fn over(state: &'a State, world: &'a World, going_on: Vec<Going>) -> Vigil<'a> {
        let watched = |going: &Going| going.open.iter().cloned().map(Watched::of).collect();
        let going_on = going_on.into_iter().map(|going| (watched(&going), going));
        let going_on = going_on.map(|(watched, going)| (going, watched)).collect();
        Vigil { state, world, going_on, changes: Changes::begin(state.home().path()) }
    }

    /// Until then, or until every turn has ended. `completed` is called after each change of a launch's traces.
    pub(super) fn keep(mut self, until: Instant, mut completed: impl FnMut(&State, &Launch)) {
        while !self.going_on.is_empty() && Instant::now() < until {
            let over = self.going_on.iter_mut().position(|(_, all)| all.iter_mut().any(Watched::is_over));
            let Some(over) = over else {
                self.wait(PACE);
                continue;
            };
            std::thread::sleep(LINGER);
            let (mut going, _) = self.going_on.remove(over);
            let spooled = spool(self.state, self.world, &going.launch);
            let _ = quietly(|| completed(self.state, &going.launch));
            match spooled {
                Spooled::All => _ = fs::remove_file(&going.notes),
                Spooled::SoFar(open) => {
                    going.open.clone_from(&open);
                    self.going_on.push((going, open.into_iter().map(Watched::of).collect()));
                }
                // The next launch tries again.
                Spooled::Not(_) => {}
            }
        }
    }

    fn wait(&mut self, patience: Duration) {
        let endings = self.going_on.iter().flat_map(|(_, all)| all).filter_map(|one| one.ending.as_ref());
        let wakes = endings.map(AsFd::as_fd).chain(self.changes.wakes());
        let mut wakes: Vec<PollFd> = wakes.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let patience = self.changes.pace().map_or(patience, |pace| pace.min(patience));
        // Rounded up: to wake too soon would mean to look in vain.
        let patience = PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut wakes, patience);
        self.changes.take();
    }
}
