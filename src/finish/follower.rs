//! Completes traces of turns that still run when they end, or when their writer does.

use super::context::Context;
use super::open_turns::{OpenLaunch, OpenTurn};
use super::steps::{Spooled, spool_launch};
use crate::base::quiet::quietly;
use crate::claim::launch_record::Launch;
use codex_session::rollout::changes::Changes;
use codex_session::session::Tail;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long after a turn's end its trace is made. A command may outlive its turn by a moment, and Codex writes the end
/// in several lines.
const LINGER: Duration = Duration::from_millis(250);

/// The pace where no event comes: a rollout outside of Codex's home, a writer without a descriptor.
const PACE: Duration = Duration::from_secs(2);

/// Follows the open turns of launches.
pub(super) struct Follower<'c, 'w> {
    context: &'c mut Context<'w>,
    launches: Vec<(OpenLaunch, Vec<Followed>)>,
    changes: Changes,
}

/// One open turn.
struct Followed {
    turn: OpenTurn,
    tail: Tail,
    /// Readable when the writer ends.
    ending: Option<OwnedFd>,
}

impl Followed {
    fn new(turn: OpenTurn) -> Followed {
        Followed { tail: Tail::new(&turn.rollout), ending: turn.writer.ending(), turn }
    }

    /// Whether nothing will be added to it.
    fn is_over(&mut self) -> bool {
        // In this order: lines that precede the writer's end are read.
        let is_alive = self.turn.writer.is_alive();
        // The file may be archived or deleted by now.
        let is_there = self.tail.read().is_ok();
        !is_alive || !is_there || self.tail.is_at_rest()
    }
}

impl<'c, 'w> Follower<'c, 'w> {
    pub(super) fn new(context: &'c mut Context<'w>, launches: Vec<OpenLaunch>) -> Follower<'c, 'w> {
        let followed = |launch: &OpenLaunch| launch.turns.iter().cloned().map(Followed::new).collect();
        let launches = launches.into_iter().map(|launch| (followed(&launch), launch));
        let launches = launches.map(|(followed, launch)| (launch, followed)).collect();
        let changes = Changes::begin(context.home().path());
        Follower { context, launches, changes }
    }

    /// Until then, or until every turn has ended. `completed` is called after each change of a launch's traces.
    pub(super) fn run(mut self, until: Instant, mut completed: impl FnMut(&Context, &Launch)) {
        while !self.launches.is_empty() && Instant::now() < until {
            let over = self.launches.iter_mut().position(|(_, all)| all.iter_mut().any(Followed::is_over));
            let Some(over) = over else {
                self.wait(PACE);
                continue;
            };
            std::thread::sleep(LINGER);
            let (mut launch, _) = self.launches.remove(over);
            self.context.reread_settings();
            let spooled = spool_launch(&launch.launch, self.context);
            let _ = quietly(|| completed(self.context, &launch.launch));
            match spooled {
                Spooled::All => _ = fs::remove_file(&launch.record),
                Spooled::SoFar(turns) => {
                    launch.turns.clone_from(&turns);
                    self.launches.push((launch, turns.into_iter().map(Followed::new).collect()));
                }
                // The next launch tries again.
                Spooled::Not(_) => {}
            }
        }
    }

    fn wait(&mut self, patience: Duration) {
        let endings = self.launches.iter().flat_map(|(_, all)| all).filter_map(|one| one.ending.as_ref());
        let wakes = endings.map(AsFd::as_fd).chain(self.changes.wakes());
        let mut wakes: Vec<PollFd> = wakes.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let patience = self.changes.pace().map_or(patience, |pace| pace.min(patience));
        // Rounded up: an early wake would find nothing.
        let patience = PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut wakes, patience);
        self.changes.take();
    }
}
