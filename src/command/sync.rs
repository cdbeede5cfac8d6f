//! `mlflow sync`: delivers waiting traces and finishes launches that died; lists and removes entries of the spool.

use super::text_layout::counted;
use super::{CommandError, print};
use crate::base::world::World;
use crate::claim::launches;
use crate::cli::Sync;
use crate::finish::context::Context;
use crate::finish::delivery::deliver as deliver_spool;
use crate::finish::recover::{Unfinished, recover};
use crate::queue::drain::{DeliveryRequest, DrainStep, Drained};
use crate::queue::put::PutError;
use crate::queue::spool;
use crate::queue::spool::list::{EntryState, Listed, named};
use crate::queue::spool::{PATIENCE, Spool, SpoolError};
use common::printable::in_one_line;
use jiff::Timestamp;
use mlflow_store;
use mlflow_store::sqlite::Filled;
use mlflow_store::target::Target;
use std::fmt::Write;
use std::time::Duration;

/// Long enough for all rows of a large database: the user asked for this.
const FILL: Duration = Duration::from_secs(300);

pub(super) fn run(sync: &Sync, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    crate::base::log::begin(context.paths.log());
    if let Some(id) = &sync.drop {
        return drop_one(id, &context);
    }
    if sync.list {
        list(&context);
        return Ok(());
    }
    if sync.retry {
        let why = |error| match error {
            SpoolError::Busy => format!("{error}\n  hint: try again in a moment"),
            error => format!("{}\n  hint: try again in a moment", PutError(context.paths.spool(), error)),
        };
        let back = spool(&context.paths).retry_quarantined().map_err(why)?;
        print(&format!("{back} brought back\n"));
    }
    fill(&context.settings().target.value);
    context.settings().further.iter().for_each(|further| fill(&further.target));
    deliver(&context)
}

/// Fills the columns that MLflow's upgrade left empty in the settings' database. A failure waits for the next run.
fn fill(target: &Target) {
    match mlflow_store::fill(target, FILL) {
        Some(Ok(Filled { spans, traces_left })) if spans + traces_left > 0 => {
            let spans = counted(spans, "span", "spans");
            print(&format!("filled the model and cost of {spans}, which MLflow's upgrade left empty\n"));
            if traces_left > 0 {
                let traces = counted(traces_left, "trace", "traces");
                print(&format!("  {traces} are left for the next `codex-traced mlflow sync`\n"));
            }
        }
        Some(Err(error)) => tracing::info!("cannot fill what MLflow's upgrade left empty: {error}"),
        Some(Ok(_)) | None => {}
    }
}

fn list(context: &Context) {
    let listed = spool(&context.paths).list();
    let died = launches::left_behind(&context.paths.launches()).len();
    if died > 0 {
        print(&format!("{died} launches are to be finished: `codex-traced mlflow sync` does that\n"));
    }
    print(&later_launches(context));
    if listed.is_empty() {
        print("nothing waits\n");
    } else {
        print(&table(&listed, Timestamp::now()));
    }
}

fn drop_one(id: &str, context: &Context) -> Result<(), CommandError> {
    let listed = spool(&context.paths).list();
    let entry = named(id, &listed)
        .map_err(|error| format!("{error}\n  hint: `codex-traced mlflow sync --list` shows the ids"))?;
    Spool::drop_listed(entry).map_err(|error| format!("cannot remove {}: {error}", entry.path.display()))?;
    let target = entry.target.as_ref().map_or_else(String::new, |target| format!(" for {target}"));
    let size = size(entry.bytes);
    let removed = in_one_line(&format!("removed {} ({}{target}, {size})", entry.id, entry.trace));
    print(&format!("{removed}\n"));
    Ok(())
}

fn deliver(context: &Context) -> Result<(), CommandError> {
    let line = |text: String| {
        if context.world.stdout_is_terminal {
            print(&format!("{}\n", in_one_line(&text)));
        }
    };
    let show = |step: &DrainStep| line(line_of(step));
    let retrying = |reason: &str, pause| line(again(reason, pause));
    let mut total = Drained::default();
    // A delivery may make room in a full spool for the traces of unfinished launches.
    let unfinished = loop {
        let unfinished = recover(context, PATIENCE).unfinished;
        let request = DeliveryRequest { progress: &show, retrying: &retrying, ..DeliveryRequest::of_user() };
        let drained = deliver_spool(&request, context);
        let drained = drained.map_err(|error| format!("nothing was delivered: {error}"))?;
        let is_emptier = !drained.delivered.is_empty();
        total.delivered.extend(drained.delivered);
        total.set_aside.extend(drained.set_aside);
        (total.waiting, total.is_elsewhere) = (drained.waiting, drained.is_elsewhere);
        if !is_emptier || !unfinished.iter().any(|unfinished| unfinished.wants_room) {
            break unfinished;
        }
    };
    // Counts earlier ones too: they did not reach their target either.
    let aside = spool(&context.paths).quarantined().len();
    let mut text = later_launches(context);
    let _ = write!(text, "{} delivered, {} waiting", total.delivered.len(), total.waiting.len());
    text.push_str(&if aside > 0 { format!(", {aside} set aside\n") } else { "\n".to_owned() });
    for waiting in total.waiting.iter().chain(&total.set_aside) {
        let _ = writeln!(text, "  {}: {}", waiting.path.display(), in_one_line(&waiting.reason));
    }
    print(&text);
    left(&total, aside, &unfinished).map_or(Ok(()), Err)
}

