//! The work after Codex's end, in the launcher itself.

use super::assemble::assemble_or_report;
use super::context::Context;
use super::delivery::{Busy, deliver_after_launch};
use super::plan::{Reason, Safety};
use super::recover::recover;
use super::summary;
use crate::base::log::quietly;
use crate::base::notice::{self, Notices};
use crate::claim::launch_record::LaunchRecord;
use crate::claim::observer::Observer;
use launch::Ended;
use launch::exit::ChildExit;
use launch::watchdog::{self, Cut};
use std::time::{Duration, Instant};

/// How much longer than its limit a delivery may take to end by itself, with a sentence about how far it got.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// A watchdog interrupts the work at the limit, or when a signal asks for it. Then the launcher ends as Codex did.
pub(super) fn run(
    context: &Context,
    mut observer: Observer,
    safety: Safety,
    (limit, reason): (Duration, Reason),
    ended: &Ended,
) {
    let (until, notices) = match reason {
        Reason::Job => (ended.at + limit, Notices::for_job(context.world)),
        Reason::NoFinisher => (Instant::now() + limit, Notices::choose(context.world)),
    };
    let launch = observer.launch.clone();
    let cut_off = |cut| -> ChildExit {
        let why = notice::cut_off(match cut {
            Cut::Time => Some(limit),
            Cut::Asked => None,
        });
        notices.print(&why);
        summary::write(context, &launch, Some(&why));
        ended.exit
    };
    let mut assemble = || {
        let open = assemble_or_report(&launch, context);
        if open.as_ref().is_ok_and(Vec::is_empty) {
            observer.record.take().map(LaunchRecord::remove);
        }
        open.err().flatten()
    };
    // Without a launch record no other process can finish an interrupted launch, so the watchdog starts later.
    let assembled = (safety == Safety::InMemory).then(&mut assemble);
    let work = || {
        let problem = assembled.unwrap_or_else(assemble);
        let _ = quietly(|| recover(context, Duration::ZERO));
        let waiting = quietly(|| deliver_after_launch(until, Busy::IsWaitedFor, context)).flatten();
        problem.or(waiting)
    };
    let sentence = watchdog::guard(&ended.signals, until + GRACE, cut_off, work);
    if let Some(sentence) = &sentence {
        notices.print(sentence);
    }
    summary::write(context, &launch, sentence.as_deref());
}
