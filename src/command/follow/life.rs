//! Whether a session may still go on: by the launches that claim it, and by the process that writes it.

use crate::base::paths::Paths;
use crate::claim::claims::launches_of;
use crate::claim::launch_record::{Launch, path_of};
use crate::finish::gather::writer_of;
use codex_session::session::Writer;
use codex_session::thread::ThreadId;
use launch::process::Life;

/// Knows the launches of a session also after they have ended.
#[derive(Debug)]
pub(super) struct SessionLife {
    thread: ThreadId,
    paths: Paths,
    launches: Vec<Launch>,
}

impl SessionLife {
    pub(super) fn new(thread: ThreadId, paths: Paths) -> SessionLife {
        let launches = launches_of(&thread, &paths);
        SessionLife { thread, paths, launches }
    }

    /// Whether a launch runs that may write a further turn.
    pub(super) fn has_launch(&self) -> bool {
        self.launches.iter().any(|launch| is_under_way(launch, &self.paths))
    }

    /// `has_open_turn`: as the session file shows it.
    pub(super) fn is_over(&mut self, has_open_turn: bool) -> bool {
        if self.launches.is_empty() {
            // A launch claims a session some time after its interface has begun it.
            self.launches = launches_of(&self.thread, &self.paths);
        }
        if self.has_launch() {
            return false;
        }
        let writer = writer_of(&self.thread, self.paths.home());
        if !is_over(!self.launches.is_empty(), writer, has_open_turn) {
            return false;
        }
        // Another launch may have resumed it. The search reads session files, so it is the last question.
        self.launches = launches_of(&self.thread, &self.paths);
        !self.has_launch()
    }
}

/// Without a launch that runs. After a launch Codex's daemon keeps the session open for as long as the daemon lives,
/// so only an open turn counts. Without any launch every writer may get a further prompt.
fn is_over(was_launched: bool, writer: Writer, has_open_turn: bool) -> bool {
    match (was_launched, writer) {
        (_, Writer::Gone) => true,
        (true, Writer::Alive) => !has_open_turn,
        (false, Writer::Alive) => false,
    }
}

/// Whether its Codex runs; where the record does not name it, whether its launcher does. A process of another container
/// cannot be seen, so the launch record decides: it goes when the traces are made.
fn is_under_way(launch: &Launch, paths: &Paths) -> bool {
    let process = launch.child.as_ref().unwrap_or(&launch.process);
    match process.life() {
        Life::Alive => true,
        Life::Gone => false,
        Life::Unknown => path_of(&paths.launches(), &launch.id).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::paths::CodexHome;
    use crate::base::world::World;
    use crate::claim::launch_record::{Destination, LaunchRecord, Note};
    use crate::claim::verdict::{Attribution, Claim};
    use crate::codex::command_line::SessionRequest;
    use jiff::Timestamp;
    use launch::process::Process;
    use mlflow_store::target::{Experiment, Target};
    use std::fs::{self, File};
    use std::process::{Command, Stdio};

    /// This process holds the thread's lock, as Codex's daemon does.
    #[test]
    fn a_launch_that_claims_the_session_later_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let world = World { home: Some(folder.path().to_owned()), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let paths = Paths::new(&home);
        let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
        fs::create_dir_all(home.writer_locks()).unwrap();
        let lock = File::create(home.writer_locks().join(format!("{thread}.lock"))).unwrap();
        lock.lock().unwrap();
        let mut life = SessionLife::new(thread.clone(), paths.clone());
        assert!(!life.is_over(false), "another Codex may get a further prompt");
        let destination =
            Destination { target: Target::Sqlite("/x.db".into()), experiment: Experiment::Name("e".into()) };
        let now = Timestamp::now();
        let launch = Launch::new(Process::current(), now, destination, SessionRequest::default());
        let mut codex = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut record = LaunchRecord::create(&paths.launches(), &launch).unwrap();
        record.note(&Note::Child(Process::from_id(codex.id()))).unwrap();
        record.note(&Note::Claim(Claim { thread, attribution: Attribution::Held })).unwrap();
        assert!(!life.is_over(false), "the launch runs");
        codex.kill().unwrap();
        codex.wait().unwrap();
        record.remove().unwrap();
        assert!(!life.is_over(true), "the daemon goes on with the turn");
        assert!(life.is_over(false));
    }

    #[test]
    fn a_daemon_keeps_a_launched_session_for_its_turn_and_every_writer_one_without_a_launch() {
        let table = [
            (true, Writer::Alive, true, false),
            (true, Writer::Alive, false, true),
            (true, Writer::Gone, true, true),
            (false, Writer::Alive, true, false),
            (false, Writer::Alive, false, false),
            (false, Writer::Gone, true, true),
        ];
        for (was_launched, writer, has_open_turn, expected) in table {
            let over = is_over(was_launched, writer, has_open_turn);
            assert_eq!(over, expected, "{was_launched} {writer:?} {has_open_turn}");
        }
    }
}
