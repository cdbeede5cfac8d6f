//! The traces of a thread: one, or one for each of its turns, as it was first asked for.

use super::claims::Unwritten;
use super::families::{self, Own};
use super::{Made, OpenTurn, State, StateError};
use crate::claim::journal::Launch;
use crate::claim::record::{LaunchRecord, ThreadRecord};
use crate::claim::{self, Claim};
use crate::codex::thread::ThreadId;
use crate::config::content::Content;
use crate::config::granularity::Granularity;
use crate::config::images::Images;
use crate::config::settings::Settings;
use crate::env::{Variables, World};
use crate::export::receipt::Receipt;
use crate::rollout::path;
use crate::rollout::shelf::Shelf;
use crate::session::family::{Family, Member};
use crate::trace::build::Surroundings;
use crate::trace::ids::TraceId;
use nix::unistd::{Uid, User};
use std::io;
use std::path::Path;

impl State {
    /// None when the thread has nothing to show; the log says why.
    pub(super) fn traces(
        &self,
        claim: &Claim,
        launch: &Launch,
        world: &World,
    ) -> Result<Option<Made>, StateError> {
        let thread = &claim.thread;
        let mut shelf = Shelf::of(self.home.path());
        let files = match self.written_files_of(thread, &mut shelf, launch.started_at) {
            Ok(files) => files,
            Err(Unwritten::SinceThen) => {
                tracing::info!("thread {thread} was opened and nothing was written to it: no trace");
                return Ok(None);
            }
            // Without the folder no session was ever meant to be kept (`--ephemeral` on a new home).
            Err(Unwritten::AtAll) if !self.home.sessions().is_dir() => return Ok(None),
            Err(Unwritten::AtAll) => {
                tracing::warn!(
                    "thread {thread} left no rollout (it was never written, or is gone): no trace"
                );
                return Ok(None);
            }
        };
        let own = self.own_of(thread, &files, &families::read);
        let own = own.map_err(|(path, error)| StateError::Rollout(path, error))?;
        let Some(Own { session, rollout }) = own else { return Ok(None) };
        if let Some(parent) = session.meta.parent() {
            tracing::warn!("thread {thread} is a sub-agent of {parent}, which left no rollout: no trace");
            return Ok(None);
        }
        let record = self.remember(thread, claim, launch)?;
        let family = self.family(session, &rollout, &mut shelf, &families::read);
        let granularity = self.granularity_of(&record, thread, launch.granularity);
        let user = user(world);
        let surroundings = Surroundings { rollout: &rollout, user: user.as_deref() };
        let keep = self.keep(&family, record.content);
        let traces = self.made(&family, &record, granularity, surroundings, keep, self.images(world))?;
        let open = if traces.is_empty() { Vec::new() } else { self.open_turns(&family, &rollout) };
        Ok(Some(Made { traces, open }))
    }

    pub(super) fn images(&self, world: &World) -> Images {
        Settings::read(world, &self.home).images
    }

    /// The daemon may go on with a turn when its interface has ended, and a sub-agent when its parent's turn has.
    fn open_turns(&self, family: &Family, rollout: &Path) -> Vec<OpenTurn> {
        let open = |member: &Member| {
            let thread = ThreadId::parse(&member.session.meta.id)?;
            let rollout = match member.parent {
                None => rollout.to_owned(),
                Some(_) => path::find(self.home.path(), &thread)?,
            };
            Some(OpenTurn { rollout, writer: claim::writer_of(&self.home, &thread)? })
        };
        family.members.iter().filter(|member| member.session.is_running()).filter_map(open).collect()
    }

