//! The one way into the spool.

use super::target_state::{Answers, Presence, TargetState, ask};
use super::thread_history::{first_destination, taken};
use super::{receipts, spool};
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::claim::launch_record::Destination;
use crate::claim::thread_record::ThreadRecord;
use crate::queue::spool::entry::{Entry, Head};
use crate::queue::spool::{Spool, SpoolError};
use crate::redact::Redacted;
use crate::settings::further_targets::TargetRoles;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use std::path::PathBuf;

/// The folder of spool, receipts or records that cannot be written to, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {0}: {1}")]
pub struct PutError(pub PathBuf, pub SpoolError);

/// Puts the traces of a launch's thread that its target lacks. A single trace is put as it is: it grows with each
/// turn. Of a trace for each turn, most were sent by earlier launches.
pub fn put_written(
    traces: Vec<Redacted>,
    thread: &ThreadId,
    destination: &Destination,
    paths: &Paths,
    world: &World,
) -> Result<(), PutError> {
    let receipts = receipts(paths);
    let is_single = traces.len() == 1;
    let believed = Answers::default();
    let is_new = |trace: &Redacted| {
        (is_single && receipts.archived(trace.id).is_none())
            || TargetState::new(trace, &destination.target, &receipts, &believed).must_be_sent()
    };
    let (new, sent): (Vec<_>, Vec<_>) = traces.into_iter().partition(is_new);
    for trace in new {
        put(&entry(trace, destination), paths)?;
    }
    // The target is asked for earlier turns only after the new ones are safe.
    if sent.is_empty() {
        return Ok(());
    }
    let here = taken(thread, paths).into_iter().filter(|(target, _)| *target == destination.target);
    let answers = ask(here, world);
    for trace in sent {
        if let Presence::Lost(_) = answers.of(trace.id, &destination.target) {
            empty_receipt(&trace, destination, paths)?;
            put(&entry(trace, destination), paths)?;
        }
    }
    Ok(())
}

/// Puts a trace that its target lacks. A `lost` one is sent whole, so its receipt is emptied. Imports of a session
/// that no target takes put it once.
pub fn put_imported(
    trace: Redacted,
    is_lost: bool,
    destination: &Destination,
    paths: &Paths,
) -> Result<(), PutError> {
    if is_lost {
        empty_receipt(&trace, destination, paths)?;
    }
    put_once(&entry(trace, destination), paths)
}

/// Puts the entry, unless one that is equal waits already.
pub fn put_once(entry: &Entry, paths: &Paths) -> Result<(), PutError> {
    let is_form = |path: &PathBuf| {
        Spool::trace_of(path) == Some(entry.trace.id)
            && Head::load(path).is_ok_and(|head| head.target == entry.target)
    };
    let newest = spool(paths).paths().into_iter().rfind(is_form);
    if newest.is_some_and(|path| Entry::load(&path).is_ok_and(|waiting| waiting == *entry)) {
        return Ok(());
    }
    put(entry, paths)
}

/// Where the thread was first sent; where the launch sends if it never was. The thread record keeps it.
pub fn destination_of(
    thread: &ThreadId,
    now: &Destination,
    roles: TargetRoles,
    paths: &Paths,
) -> Destination {
    let first = |record: &ThreadRecord| {
        first_destination(record, thread, &receipts(paths), roles).unwrap_or_else(|| now.clone())
    };
    let keep = |record: &mut ThreadRecord| record.destination = Some(first(record));
    // A record that cannot be changed was logged before.
    let record = ThreadRecord::update(&paths.threads(), thread, keep);
    let kept = record.ok().and_then(|record| record.destination).unwrap_or_else(|| now.clone());
    if kept != *now {
        tracing::info!("thread {thread} stays where it was first sent, as the settings were then");
    }
    kept
}

fn put(entry: &Entry, paths: &Paths) -> Result<(), PutError> {
    let written = spool(paths).put(entry, Timestamp::now());
    written.map(drop).map_err(|error| PutError(paths.spool(), error))
}

pub fn entry(trace: Redacted, destination: &Destination) -> Entry {
    let Destination { target, experiment } = destination.clone();
    Entry { target, experiment, trace }
}

fn empty_receipt(trace: &Redacted, destination: &Destination, paths: &Paths) -> Result<(), PutError> {
    let emptied = receipts(paths).empty(trace.id, &destination.target);
    emptied.map_err(|error| PutError(paths.receipts(), error.into()))
}
