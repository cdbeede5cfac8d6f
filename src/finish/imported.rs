//! A session that no launch of codex-traced wrote, or that is looked at without one: its traces, and what its target
//! has of them.

use super::context::Context;
use super::session_traces::{AssembleError, TraceForm, session_traces};
use crate::claim::claims::launches_of;
use crate::claim::launch_record::Destination;
use crate::claim::thread_record::ThreadRecord;
use crate::claim::verdict::Attribution;
use crate::queue::put::{PutError, entry, put_imported};
use crate::queue::receipts;
use crate::queue::receipts::Receipts;
use crate::queue::spool::entry::Entry;
use crate::queue::straight::takes_straight;
use crate::queue::target_state::{Answers, Presence, TargetState};
use crate::queue::thread_history::{first_destination, granularity_of};
use crate::redact::Redacted;
use crate::settings::further_targets::FurtherTarget;
use crate::settings::modes::{Content, Granularity};
use codex_session::session::family::Family;
use codex_session::thread::ThreadId;
use mlflow_store::lost_traces::ExperimentState;
use mlflow_store::target::{Experiment, Target};
use std::path::Path;

/// A session's traces; nothing is written yet.
#[derive(Clone, Debug)]
pub struct Imported {
    /// One of the whole session, or one of each turn; never none.
    pub traces: Vec<(Redacted, TargetState)>,
    /// Where they go: a thread stays where it was first sent.
    pub destination: Destination,
    /// The traces for further targets.
    pub further: Vec<(Destination, Vec<(Redacted, TargetState)>)>,
    /// The target is sent every span, not only those that it lacks.
    pub is_whole: bool,
}

/// Where sessions that were never sent go, in which form, and what targets have of the others.
#[derive(Clone, Copy)]
pub struct Toward<'a> {
    pub destination: &'a Destination,
    pub further: &'a [FurtherTarget],
    pub granularity: Granularity,
    pub answers: &'a Answers,
}

/// What is known of a thread that is imported. Nothing of it is stored.
pub(crate) struct ImportTerms {
    /// With the content mode of the thread.
    pub record: ThreadRecord,
    pub granularity: Granularity,
    pub destination: Destination,
}

impl ImportTerms {
    /// `now` and `asked` count for a thread that was never sent.
    pub(crate) fn find(
        thread: &ThreadId,
        now: &Destination,
        asked: Granularity,
        context: &Context,
    ) -> Result<ImportTerms, PutError> {
        let (paths, receipts) = (&context.paths, receipts(&context.paths));
        // An unreadable record is an error: what launches noted there must reach the trace.
        let mut record = ThreadRecord::load(&paths.threads(), thread)
            .map_err(|error| PutError(paths.threads(), error.into()))?;
        mark(&mut record);
        // The record of a launch that runs, or died, decides before the settings of now.
        let launches = launches_of(thread, paths);
        let (noted, content) = (launches.first(), launches.iter().map(|launch| launch.content).max());
        record.content =
            context.settings().content.value.max(record.content).max(content.unwrap_or_default());
        let asked = noted.map_or(asked, |launch| launch.granularity);
        let roles = context.settings().roles();
        let granularity = granularity_of(&record, thread, asked, &receipts, roles);
        let first = first_destination(&record, thread, &receipts, roles);
        let destination =
            first.or(noted.map(|launch| launch.destination.clone())).unwrap_or_else(|| now.clone());
        Ok(ImportTerms { record, granularity, destination })
    }
}

/// None when the session has no prompt, or a folder switches tracing off.
pub fn import(
    thread: &ThreadId,
    family: &Family,
    rollout: &Path,
    toward: Toward,
    context: &Context,
) -> Result<Option<Imported>, AssembleError> {
    let receipts = receipts(&context.paths);
    let Toward { destination: now, further, granularity: asked, answers } = toward;
    let ImportTerms { record, granularity, mut destination } =
        ImportTerms::find(thread, now, asked, context)?;
    let content = record.content;
    let traces_for = |target: &Target, content: Content| {
        let form = TraceForm::choose(granularity, target, family, context);
        session_traces(family, &record, rollout, form, content, context)
    };
    let restriction = |target: &Target| content.max(context.settings().roles().content_for(target));
    let traces = traces_for(&destination.target, restriction(&destination.target))?;
    if traces.is_empty() {
        return Ok(None);
    }
    let is_homeless =
        |trace: &Redacted| answers.of(trace.id, &destination.target) == Presence::Lost(ExperimentState::Gone);
    if traces.iter().any(is_homeless) {
        destination = rehoused(destination, now);
    }
    let with_states = |traces, target: &Target| with_states(traces, target, &receipts, answers);
    let mut others = Vec::new();
    for one in further.iter().filter(|one| one.target != destination.target) {
        let traces = traces_for(&one.target, content.max(one.content))?;
        others.push((Destination::from_further(one), with_states(traces, &one.target)));
    }
    let traces = with_states(traces, &destination.target);
    Ok(Some(Imported { traces, destination, further: others, is_whole: answers.is_all_wanted }))
}

