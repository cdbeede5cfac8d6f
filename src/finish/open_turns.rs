//! Turns that still run in Codex's daemon, and the launches that they belong to.

use crate::base::paths::CodexHome;
use crate::claim;
use crate::claim::launch_record::Launch;
use crate::claim::launches::LaunchLock;
use codex_session::rollout::path;
use codex_session::session::family::{Family, Member};
use codex_session::thread::ThreadId;
use launch::process::Process;
use std::path::{Path, PathBuf};

/// A turn that a process may still end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTurn {
    pub rollout: PathBuf,
    pub writer: Process,
}

/// A launch with turns that still run. No other process finishes it while this exists.
#[derive(Debug)]
pub struct OpenLaunch {
    pub launch: Launch,
    /// The launch record.
    pub record: PathBuf,
    pub turns: Vec<OpenTurn>,
    pub lock: LaunchLock,
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::base::world::World;
    use codex_session::session::model::{Session, Turn, TurnStatus};
    use std::fs::{self, File};

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
                Session { turns: vec![Turn { status, ..Turn::default() }.into()], ..Session::default() };
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
