//! Removal of a session (`mlflow forget`) from all that codex-traced wrote: local stores, spool, receipts, records.
//! Reports what is elsewhere.

use crate::base::later_version::LaterVersion;
use crate::base::paths::Paths;
use crate::claim::claims::claims_of;
use crate::claim::launch_record::Launch;
use crate::claim::launches;
use crate::claim::launches::LaunchLock;
use crate::claim::thread_record::ThreadRecord;
use crate::queue::spool::Spool;
use crate::queue::thread_history::MOST_PARTS;
use crate::queue::{receipts, spool};
use crate::trace::ids::{trace_of_continuation, trace_of_turn};
use codex_session::rollout::thread_files::ThreadFiles;
use codex_session::thread::ThreadId;
use common::disk;
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use std::collections::HashSet;
use std::path::PathBuf;
use std::{fs, io};

/// More turns than any session has.
const MOST_TURNS: usize = 10_000;

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Local stores that had it.
    pub stores: Vec<Target>,
    /// Entries of the spool and of the quarantine.
    pub spooled: usize,
    /// Files of codex-traced about it.
    pub records: usize,
    /// Servers that have it, which the user must clear; with the experiment.
    pub elsewhere: Vec<(Target, String)>,
    /// Codex's own files; codex-traced removes none of them.
    pub rollouts: Vec<PathBuf>,
    /// What is still there, and why.
    pub failures: Vec<String>,
}

