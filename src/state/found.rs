//! Sessions that no launch of ours wrote: the trace of a file that was found, and whether its target has it.

use super::lost::{Answers, Seen};
use super::traces::user;
use super::{State, StateError};
use crate::claim::Claim;
use crate::claim::journal::{Destination, Launch};
use crate::claim::record::{Attribution, ThreadRecord};
use crate::codex::thread::ThreadId;
use crate::config::granularity::Granularity;
use crate::config::settings::Settings;
use crate::config::target::{Experiment, Target};
use crate::env::World;
use crate::export::lost::Home;
use crate::export::receipts::Kept;
use crate::session::family::Family;
use crate::spool::Spool;
use crate::spool::entry::{Entry, Rank};
use crate::spool::policy::is_overtaken;
use crate::trace::build::Surroundings;
use crate::trace::ids::TraceId;
use crate::trace::model::Trace;
use crate::trace::redact::Redacted;
use jiff::Timestamp;
use std::fs;
use std::path::Path;

/// A session's traces, before anything of them was written.
#[derive(Clone, Debug)]
pub struct Found {
    pub thread: ThreadId,
    /// One of the whole session, or one of each turn; never none.
    pub traces: Vec<(Redacted, Standing)>,
    /// Where they go: a thread stays where it was first sent.
    pub destination: Destination,
    /// All of it is to be sent, not only what the target did not get yet.
    pub is_whole: bool,
}

/// What the target knows of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    New,
    /// It had it, and has it no more.
    Lost,
    Updated,
    /// It took exactly this, or what came after it, and does not answer whether it is still there.
    Unasked,
    /// Exactly this, or what came after it.
    Unchanged,
}

impl Standing {
    /// Whether the target is to be sent it.
    pub fn is_wanting(self) -> bool {
        matches!(self, Standing::New | Standing::Lost | Standing::Updated)
    }
}

/// Where sessions that were never sent go, in which form, and what targets say of the others.
#[derive(Clone, Copy)]
pub struct Toward<'a> {
    pub destination: &'a Destination,
    pub granularity: Granularity,
    pub answers: &'a Answers,
}

impl State {
    /// None when nobody asked anything in it.
    pub fn found(
        &self,
        thread: &ThreadId,
        family: &Family,
        rollout: &Path,
        toward: Toward,
        world: &World,
    ) -> Result<Option<Found>, StateError> {
        let Toward { destination: now, granularity: asked, answers } = toward;
        // What launches noted of the thread must not get lost because it cannot be read today.
        let mut record = ThreadRecord::load(&self.threads(), thread)
            .map_err(|error| StateError::Record(self.threads(), error))?;
        mark(&mut record);
        // A launch that runs, or died, has more to say of its sessions than whoever finds them.
        let launches = self.launches_of(thread);
        let (noted, content) = (launches.first(), launches.iter().map(|launch| launch.content).max());
        let content = Settings::read(world, &self.home)
            .content
            .value
            .max(record.content)
            .max(content.unwrap_or_default());
        let granularity =
            self.granularity_of(&record, thread, noted.map_or(asked, |launch| launch.granularity));
        let keep = self.keep(family, content);
        let user = user(world);
        let surroundings = Surroundings { rollout, user: user.as_deref() };
        let traces = self.made(family, &record, granularity, surroundings, keep, self.images(world))?;
        if traces.is_empty() {
            return Ok(None);
        }
        let first = self.first_destination(&record, thread);
        let mut destination =
            first.or(noted.map(|launch| launch.destination.clone())).unwrap_or_else(|| now.clone());
        let is_homeless =
            |trace: &Redacted| answers.of(trace.id, &destination.target) == Seen::Lost(Home::Gone);
        if traces.iter().any(is_homeless) {
            destination = rehoused(destination, now);
        }
        let with_standing = |trace: Redacted| {
            let standing = self.standing(&trace, &destination.target, answers);
            (trace, standing)
        };
        let traces = traces.into_iter().map(with_standing).collect();
        Ok(Some(Found { thread: thread.clone(), traces, destination, is_whole: answers.is_all_wanted() }))
    }

    /// What the target knows of the trace.
    pub(super) fn standing(&self, trace: &Trace, target: &Target, answers: &Answers) -> Standing {
        let (kept, seen) = (self.receipts().of(trace.id, target), answers.of(trace.id, target));
        standing(trace, kept.as_ref(), seen, answers.is_all_wanted())
    }

