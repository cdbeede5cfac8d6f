//! Tool calls of a thread: the model's request, Codex's record and the output for the model become one call.

use super::call::{is_qualified, record_of};
use super::model::{Moment, Outcome, Session, Step, StepAt, ToolCall, ToolFacts, add};
use super::outcome;
use crate::rollout::completed_item::{Item, ItemCompleted, SubAgentActivity};
use common::json::text::Text;
use common::json::value::Value;
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};

/// Codex's name for the tool with which a model runs a script of its own (code mode).
const SCRIPT_TOOL: &str = "exec";

/// Begins the ids of calls that a script made; no field links them to the script's own call.
const NESTED_CALL_PREFIX: &str = "exec-";

/// Up to 0.7x, Codex writes a call and its output within this time, when the call is over.
const ONE_WRITE: SignedDuration = SignedDuration::from_millis(10);

/// Codex's name for the tool with which a model polls a command that still runs.
const STDIN_TOOL: &str = "write_stdin";

#[derive(Clone, Debug, Default)]
pub(super) struct ToolIndex {
    calls: HashMap<Text, CallAt>,
    /// The ids that the model has requested.
    requested: HashSet<Text>,
    /// In the order of their requests.
    scripts: Vec<StepAt>,
    /// Commands that outlived their call, by the session id that later calls name.
    left_running: HashMap<u64, CallAt>,
    /// A search that Codex recorded; the model's own line of it, which comes next, may carry no id.
    search: Option<Text>,
}

#[derive(Clone, Copy, Debug)]
struct CallAt {
    step: StepAt,
    /// Its place among the calls of a script.
    nested: Option<usize>,
    /// The response that asked for it.
    asked_by: Option<StepAt>,
}

impl ToolIndex {
    /// Notes a request; true if Codex recorded the call before it. Some providers give several calls one id: a second
    /// request of an id is another call.
    pub(super) fn is_recorded_first(&mut self, call_id: &Text) -> bool {
        self.requested.insert(call_id.clone()) && self.calls.contains_key(call_id)
    }

    /// The number of calls; names a call that has no id.
    pub(super) fn count(&self) -> usize {
        self.calls.len()
    }

    /// Appends a call to a turn. `asked_by` is the response that requested it, where that is known.
    pub(super) fn push(
        &mut self,
        session: &mut Session,
        turn: usize,
        call: ToolCall,
        asked_by: Option<StepAt>,
    ) {
        let (id, is_script) = (call.call_id.clone(), call.name == SCRIPT_TOOL);
        let step = session.push(turn, Step::ToolCall(Box::new(call)));
        self.scripts.extend(is_script.then_some(step));
        self.calls.insert(id, CallAt { step, nested: None, asked_by });
    }

    /// Adds the output that the model got. Codex's own record is exact and stays.
    pub(super) fn answer(
        &mut self,
        session: &mut Session,
        call_id: &str,
        output: &Text,
        at: Option<Timestamp>,
    ) {
        let Some(place) = self.calls.get(call_id).copied() else { return };
        let turn_began = session.turns.get(place.step.turn).and_then(|turn| turn.started_at);
        let Some(call) = call_at(session, place) else { return };
        let found = outcome::facts_in(output);
        let mut began = None;
        call.facts.exit_code = call.facts.exit_code.or(found.exit_code);
        call.facts.printed =
            call.facts.printed.take().or_else(|| found.printed.map(|text| Text::from(&*text)));
        // Kept once: outputs are most of a session's size.
        call.output = Some(output).filter(|_| call.facts.printed.is_none()).cloned();
        if call.ended_at.is_none() {
            call.ended_at = at;
            if call.started_at.zip(at).is_some_and(|(asked, at)| at.duration_since(asked) <= ONE_WRITE) {
                let inferred = found.duration.and_then(|took| at?.checked_sub(took).ok());
                began = inferred.map(|began| began.max(turn_began.unwrap_or(began)));
                call.started_at = [call.started_at, began].into_iter().flatten().min();
            }
        }
        call.facts.duration = call.facts.duration.or(found.duration);
        if call.outcome == Outcome::Running {
            call.outcome = outcome::of_output(output, call.facts.exit_code);
        }
        let asks_for =
            call.arguments.get("session_id").and_then(Value::as_u64).filter(|_| call.name == STDIN_TOOL);
        if let (Some(began), Some(asked_by)) = (began, place.asked_by) {
            end_before(session, asked_by, place, began);
        }
        if let Some(id) = found.left_running {
            self.left_running.entry(id).or_insert(place);
        } else if let Some(began) = asks_for.and_then(|id| self.left_running.remove(&id))
            && let Some(command) = call_at(session, began)
            && command.facts.exit_code.is_none()
            && let Some(code) = found.exit_code
        {
            command.facts.exit_code = Some(code);
            command.outcome = outcome::of_exit_code(code);
            command.ended_at = command.ended_at.max(at);
        }
    }