impl Removal {
    pub fn is_nothing(&self) -> bool {
        self.stores.is_empty()
            && (self.spooled, self.records) == (0, 0)
            && self.elsewhere.is_empty()
            && self.failures.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    #[error("a launch is still at work on it")]
    UnderWay,
    #[error("a launch that died wrote it and others, and is to be finished first")]
    Unfinished,
    /// A file that names where the session went is of a later version.
    #[error(transparent)]
    LaterRecord(#[from] LaterVersion),
    #[error("another codex-traced is delivering")]
    Busy,
    #[error("cannot lock the spool: {}", disk::reason(.0))]
    Lock(#[from] io::Error),
}

/// Stores come first and our records last, so that an interrupted run can begin again. `now` are the targets of the
/// settings.
pub fn remove_session(
    trace: TraceId,
    thread: Option<ThreadId>,
    now: &[&Target],
    paths: &Paths,
) -> Result<Removal, RemovalError> {
    let thread = thread.or_else(|| thread_of(trace));
    let record = || Some(ThreadRecord::load(&paths.threads(), thread.as_ref()?));
    if let Some(Err(error)) = record()
        && let Some(later) = LaterVersion::from_io(&error)
    {
        return Err(later.clone().into());
    }
    give_up_launches(thread.as_ref(), paths)?;
    let traces = traces_of(trace, thread.as_ref(), paths);
    if let Some(later) = traces.iter().find_map(|trace| receipts(paths).later_version(*trace)) {
        return Err(later.into());
    }
    let spool = spool(paths);
    let _locks = spool.lock_all()?.ok_or(RemovalError::Busy)?;
    let mut removal = Removal::default();
    let mut entries = spool.list();
    entries.retain(|entry| traces.contains(&entry.trace));
    let receipts: Vec<Receipt> = traces.iter().flat_map(|trace| receipts(paths).all(*trace)).collect();
    let of_spool = entries.iter().filter_map(|entry| entry.target.clone());
    let of_record = record().and_then(|record| Some(record.ok()?.destination?.target));
    let taken = receipts.iter().map(|receipt| receipt.target.clone());
    let targets: HashSet<Target> =
        of_spool.chain(of_record).chain(taken).chain(now.iter().copied().cloned()).collect();
    for target in targets {
        let removed: Option<Result<Vec<bool>, _>> =
            traces.iter().map(|trace| mlflow_store::forget(&target, *trace)).collect();
        match removed {
            Some(Ok(any)) if any.contains(&true) => removal.stores.push(target),
            Some(Ok(_)) | None => {}
            Some(Err(error)) => removal.failures.push(error.to_string()),
        }
    }
    for receipt in receipts.into_iter().filter(|receipt| receipt.target.is_remote()) {
        let place = (receipt.target, receipt.experiment_id);
        if !removal.elsewhere.contains(&place) {
            removal.elsewhere.push(place);
        }
    }
    for entry in &entries {
        match Spool::drop_listed(entry) {
            Ok(()) => removal.spooled += 1,
            Err(error) => removal.failures.push(format!("{}: {error}", entry.path.display())),
        }
    }
    // The cache may name the session's folders. The next import writes another one.
    if let Err(error) = disk::remove(&paths.imported()) {
        removal.failures.push(format!("{}: {error}", paths.imported().display()));
    }
    // After a failure the records stay: they name the places that are left.
    if removal.failures.is_empty() {
        remove_records(&traces, thread.as_ref(), &mut removal, paths);
    }
    let files = thread.map(|thread| ThreadFiles::new(paths.home().path()).files_of(&thread, None));
    removal.rollouts = files.unwrap_or_default().concat();
    Ok(removal)
}

/// Removes the records of launches that would make the session's trace again. A launch that runs, or one that also
/// wrote other sessions, is an error.
fn give_up_launches(thread: Option<&ThreadId>, paths: &Paths) -> Result<(), RemovalError> {
    let Some(thread) = thread else { return Ok(()) };
    let is_named =
        |launch: &Launch| claims_of(launch, paths).claims.iter().any(|claim| claim.thread == *thread);
    if launches::under_way(&paths.launches()).iter().any(is_named) {
        return Err(RemovalError::UnderWay);
    }
    for (record, launch) in launches::left_behind(&paths.launches()) {
        let claims = claims_of(&launch, paths).claims;
        if !claims.iter().any(|claim| claim.thread == *thread) {
            continue;
        }
        if claims.len() > 1 {
            return Err(RemovalError::Unfinished);
        }
        let _lock = LaunchLock::take(&record).ok_or(RemovalError::UnderWay)?;
        fs::remove_file(&record)?;
    }
    Ok(())
}

/// The session's one trace, those that continue it, and those of its turns, as far as spool and receipts name them.
fn traces_of(trace: TraceId, thread: Option<&ThreadId>, paths: &Paths) -> Vec<TraceId> {
    let (spool, receipts) = (spool(paths), receipts(paths));
    let entries = [spool.paths(), spool.quarantined()].concat();
    let spooled: HashSet<TraceId> = entries.iter().filter_map(|path| Spool::trace_of(path)).collect();
    let is_known = |turn: &TraceId| spooled.contains(turn) || receipts.file_of(*turn).exists();
    let turns = (1..=MOST_TURNS).filter_map(|turn| Some(trace_of_turn(thread?.as_str(), turn)));
    let parts = (1..=MOST_PARTS).filter_map(|part| Some(trace_of_continuation(thread?.as_str(), part)));
    std::iter::once(trace).chain(turns.chain(parts).filter(is_known)).collect()
}

fn remove_records(traces: &[TraceId], thread: Option<&ThreadId>, removal: &mut Removal, paths: &Paths) {
    let of_thread = thread.map(|thread| paths.threads().join(format!("{thread}.json")));
    let receipts = traces.iter().map(|trace| receipts(paths).file_of(*trace));
    for path in receipts.chain(of_thread) {
        match fs::exists(&path).and_then(|is_there| disk::remove(&path).map(|()| is_there)) {
            Ok(is_there) => removal.records += usize::from(is_there),
            Err(error) => removal.failures.push(format!("{}: {}", path.display(), disk::reason(&error))),
        }
    }
}

/// The reverse of `trace_of_thread`; None for a thread whose id is no UUID.
fn thread_of(trace: TraceId) -> Option<ThreadId> {
    let name = trace.to_string();
    let digits = name.strip_prefix("tr-")?;
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    ThreadId::parse(&parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ids::trace_of_thread;

    #[test]
    fn a_trace_leads_back_to_its_thread() {
        let thread = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
        assert_eq!(thread_of(trace_of_thread(thread)).unwrap().as_str(), thread);
    }
}