    /// As its first trace was.
    pub(super) fn granularity_of(
        &self,
        record: &ThreadRecord,
        thread: &ThreadId,
        asked: Granularity,
    ) -> Granularity {
        let receipts = self.receipts();
        let sent = |trace| receipts.first(trace).is_some();
        match record.granularity {
            Some(granularity) => granularity,
            None if record.destination.is_some() => Granularity::Session,
            None if sent(TraceId::of_thread(thread.as_str())) => Granularity::Session,
            None if sent(TraceId::of_turn(thread.as_str(), 1)) => Granularity::Turn,
            None => asked,
        }
    }

    /// Of the first trace of the thread that was taken anywhere.
    pub(super) fn first_receipt(&self, thread: &ThreadId) -> Option<Receipt> {
        let traces = [TraceId::of_thread(thread.as_str()), TraceId::of_turn(thread.as_str(), 1)];
        traces.into_iter().find_map(|trace| self.receipts().first(trace))
    }

    /// The thread's record, with this launch in it.
    fn remember(
        &self,
        thread: &ThreadId,
        claim: &Claim,
        launch: &Launch,
    ) -> Result<ThreadRecord, StateError> {
        let this = LaunchRecord {
            launch_id: launch.id.clone(),
            attribution: claim.attribution,
            started_at: launch.started_at,
            exit: launch.exit,
        };
        let change = |record: &mut ThreadRecord| {
            record.granularity = Some(self.granularity_of(record, thread, launch.granularity));
            record.content = record.content.max(launch.content);
            record.add(this.clone());
        };
        match ThreadRecord::update(&self.threads(), thread, change) {
            Ok(record) => Ok(record),
            // A later version may have written it: to write over it would lose it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                tracing::warn!("the record of thread {thread} cannot be read, and is left as it is: {error}");
                // What stands there may ask for less than all.
                let content = Content::Metadata;
                Ok(ThreadRecord { launches: vec![this], content, ..ThreadRecord::default() })
            }
            Err(error) => Err(StateError::Record(self.threads(), error)),
        }
    }
}

/// Who ran Codex, as Python's `getpass` finds it: MLflow's own clients name people so.
pub(super) fn user(world: &World) -> Option<String> {
    // Looked up late: a directory service may take its time, and Codex must not wait for it.
    let account = || User::from_uid(Uid::current()).ok().flatten().map(|user| user.name);
    named(&world.variables).map(str::to_owned).or_else(account)
}

fn named(variables: &Variables) -> Option<&str> {
    ["LOGNAME", "USER", "LNAME", "USERNAME"].into_iter().find_map(|name| variables.text(name))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::codex::home::CodexHome;
    use crate::session::model::{Session, Turn, TurnStatus};
    use std::fs::{self, File};

    #[test]
    fn the_user_is_who_pythons_getpass_finds() {
        let table = [
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "b"), ("LOGNAME", "a")], Some("a")),
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "b")], Some("b")),
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "")], Some("c")),
            (vec![("USERNAME", "d")], Some("d")),
            (vec![("LOGNAME", "")], None),
            (vec![], None),
        ];
        for (set, expected) in table {
            let variables = set.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            assert_eq!(named(&variables.collect()), expected, "{set:?}");
        }
        let account = User::from_uid(Uid::current()).unwrap().map(|user| user.name);
        assert_eq!(user(&World::default()), account);
    }

    #[test]
    fn a_sub_agent_that_outlives_its_parents_turn_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let world =
            World { variables: [("CODEX_HOME", folder.path().to_str().unwrap())].into(), ..World::default() };
        let home = CodexHome::of(&world).unwrap();
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
        let state = State::of(&home);
        let open = || state.open_turns(&Family { members: members.clone() }, &rollout(root));
        assert_eq!(open(), []);

        fs::create_dir_all(home.writer_locks()).unwrap();
        let lock = File::create(home.writer_locks().join(format!("{child}.lock"))).unwrap();
        lock.lock().unwrap();
        let open = open();
        let told: Vec<_> = open.iter().map(|turn| (turn.rollout.clone(), turn.writer.id)).collect();
        assert_eq!(told, [(rollout(child), std::process::id())]);
    }
}