    /// The id of the search that Codex recorded, for the model's line of it without an id.
    pub(super) fn take_search(&mut self) -> Option<Text> {
        self.search.take()
    }

    /// Adds Codex's record of a call: of one that the model requested, of one that its script made, or of a command
    /// that the user ran.
    pub(super) fn completed(&mut self, session: &mut Session, now: Moment, completed: ItemCompleted) {
        if let Item::SubAgentActivity(activity) = completed.item {
            return self.started(session, activity);
        }
        let is_search = matches!(completed.item, Item::WebSearch(_));
        let Some(mut record) = record_of(completed.item) else { return };
        // Before 0.150 only the line's own time is known.
        record.ended_at = time(completed.completed_at_ms).or(now.at);
        record.started_at = time(completed.started_at_ms);
        let inferred = record.facts.duration.and_then(|took| record.ended_at?.checked_sub(took).ok());
        let known = self.calls.get(&record.call_id).copied();
        let turn_began = session.turns[known.map_or(now.turn, |place| place.step.turn)].started_at;
        self.search = Some(record.call_id.clone()).filter(|_| is_search);
        if let Some(call) = known.and_then(|place| call_at(session, place)) {
            let asked = call.started_at.max(turn_began);
            record.started_at = record.started_at.or_else(|| began(inferred, asked, call.ended_at));
            add_record(call, with_duration(record));
            return;
        }
        let exact = record.started_at;
        record.started_at = exact.or_else(|| began(inferred, turn_began, record.ended_at));
        if record.call_id.starts_with(NESTED_CALL_PREFIX)
            && let Some(step) = self.script_of(session, now.turn, &record)
            && let Some(script) = script_at(session, step)
        {
            record.started_at = exact.or_else(|| began(inferred, script.started_at, record.ended_at));
            let record = with_duration(record);
            let place = CallAt { step, nested: Some(script.nested.len()), asked_by: None };
            self.calls.insert(record.call_id.clone(), place);
            add(&mut script.nested, record);
            return;
        }
        self.push(session, now.turn, with_duration(record), None);
    }

    /// The script that made the call: the turn's last one that was requested before the call began. Codex records
    /// calls that an earlier script left running while a later one runs.
    fn script_of(&self, session: &mut Session, turn: usize, record: &ToolCall) -> Option<StepAt> {
        let of_turn = || {
            let not_later = self.scripts.iter().rev().skip_while(|script| script.turn > turn);
            not_later.take_while(|script| script.turn == turn).copied()
        };
        let mut was_there = |script: &StepAt| {
            let script = script_at(session, *script);
            script.is_some_and(|script| record.started_at.is_none() || script.started_at <= record.started_at)
        };
        of_turn().find(|script| was_there(script)).or_else(|| of_turn().next())
    }