    /// Where a thread was first put, or else first taken; None if it never was.
    pub(super) fn first_destination(&self, record: &ThreadRecord, thread: &ThreadId) -> Option<Destination> {
        let taken = || {
            let receipt = self.first_receipt(thread)?;
            Some(Destination { target: receipt.target, experiment: Experiment::Id(receipt.experiment_id) })
        };
        record.destination.clone().or_else(taken)
    }

    /// What its target does not have yet, into the spool. The receipt will say where it went: a thread's record is
    /// for what only launches know.
    pub fn put_found(&self, found: Found) -> Result<(), StateError> {
        let spool = self.spool();
        for (trace, standing) in found.traces.into_iter().filter(|(_, standing)| standing.is_wanting()) {
            let Destination { target, experiment } = found.destination.clone();
            if standing == Standing::Lost || found.is_whole {
                self.receipts()
                    .empty(trace.id, &target)
                    .map_err(|error| StateError::Record(self.folder.join("receipts"), error))?;
            }
            let entry = Entry { target, experiment, trace };
            // Where nobody takes it, finding it again and again would fill the spool.
            let mut waits =
                spool.paths().into_iter().filter(|path| Spool::trace_of(path) == Some(entry.trace.id));
            if waits.next_back().is_some_and(|path| Spool::load(&path).is_ok_and(|waiting| waiting == entry))
            {
                continue;
            }
            let put = spool.put(&entry, Timestamp::now());
            put.map_err(|error| StateError::Spool(self.folder.join("spool"), error))?;
        }
        Ok(())
    }

    /// The trace that was worked on last.
    pub fn last_trace(&self) -> Option<TraceId> {
        let taken = self.receipts().recent(1).into_iter().next();
        let taken = taken.map(|(trace, receipt)| (receipt.delivered_at, trace));
        let worked = self.last_thread().and_then(|thread| {
            let written =
                fs::metadata(self.threads().join(format!("{thread}.json"))).ok()?.modified().ok()?;
            Some((Timestamp::try_from(written).ok()?, self.newest_part(&thread)))
        });
        taken.into_iter().chain(worked).max().map(|(_, trace)| trace)
    }

    /// The traces of a launch as they stand now, and where each goes.
    pub fn traces_of(&self, launch: &Launch, world: &World) -> Vec<(ThreadId, Destination, Redacted)> {
        let of = |claim: Claim| {
            let made = self.traces(&claim, launch, world).ok().flatten();
            let traces = made.map(|made| made.traces).unwrap_or_default();
            let record = ThreadRecord::load(&self.threads(), &claim.thread).unwrap_or_default();
            let destination = self.first_destination(&record, &claim.thread);
            let destination = destination.unwrap_or_else(|| launch.destination.clone());
            traces.into_iter().map(move |trace| (claim.thread.clone(), destination.clone(), trace))
        };
        self.verdict_of(launch).claims.into_iter().flat_map(of).collect()
    }
}

impl Found {
    /// Of the traces what is farthest from being there.
    pub fn standing(&self) -> Standing {
        self.traces.iter().map(|(_, standing)| *standing).min().unwrap_or(Standing::Unchanged)
    }
}

/// A launch's own evidence says more.
fn mark(record: &mut ThreadRecord) {
    if record.launches.is_empty() {
        record.found.get_or_insert(Attribution::Import);
    }
}

/// The experiment that it was in is gone. Its id says nothing where the place was made anew, so what settings say of
/// this place counts.
fn rehoused(first: Destination, now: &Destination) -> Destination {
    match (&first.experiment, first.target == now.target) {
        (Experiment::Id(_), true) => now.clone(),
        _ => first,
    }
}

