//! Sessions that continue after their target has archived their trace: the later turns become a trace of their own.

use super::context::Context;
use super::gather;
use super::imported::{Imported, import_for};
use crate::claim::launch_record::Destination;
use crate::queue::drain::{Archived, Waiting};
use crate::queue::put::PutError;
use crate::queue::spool::entry::{Entry, Rank};
use crate::queue::spool::retry::Lane;
use crate::queue::spool::{PATIENCE, Spool, SpoolError};
use crate::queue::{receipts, spool};
use codex_session::rollout::thread_files::ThreadFiles;
use codex_session::thread::ThreadId;
use mlflow_store::ids::TraceId;
use std::path::Path;

/// What became of an entry whose target has archived its trace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ArchivedOutcome {
    /// The later turns are in the spool, as this trace.
    As(TraceId),
    /// The archive has all of it.
    Nothing,
    /// No trace of the later turns can be made.
    SetAside(Vec<Waiting>),
}

/// Puts the turns that the archive lacks into the spool, and removes the entry that cannot be delivered.
pub(super) fn continue_archived(
    archived: &Archived,
    context: &Context,
) -> Result<ArchivedOutcome, SpoolError> {
    let Archived { trace, target, paths, reason } = archived;
    let Some(newest) = paths.last() else { return Ok(ArchivedOutcome::Nothing) };
    let entry = Entry::load(newest)?;
    let set_aside = |why: &str| set_aside(archived, &format!("{reason}, and {why}"), context);
    let Some(kept) = receipts(&context.paths).get(*trace, target) else {
        return set_aside("no receipt here says which of its turns are there");
    };
    let Some(made) = later_turns(&entry, context) else {
        return set_aside("its session file cannot be read any more");
    };
    if made.traces.iter().any(|(made, _)| made.id == *trace) {
        if kept.rank < Rank::from_trace(&entry.trace) {
            return set_aside("what came later is no turn of its own");
        }
        Spool::remove_all(paths)?;
        return Ok(ArchivedOutcome::Nothing);
    }
    let id = made.traces.first().map(|(trace, _)| trace.id);
    made.put(context).map_err(|PutError(_, error)| error)?;
    Spool::remove_all(paths)?;
    Ok(id.map_or(ArchivedOutcome::Nothing, ArchivedOutcome::As))
}

/// The trace of the entry's session as it is made now: with an archived receipt, that of its later turns. None where
/// the session cannot be read.
fn later_turns(entry: &Entry, context: &Context) -> Option<Imported> {
    let home = context.home();
    let thread = ThreadId::from_meta(entry.trace.metadata.get("session")?)?;
    let (mut shelf, read) = (ThreadFiles::new(home.path()), gather::from_disk(home));
    // An import may have read a file outside of Codex's home.
    let file = entry.trace.metadata.get("session_file").map(Path::new).filter(|file| file.is_file());
    let files = match file {
        Some(file) => shelf.files_with(file, &thread),
        None => shelf.files_of(&thread, None),
    };
    let own = gather::session_of(&thread, &files, &read).ok()??;
    let (family, rollout) = gather::family(own, &mut shelf, &read);
    let destination = Destination { target: entry.target.clone(), experiment: entry.experiment.clone() };
    import_for(&destination, &thread, &family, &rollout, context).ok()?
}

fn set_aside(archived: &Archived, why: &str, context: &Context) -> Result<ArchivedOutcome, SpoolError> {
    let spool = spool(&context.paths);
    let lock = spool.lock(&Lane::from_target(&archived.target), PATIENCE)?;
    let _lock = lock.ok_or(SpoolError::Busy)?;
    let aside = archived
        .paths
        .iter()
        .map(|path| Ok(Waiting { path: spool.quarantine(path, why)?, reason: why.to_owned() }));
    Ok(ArchivedOutcome::SetAside(aside.collect::<Result<_, SpoolError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::paths::CodexHome;
    use crate::base::world::World;
    use crate::queue::receipts::StoredReceipt;
    use crate::trace::ids::trace_of_continuation;
    use codex_session::session::family::Family;
    use codex_session::session::{Writer, read};
    use jiff::Timestamp;
    use mlflow_store::receipt::Receipt;
    use mlflow_store::target::{Experiment, Target};
    use std::fs;

    #[test]
    fn a_session_outside_of_codexs_home_goes_on_past_an_archive_too() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("codex");
        let world = World { variables: [("CODEX_HOME", home.to_str().unwrap())].into(), ..World::default() };
        let context = Context::new(&world, &CodexHome::from_world(&world).unwrap());
        let file = folder.path().join("kept.jsonl");
        let text = fs::read_to_string("tests/corpus/0.169.0/exec-json-resume-1.jsonl").unwrap();
        let target = Target::Http("http://a".into());
        let destination = Destination { target: target.clone(), experiment: Experiment::Name("e".into()) };
        let made = |lines: usize| {
            let part: String = text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
            fs::write(&file, part).unwrap();
            let family = Family::gather(read(&file, Writer::Gone).unwrap(), |_| Vec::new());
            let thread = ThreadId::from_meta(&family.members[0].session.meta.id).unwrap();
            let made = import_for(&destination, &thread, &family, &file, &context).unwrap().unwrap();
            (thread, made.traces.into_iter().next().unwrap().0)
        };
        let first_turn = text.lines().position(|line| line.contains("\"task_complete\"")).unwrap() + 1;
        let (thread, before) = made(first_turn);
        let (_, whole) = made(usize::MAX);
        let receipt = Receipt::from_trace(target.clone(), "1".into(), Timestamp::UNIX_EPOCH, &before);
        let receipt = Receipt { archived: true, ..receipt };
        receipts(&context.paths)
            .keep(before.id, StoredReceipt { receipt, rank: Rank::from_trace(&before), bytes: 1 })
            .unwrap();
        let trace = whole.id;
        let entry =
            Entry { target: target.clone(), experiment: destination.experiment.clone(), trace: whole };
        let path = spool(&context.paths).put(&entry, Timestamp::UNIX_EPOCH).unwrap();
        let archived = Archived { trace, target, paths: vec![path], reason: "archived".into() };
        let continuation = continue_archived(&archived, &context).unwrap();
        assert_eq!(continuation, ArchivedOutcome::As(trace_of_continuation(thread.as_str(), 1)));
        assert_eq!(spool(&context.paths).paths().len(), 1);
    }
}
