//! Turns that still run in Codex's daemon: their traces are completed when they end, or when their writer does.

use super::context::Context;
use super::recover::OpenLaunch;
use super::steps::{Spooled, spool_launch};
use crate::base::codex_home::CodexHome;
use crate::base::quiet::quietly;
use crate::claim;
use crate::claim::launch_record::Launch;
use codex_session::rollout::changes::Changes;
use codex_session::rollout::path;
use codex_session::session::family::{Family, Member};
use codex_session::session::tail::Tail;
use codex_session::thread::ThreadId;
use launch::process::Process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long after a turn's end its trace is made. A command may outlive its turn by a moment, and Codex writes the end
/// in several lines.
const LINGER: Duration = Duration::from_millis(250);

/// The pace where no event comes: a rollout outside of Codex's home, a writer without a descriptor.
const PACE: Duration = Duration::from_secs(2);

/// A turn that a process may still end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTurn {
    pub rollout: PathBuf,
    pub writer: Process,
}

/// The daemon may continue a turn after its interface has ended, and a sub-agent after its parent's turn.
pub(super) fn open_turns(family: &Family, rollout: &Path, home: &CodexHome) -> Vec<OpenTurn> {
    let open = |member: &Member| {
        let thread = ThreadId::parse(&member.session.meta.id)?;
        let rollout = match member.parent {
            None => rollout.to_owned(),
            Some(_) => path::find(home.path(), &thread)?,
        };
        Some(OpenTurn { rollout, writer: claim::writer_of(home, &thread)? })
    };
    family.members.iter().filter(|member| member.session.is_running()).filter_map(open).collect()
}

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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::base::world::World;
    use codex_session::session::model::{Session, Turn, TurnStatus};
    use std::fs::File;

    #[test]
    fn a_sub_agent_that_outlives_its_parents_turn_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let world =
            World { variables: [("CODEX_HOME", folder.path().to_str().unwrap())].into(), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let [root, child] = ["01a202b6-a73e-7ee3-8243-251c871b1d4f", "01a202b6-ffff-7ee3-8243-251c871b1d4f"];
        let day = home.sessions().join("2026/11/22");
        fs::create_dir_all(&day).unwrap();
        let rollout = |thread: &str| day.join(format!("rollout-2026-11-22T10-04-14-{thread}.jsonl"));
        fs::write(rollout(child), "").unwrap();
        let session = |thread: &str, status| {
            let mut session =
                Session { turns: vec![Turn { status, ..Turn::default() }], ..Session::default() };
            session.meta.id = thread.into();
            session
        };
        let members = vec![
            Member { session: session(root, TurnStatus::Completed), parent: None },
            Member { session: session(child, TurnStatus::Running), parent: Some(0) },
        ];
        let open = || open_turns(&Family { members: members.clone() }, &rollout(root), &home);
        assert_eq!(open(), []);

        fs::create_dir_all(home.writer_locks()).unwrap();
        let lock = File::create(home.writer_locks().join(format!("{child}.lock"))).unwrap();
        lock.lock().unwrap();
        let open = open();
        let writers: Vec<_> = open.iter().map(|turn| (turn.rollout.clone(), turn.writer.id)).collect();
        assert_eq!(writers, [(rollout(child), std::process::id())]);
    }
}