fn standing(trace: &Trace, kept: Option<&Kept>, seen: Seen, is_all_wanted: bool) -> Standing {
    let Some(kept) = kept else { return Standing::New };
    // What went on since is never put back to what it was.
    let is_overtaken = is_overtaken(Rank::of(trace), Some(kept.rank));
    match seen {
        Seen::Lost(_) => Standing::Lost,
        // What came after it is in another trace.
        _ if kept.receipt.archived => Standing::Unchanged,
        _ if !is_overtaken && (is_all_wanted || !kept.receipt.holds_all(trace)) => Standing::Updated,
        Seen::Unknown => Standing::Unasked,
        Seen::There => Standing::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::receipt::Receipt;
    use crate::rollout::map::Map;
    use crate::rollout::value::Value;
    use crate::trace::ids::SpanId;
    use crate::trace::model::{Span, SpanStatus, SpanType, TraceState};

    fn trace(ended: i64, name: &str) -> Trace {
        let at = |second| Timestamp::from_second(second).unwrap();
        Trace {
            id: TraceId([7; 16]),
            name: name.into(),
            state: TraceState::Ok,
            started_at: at(0),
            ended_at: at(ended),
            request_preview: None,
            response_preview: None,
            metadata: [].into(),
            tags: [].into(),
            spans: vec![Span {
                id: SpanId([1; 8]),
                parent: None,
                name: "root".into(),
                span_type: SpanType::Agent,
                status: SpanStatus::Ok,
                started_at: at(0),
                ended_at: at(ended),
                inputs: Value::Null,
                outputs: Value::Null,
                attributes: Map::new(),
                events: Vec::new(),
            }],
        }
    }

    #[test]
    fn only_what_was_sent_in_every_word_or_overtaken_is_unchanged() {
        let sent = trace(10, "a");
        let target = Target::Http("http://a".into());
        let of_spans = Receipt::of(target.clone(), "1".into(), Timestamp::UNIX_EPOCH, &sent.spans);
        let whole = Receipt::of_trace(target, "1".into(), Timestamp::UNIX_EPOCH, &sent);
        let kept = |receipt: &Receipt| Kept { receipt: receipt.clone(), rank: Rank::of(&sent), bytes: 1 };
        let (there, lost) = (Seen::There, Seen::Lost(Home::Stands));
        let table = [
            (trace(10, "a"), None, there, Standing::New),
            (trace(10, "a"), Some(kept(&whole)), there, Standing::Unchanged),
            (trace(10, "b"), Some(kept(&whole)), there, Standing::Updated),
            (trace(11, "a"), Some(kept(&whole)), there, Standing::Updated),
            (trace(9, "a"), Some(kept(&whole)), there, Standing::Unchanged),
            (trace(10, "a"), Some(kept(&of_spans)), there, Standing::Updated),
            (trace(10, "a"), Some(kept(&whole)), lost, Standing::Lost),
            (trace(9, "a"), Some(kept(&whole)), lost, Standing::Lost),
            (trace(10, "b"), Some(kept(&whole)), lost, Standing::Lost),
            (trace(10, "a"), Some(kept(&whole)), Seen::Unknown, Standing::Unasked),
            (trace(9, "a"), Some(kept(&whole)), Seen::Unknown, Standing::Unasked),
            (trace(11, "a"), Some(kept(&whole)), Seen::Unknown, Standing::Updated),
        ];
        for (trace, kept, seen, expected) in table {
            let told = standing(&trace, kept.as_ref(), seen, false);
            assert_eq!(told, expected, "{} {} {seen:?}", trace.ended_at, trace.name);
        }
        let again = |ended, seen| standing(&trace(ended, "a"), Some(&kept(&whole)), seen, true);
        assert_eq!(again(10, there), Standing::Updated);
        assert_eq!(again(9, there), Standing::Unchanged, "an older form replaces nothing");
        assert_eq!(again(9, lost), Standing::Lost);
    }

    #[test]
    fn a_trace_whose_experiment_is_gone_goes_where_settings_say_but_only_in_the_same_place() {
        let to = |target: &str, experiment| Destination { target: Target::Http(target.into()), experiment };
        let (id, name) = (|| Experiment::Id("1".into()), || Experiment::Name("new".into()));
        let now = to("http://a", name());
        assert_eq!(rehoused(to("http://a", id()), &now), now);
        assert_eq!(rehoused(to("http://b", id()), &now), to("http://b", id()));
        let named = to("http://a", Experiment::Name("old".into()));
        assert_eq!(rehoused(named.clone(), &now), named);
    }

    #[test]
    fn how_a_thread_was_found_never_replaces_what_a_launch_knows() {
        let mut record = ThreadRecord::default();
        mark(&mut record);
        assert_eq!(record.attribution(), Some(Attribution::Import));
        record.add(crate::claim::record::LaunchRecord {
            launch_id: "1".into(),
            attribution: Attribution::Held,
            started_at: Timestamp::UNIX_EPOCH,
            exit: None,
        });
        mark(&mut record);
        assert_eq!(record.attribution(), Some(Attribution::Held));
    }
}