/// A line for each launch that only a later codex-traced can finish; it may still run.
fn later_launches(context: &Context) -> String {
    let later = launches::later_versions(&context.paths.launches());
    later.iter().map(|later| format!("not finished here: {}\n", in_one_line(&later.to_string()))).collect()
}

/// Printed before each retry: like MLflow's client, a delivery retries a server for minutes.
fn again(reason: &str, pause: Duration) -> String {
    format!("{reason}; once more in {} s (Ctrl-C ends this, and nothing is lost)", pause.as_secs().max(1))
}

fn line_of(step: &DrainStep) -> String {
    let DrainStep { number, of, trace, target, outcome } = step;
    match outcome {
        Ok(()) => format!("{number}/{of} {trace} → {target}"),
        Err(reason) => format!("{number}/{of} {trace} ✗ {reason}"),
    }
}

/// None when every trace reached its target and every launch is finished.
fn left(drained: &Drained, aside: usize, unfinished: &[Unfinished]) -> Option<CommandError> {
    if let Some(Unfinished { reason, .. }) = unfinished.first() {
        return Some(format!("{} launches could not be finished: {reason}", unfinished.len()));
    }
    let hint = "`codex-traced mlflow sync --list` shows what there is and why";
    if drained.is_elsewhere {
        return Some("another codex-traced is delivering\n  hint: try again in a moment".into());
    }
    match (drained.waiting.len(), aside) {
        (0, 0) => None,
        (0, aside) => {
            Some(format!("{aside} set aside\n  hint: {hint}; `--retry` tries again, `--drop ID` removes"))
        }
        (waiting, _) => Some(format!("{waiting} still waiting\n  hint: {hint}")),
    }
}

/// The entries of the spool as a table. Two lines for each: its columns, then the reason why it waits.
fn table(listed: &[Listed], now: Timestamp) -> String {
    let heading =
        ["ID", "TRACE", "SIZE", "AGE", "TRIES", "LAST TRY", "NEXT TRY", "TARGET"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(listed.iter().map(|entry| row(entry, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let reasons = std::iter::once(None).chain(listed.iter().map(|entry| Some(reason(entry))));
    let mut text = String::new();
    for (row, reason) in rows.iter().zip(reasons) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        if let Some(reason) = reason {
            let _ = writeln!(text, "{:1$}  {2}", "", widths[0], in_one_line(&reason));
        }
    }
    text
}

fn row(entry: &Listed, now: Timestamp) -> [String; 8] {
    let none = || "-".to_owned();
    let (tries, last, next) = match &entry.state {
        EntryState::Waits => ("0".to_owned(), none(), "next launch".to_owned()),
        EntryState::Paused(rest) => {
            let next = match rest.lasts(now) {
                true => format!("in {}", span(now, rest.until)),
                false => "next launch".to_owned(),
            };
            (rest.failures.to_string(), format!("{} ago", span(rest.since, now)), next)
        }
        EntryState::Unreadable(_) => (none(), none(), none()),
        EntryState::Quarantined(_) => (none(), none(), "set aside".to_owned()),
    };
    let age = entry.put_at.map_or_else(none, |at| span(at, now));
    let target = entry.target.as_ref().map_or_else(none, |target| in_one_line(&target.to_string()));
    [entry.id.clone(), entry.trace.to_string(), size(entry.bytes), age, tries, last, next, target]
}

fn reason(entry: &Listed) -> String {
    match &entry.state {
        EntryState::Waits => "not tried since it was put".to_owned(),
        EntryState::Paused(rest) => rest.reason.clone(),
        EntryState::Unreadable(reason) | EntryState::Quarantined(reason) => reason.clone(),
    }
}

/// The time between two moments; zero if the clock went back.
fn span(from: Timestamp, to: Timestamp) -> String {
    duration(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
