//! `CODEX_TRACED_SUMMARY=FILE`: what became of a launch's traces, as JSON for the next step of a job. In an existing folder
//! each launch has a file of its own.
//!
//! It holds ids, figures and addresses, and no text of a session, so it may be uploaded.

use super::assemble::traces_of;
use super::context::Context;
use crate::base::log::quietly;
use crate::base::paths::Paths;
use crate::claim::launch_record::{Destination, Launch};
use crate::queue::spool::list::{EntryState, Listed};
use crate::queue::{receipts, spool};
use crate::settings::wait::SUMMARY;
use codex_session::thread::ThreadId;
use common::printable::masked;
use mlflow_store::page_address;
use mlflow_store::target::Target;
use mlflow_store::target::access::Access;
use mlflow_store::trace::Trace;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::Builder;

/// Of the form. A reader can rely on the keys of its version.
const VERSION: u32 = 1;

/// The umask decides, as for the output file of any program.
const MODE: u32 = 0o666;

#[derive(Debug, PartialEq, Serialize)]
struct Summary<'a> {
    version: u32,
    launch_id: &'a str,
    /// `{"code": 0}` or `{"signal": 2}`.
    exit: Option<launch::exit::ChildExit>,
    threads: Vec<Thread>,
    /// The notice of the launch, which a terminal would show on stderr.
    notice: Option<&'a str>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Thread {
    thread_id: String,
    trace_id: String,
    /// completed, failed, interrupted, running or lost.
    status: String,
    /// MLflow's keys: `input_tokens`, `output_tokens`, `total_tokens`, and what was cached.
    tokens: Value,
    /// At list price, to the millionth; null where a model's price is not known.
    cost_usd: Option<f64>,
    target: String,
    /// Of a server that has some; null where none is named.
    workspace: Option<String>,
    experiment_id: Option<String>,
    /// Null for a local store, which has no page until a server shows it.
    link: Option<String>,
    delivery: Delivery,
    reason: Option<String>,
    /// Its figures repeat those of the thread's first target.
    is_further_target: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    /// The target has exactly this.
    Delivered,
    /// Safe on disk.
    Waiting,
    /// In the quarantine: the target refuses it.
    SetAside,
}

/// Writes it if the user asked for it. `notice` is what the launch printed.
pub(super) fn write(context: &Context, launch: &Launch, notice: Option<&str>) {
    let world = context.world;
    let Some(file) = world.variables.os(SUMMARY) else { return };
    let mut file = world.cwd.as_deref().unwrap_or(Path::new("/")).join(file);
    if file.is_dir() {
        file.push(format!("{}.json", launch.id));
    }
    let written = quietly(|| {
        let access = context.access();
        let traces = traces_of(launch, context);
        let mut first: BTreeMap<&ThreadId, &Destination> = BTreeMap::new();
        let mut threads = Vec::new();
        for (thread, destination, trace) in &traces {
            let is_first = *first.entry(thread).or_insert(destination) == destination;
            let summary = Thread::new(thread, destination, trace, &access, &context.paths);
            threads.push(Thread { is_further_target: !is_first, ..summary });
        }
        let (launch_id, exit) = (&*launch.id, launch.exit);
        store(&file, &Summary { version: VERSION, launch_id, exit, threads, notice })
    });
    if let Some(Err(error)) = written {
        tracing::warn!("cannot write the summary to {}: {error}", file.display());
    }
}

/// In one step: a reader finds all of it or the one before.
fn store(file: &Path, summary: &Summary) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut aside = Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    let mut text = serde_json::to_vec_pretty(summary)?;
    text.push(b'\n');
    aside.write_all(&text)?;
    aside.persist(file)?;
    Ok(())
}

impl Thread {
    fn new(
        thread: &ThreadId,
        destination: &Destination,
        trace: &Trace,
        access: &Access,
        paths: &Paths,
    ) -> Thread {
        let target = &destination.target;
        let receipt = receipts(paths).get(trace.id, target).map(|kept| kept.receipt);
        let (delivery, reason) = match &receipt {
            Some(receipt) if receipt.holds_all(trace) => (Delivery::Delivered, None),
            _ => waiting(trace, target, paths),
        };
        let json = |key: &str| -> Value {
            trace.metadata.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let root = trace.spans.first();
        let status = root.and_then(|root| root.outputs.get("status")).and_then(|status| status.as_str());
        let experiment_id = receipt.map(|receipt| receipt.experiment_id);
        let page = |id| page_address::trace_page(target, id, trace.id, access);
        Thread {
            thread_id: thread.to_string(),
            trace_id: trace.id.to_string(),
            status: status.unwrap_or_default().to_owned(),
            tokens: json("mlflow.trace.tokenUsage"),
            // A sum of floats as it is would be printed with all their noise.
            cost_usd: json("mlflow.trace.cost")["total_cost"].as_f64().map(|cost| (cost * 1e6).round() / 1e6),
            target: masked(&target.uri()).into_owned(),
            workspace: target.workspace().map(str::to_owned),
            link: experiment_id.as_deref().and_then(page),
            experiment_id,
            delivery,
            reason,
            is_further_target: false,
        }
    }
}

/// Why the target does not have it, as far as the spool knows.
fn waiting(trace: &Trace, target: &Target, paths: &Paths) -> (Delivery, Option<String>) {
    let is_it = |listed: &Listed| {
        listed.trace == trace.id && listed.target.as_ref().is_none_or(|known| known == target)
    };
    let listed = spool(paths).list().into_iter().rev().find(is_it);
    match listed.map(|listed| listed.state) {
        Some(EntryState::Quarantined(reason)) => (Delivery::SetAside, Some(masked(&reason).into_owned())),
        Some(EntryState::Paused(rest)) => (Delivery::Waiting, Some(masked(&rest.reason).into_owned())),
        Some(EntryState::Unreadable(reason)) => (Delivery::Waiting, Some(reason)),
        Some(EntryState::Waits) | None => (Delivery::Waiting, None),
    }
}
