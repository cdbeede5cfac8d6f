//! What traces have of the launches that wrote them: the caller's span, the user's tags, the CI job. And the links from
//! one turn's trace to the next.

use super::draft::PartialTrace;
use super::thread_facts::launch_of;
use crate::claim::thread_record::{LaunchEntry, ThreadRecord};
use crate::settings::launch_context::LaunchContext;
use crate::settings::modes::Content;
use codex_session::session::family::Family;
use common::printable::hex;
use mlflow_store::trace::SpanContext;

/// Tag with the id of the caller's trace.
const CALLER: &str = "codex.caller.trace_id";

pub struct LaunchContexts<'a> {
    pub family: &'a Family,
    pub record: &'a ThreadRecord,
    /// For a session that no launch wrote.
    pub otherwise: &'a LaunchContext,
}

impl LaunchContexts<'_> {
    /// `traces`: one of the session, with the context of its last launch; or one of each turn, each with its own. Facts of
    /// a CI job are names and addresses, which a trace of metadata only leaves out.
    pub fn add_to(&self, traces: &mut [PartialTrace], is_by_turn: bool, content: Content) {
        let turns = self.family.members.first().map_or(&[][..], |root| &root.session.turns);
        for (index, built) in traces.iter_mut().enumerate() {
            let launch = match turns.get(index).filter(|_| is_by_turn) {
                Some(turn) => launch_of(turn, self.record),
                None => self.record.launches.last(),
            };
            let context = launch.map_or(self.otherwise, |launch: &LaunchEntry| &launch.context);
            let trace = &mut built.trace;
            trace.context.caller.clone_from(&context.caller);
            if let Some(caller) = &context.caller {
                trace.tags.insert(CALLER.to_owned(), hex(&caller.trace.0));
            }
            let job = context.job.iter().filter(|_| content.is_full());
            let tags = job.chain(&context.tags).map(|(key, value)| (key.clone(), value.clone()));
            trace.context.tags.extend(tags);
        }
    }
}

/// Links the root of each turn's trace to that of the turn before.
pub fn link_turns(turns: &mut [PartialTrace]) {
    let mut before = None;
    for turn in turns {
        let trace = &mut turn.trace;
        // A collector has it in the caller's trace.
        let id = trace.context.caller.as_ref().map_or(trace.id, |caller| caller.trace);
        let root = trace.root().map(|root| SpanContext { trace: id, span: root.id, state: String::new() });
        trace.context.follows = std::mem::replace(&mut before, root);
    }
}
