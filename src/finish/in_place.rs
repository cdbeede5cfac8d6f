//! The work after Codex's end, in the launcher itself.

use super::context::Context;
use super::plan::Safety;
use super::recover::recover;
use super::steps::{Busy, Spooled, deliver, spool_launch};
use super::summary;
use crate::base::notice::{self, Notices};
use crate::base::quiet::quietly;
use crate::claim::launch_record::LaunchRecord;
use crate::claim::observer::Observer;
use launch::Ended;
use launch::exit::ChildExit;
use launch::watchdog::{self, Cut};
use std::time::{Duration, Instant};

/// How much longer than its limit a delivery may take to end by itself, with a sentence about how far it got.
const GRACE: Duration = Duration::from_millis(250);

pub(super) struct InPlace {
    pub(super) until: Instant,
    pub(super) limit: Duration,
    pub(super) notices: Notices,
}

impl InPlace {
    /// A watchdog interrupts the work at the limit, or when a signal asks for it. Then the launcher ends as Codex did.
    pub(super) fn run(&self, context: &Context, mut observer: Observer, safety: Safety, ended: &Ended) {
        let launch = observer.launch.clone();
        let cut_off = |cut| -> ChildExit {
            let why = notice::cut_off(match cut {
                Cut::Time => Some(self.limit),
                Cut::Asked => None,
            });
            self.notices.print(&why);
            let _ = quietly(|| summary::write(context, &launch, Some(&why)));
            ended.exit
        };
        let mut spool = || match spool_launch(&launch, context) {
            Spooled::All => {
                observer.record.take().map(LaunchRecord::remove);
                None
            }
            Spooled::SoFar(_) => None,
            Spooled::Not(problem) => problem,
        };
        // Without a launch record no other process can finish an interrupted launch, so the watchdog starts later.
        let spooled = (safety == Safety::InMemory).then(&mut spool);
        let work = || {
            let problem = spooled.unwrap_or_else(spool);
            let _ = quietly(|| recover(context, Duration::ZERO));
            let waiting = quietly(|| deliver(self.until, Busy::IsWaitedFor, context)).flatten();
            problem.or(waiting)
        };
        let sentence = watchdog::guard(&ended.signals, self.until + GRACE, cut_off, work);
        if let Some(sentence) = &sentence {
            self.notices.print(sentence);
        }
        let _ = quietly(|| summary::write(context, &launch, sentence.as_deref()));
    }
}