/// As `import`, for one target of the session, whichever the session's first one is.
pub fn import_for(
    destination: &Destination,
    thread: &ThreadId,
    family: &Family,
    rollout: &Path,
    context: &Context,
) -> Result<Option<Imported>, AssembleError> {
    let ImportTerms { record, granularity, .. } =
        ImportTerms::find(thread, destination, Granularity::Session, context)?;
    let target = &destination.target;
    let content = record.content.max(context.settings().roles().content_for(target));
    let form = TraceForm::choose(granularity, target, family, context);
    let traces = session_traces(family, &record, rollout, form, content, context)?;
    let traces = with_states(traces, target, &receipts(&context.paths), &Answers::default());
    let destination = destination.clone();
    let imported = Imported { traces, destination, further: Vec::new(), is_whole: false };
    Ok(Some(imported).filter(|imported| !imported.traces.is_empty()))
}

fn with_states(
    traces: Vec<Redacted>,
    target: &Target,
    receipts: &Receipts,
    answers: &Answers,
) -> Vec<(Redacted, TargetState)> {
    let with_state = |trace: Redacted| {
        let state = TargetState::new(&trace, target, receipts, answers);
        (trace, state)
    };
    traces.into_iter().map(with_state).collect()
}

impl Imported {
    /// That of the trace of which the target lacks most.
    pub fn target_state(&self) -> TargetState {
        let further = self.further.iter().flat_map(|(_, traces)| traces);
        let states = self.traces.iter().chain(further).map(|(_, state)| *state);
        states.min().unwrap_or(TargetState::Unchanged)
    }

    /// Puts what the target lacks into the spool. No thread record is written: it holds what launches know.
    pub fn put(self, context: &Context) -> Result<(), PutError> {
        self.put_but(|_| false, context).map(drop)
    }

    /// As `put`, but returns what can be delivered straight.
    pub fn put_or_hand_over(self, context: &Context) -> Result<Vec<Entry>, PutError> {
        self.put_but(takes_straight, context)
    }

    fn put_but(
        self,
        is_left_out: impl Fn(&Target) -> bool,
        context: &Context,
    ) -> Result<Vec<Entry>, PutError> {
        let mut left_out = Vec::new();
        let first = (self.destination, self.traces);
        for (destination, traces) in std::iter::once(first).chain(self.further) {
            for (trace, state) in traces.into_iter().filter(|(_, state)| state.must_be_sent()) {
                let is_lost = state == TargetState::Lost || self.is_whole;
                if !is_lost && is_left_out(&destination.target) {
                    left_out.push(entry(trace, &destination));
                } else {
                    put_imported(trace, is_lost, &destination, &context.paths)?;
                }
            }
        }
        Ok(left_out)
    }
}

/// The evidence of a launch counts before the import.
fn mark(record: &mut ThreadRecord) {
    if record.launches.is_empty() {
        record.found.get_or_insert(Attribution::Import);
    }
}

/// The destination of a trace whose experiment is gone. In the same place the settings of now decide, because the id
/// of a deleted experiment may belong to a new one.
fn rehoused(first: Destination, now: &Destination) -> Destination {
    match (&first.experiment, first.target == now.target) {
        (Experiment::Id(_), true) => now.clone(),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

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
        record.add(crate::claim::thread_record::LaunchEntry {
            launch_id: "1".into(),
            attribution: Attribution::Held,
            started_at: Timestamp::UNIX_EPOCH,
            exit: None,
            context: Default::default(),
        });
        mark(&mut record);
        assert_eq!(record.attribution(), Some(Attribution::Held));
    }
}