    /// A sub-agent that a call started; the call is recorded elsewhere.
    fn started(&self, session: &mut Session, activity: SubAgentActivity) {
        if let (Some("started"), Some(thread)) = (activity.kind.as_deref(), activity.agent_thread_id)
            && let Some(call) = self.call(session, &activity.id)
        {
            add(&mut call.facts.agents, thread.into());
        }
    }

    /// The request of a call whose record came first.
    pub(super) fn describe(&mut self, session: &mut Session, request: ToolCall) {
        self.search = self.search.take().filter(|id| *id != request.call_id);
        if let Some(call) = self.call(session, &request.call_id)
            // A search without an action has less than its record.
            && !is_empty(&request.arguments)
        {
            call.arguments = request.arguments;
            call.raw_arguments = request.raw_arguments;
        }
    }

    fn call<'a>(&self, session: &'a mut Session, call_id: &str) -> Option<&'a mut ToolCall> {
        call_at(session, *self.calls.get(call_id)?)
    }
}

fn script_at(session: &mut Session, step: StepAt) -> Option<&mut ToolCall> {
    call_at(session, CallAt { step, nested: None, asked_by: None })
}

fn call_at(session: &mut Session, place: CallAt) -> Option<&mut ToolCall> {
    match (session.step_at(place.step)?, place.nested) {
        (Step::ToolCall(call), None) => Some(call),
        (Step::ToolCall(call), Some(index)) => call.nested.get_mut(index),
        _ => None,
    }
}

/// A response ended before a call that it requested began, even if its lines were written later. The call began no
/// earlier than the response: its duration may be rounded.
fn end_before(session: &mut Session, asked_by: StepAt, call: CallAt, began: Timestamp) {
    let Some(asked) = session.inference_at(asked_by) else { return };
    let began = asked.started_at.map_or(began, |asked| asked.max(began));
    asked.ended_at = asked.ended_at.map(|ended| ended.min(began));
    if let Some(call) = call_at(session, call) {
        call.started_at = Some(began);
    }
}

fn is_empty(arguments: &Value) -> bool {
    arguments.get("input").and_then(Value::as_str) == Some("")
}

fn add_record(call: &mut ToolCall, record: ToolCall) {
    call.started_at = record.started_at.or(call.started_at);
    call.ended_at = record.ended_at.or(call.ended_at);
    if record.server.is_some() && is_qualified(&call.name) {
        // Codex's record separates the server from the tool; the model's name for both may be ambiguous.
        call.name = record.name;
    }
    call.server = record.server.or(call.server.take());
    let (earlier, facts) = (std::mem::take(&mut call.facts), record.facts);
    call.facts = ToolFacts {
        exit_code: facts.exit_code.or(earlier.exit_code),
        duration: facts.duration.or(earlier.duration),
        cwd: facts.cwd.or(earlier.cwd),
        printed: facts.printed.or(earlier.printed),
        changes: facts.changes.or(earlier.changes),
        mcp_result: facts.mcp_result.or(earlier.mcp_result),
        agents: if facts.agents.is_empty() { earlier.agents } else { facts.agents },
    };
    if call.outcome != Outcome::Interrupted {
        call.outcome = record.outcome;
    }
}

/// The beginning of a call, from the duration that Codex measured. Codex's clock stops while the machine sleeps, so
/// line times decide: no call begins before its request or after its first output.
fn began(
    inferred: Option<Timestamp>,
    asked: Option<Timestamp>,
    answered: Option<Timestamp>,
) -> Option<Timestamp> {
    match (inferred?, asked) {
        (began, Some(asked)) if began < asked || answered.is_some_and(|at| at < began) => Some(asked),
        (began, _) => Some(began),
    }
}

fn with_duration(mut record: ToolCall) -> ToolCall {
    let between = || Some(record.ended_at?.duration_since(record.started_at?));
    record.facts.duration = record.facts.duration.or_else(between);
    record
}

pub(super) fn time(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis?).ok()
}

#[cfg(test)]
mod tests;
