//! Tool calls of a thread: what the model asked for, paired with what Codex recorded and what the model was shown.

use super::call::record_of;
use super::model::{Outcome, Session, Step, ToolCall};
use super::outcome;
use super::reducer::StepAt;
use crate::rollout::event::{Item, ItemCompleted, SubAgentActivity};
use jiff::Timestamp;
use std::collections::HashMap;

/// Codex's name for the tool with which a model runs a script of its own (code mode).
const SCRIPT_TOOL: &str = "exec";

/// How Codex names what a script called; there is no link to the script's own call.
const NESTED_CALL_PREFIX: &str = "exec-";

/// Where each call of the thread stands.
#[derive(Clone, Debug, Default)]
pub(super) struct ToolIndex {
    calls: HashMap<String, CallAt>,
    /// In the order in which they were asked for.
    scripts: Vec<StepAt>,
}

#[derive(Clone, Copy, Debug)]
struct CallAt {
    step: StepAt,
    /// Its place among what a script called.
    nested: Option<usize>,
}

impl ToolIndex {
    pub(super) fn contains(&self, call_id: &str) -> bool {
        self.calls.contains_key(call_id)
    }

    /// How many calls there are: the name of a call that Codex gave none.
    pub(super) fn count(&self) -> usize {
        self.calls.len()
    }

    /// Adds a call to the end of a turn.
    pub(super) fn push(&mut self, session: &mut Session, turn: usize, call: ToolCall) {
        let steps = &mut session.turns[turn].steps;
        let step = StepAt { turn, step: steps.len() };
        if call.name == SCRIPT_TOOL {
            self.scripts.push(step);
        }
        self.calls.insert(call.call_id.clone(), CallAt { step, nested: None });
        steps.push(Step::ToolCall(Box::new(call)));
    }

    /// The output that the model was shown. What Codex recorded itself is exact and stays.
    pub(super) fn answer(&self, session: &mut Session, call_id: &str, output: &str, at: Option<Timestamp>) {
        let Some(call) = self.call(session, call_id) else {
            return;
        };
        call.output = Some(output.to_owned());
        call.ended_at = call.ended_at.or(at);
        call.facts.exit_code = call.facts.exit_code.or_else(|| outcome::exit_code_in(output));
        if call.outcome == Outcome::Running {
            call.outcome = outcome::of_output(output, call.facts.exit_code);
        }
    }

    /// Codex's record of a call: of one the model asked for, of one that its script made, or of a
    /// command that the user ran.
    pub(super) fn completed(&mut self, session: &mut Session, turn: usize, completed: ItemCompleted) {
        if let Item::SubAgentActivity(activity) = completed.item {
            return self.started(session, activity);
        }
        let Some(mut record) = record_of(completed.item) else {
            return;
        };
        record.started_at = time(completed.started_at_ms);
        record.ended_at = time(completed.completed_at_ms);
        record.facts.duration =
            record.started_at.zip(record.ended_at).map(|(from, to)| to.duration_since(from));
        if let Some(call) = self.call(session, &record.call_id) {
            add_record(call, record);
            return;
        }
        if record.call_id.starts_with(NESTED_CALL_PREFIX)
            && let Some(step) = self.script_of(session, turn, &record)
            && let Some(script) = call_at(session, CallAt { step, nested: None })
        {
            let place = CallAt { step, nested: Some(script.nested.len()) };
            self.calls.insert(record.call_id.clone(), place);
            script.nested.push(record);
            return;
        }
        self.push(session, turn, record);
    }

    /// The script that made the call: the turn's last one that was there when it began. What an earlier
    /// script left running is recorded while a later one runs.
    fn script_of(&self, session: &mut Session, turn: usize, record: &ToolCall) -> Option<StepAt> {
        let of_turn = || {
            let not_later = self.scripts.iter().rev().skip_while(|script| script.turn > turn);
            not_later.take_while(|script| script.turn == turn).copied()
        };
        let mut was_there = |script: &StepAt| {
            let script = call_at(session, CallAt { step: *script, nested: None });
            script.is_some_and(|script| record.started_at.is_none() || script.started_at <= record.started_at)
        };
        of_turn().find(|script| was_there(script)).or_else(|| of_turn().next())
    }

    /// A sub-agent that a call started; the call is recorded elsewhere.
    fn started(&self, session: &mut Session, activity: SubAgentActivity) {
        if let (Some("started"), Some(thread)) = (activity.kind.as_deref(), activity.agent_thread_id)
            && let Some(call) = self.call(session, &activity.id)
        {
            call.facts.agents.push(thread);
        }
    }

    /// The request of a call whose record came first.
    pub(super) fn describe(&self, session: &mut Session, request: ToolCall) {
        if let Some(call) = self.call(session, &request.call_id) {
            call.arguments = request.arguments;
        }
    }

    fn call<'a>(&self, session: &'a mut Session, call_id: &str) -> Option<&'a mut ToolCall> {
        call_at(session, *self.calls.get(call_id)?)
    }
}

fn call_at(session: &mut Session, place: CallAt) -> Option<&mut ToolCall> {
    let step = session.turns.get_mut(place.step.turn)?.steps.get_mut(place.step.step)?;
    match (step, place.nested) {
        (Step::ToolCall(call), None) => Some(call),
        (Step::ToolCall(call), Some(index)) => call.nested.get_mut(index),
        _ => None,
    }
}

fn add_record(call: &mut ToolCall, record: ToolCall) {
    call.started_at = record.started_at.or(call.started_at);
    call.ended_at = record.ended_at.or(call.ended_at);
    call.server = record.server.or(call.server.take());
    call.facts = record.facts;
    if call.outcome != Outcome::Interrupted {
        call.outcome = record.outcome;
    }
}

pub(super) fn time(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::reducer::SessionReducer;
    use super::*;
    use serde_json::json;

    fn script_at(second: u32, call_id: &str) -> String {
        let payload = json!({"type": "custom_tool_call", "call_id": call_id, "name": "exec", "input": ""});
        json!({
            "timestamp": format!("2026-11-22T10:00:{second:02}Z"),
            "type": "response_item",
            "payload": payload
        })
        .to_string()
    }

    fn command(started_at: &str, id: &str, exit_code: i64) -> String {
        let millis = started_at.parse::<Timestamp>().unwrap().as_millisecond();
        let item = json!({"type": "CommandExecution", "id": id, "exit_code": exit_code});
        let payload = json!({"type": "item_completed", "item": item, "started_at_ms": millis});
        json!({"type": "event_msg", "payload": payload}).to_string()
    }

    /// Each script with the calls it made and their exit codes.
    fn scripts_of(lines: &[String]) -> Vec<String> {
        let mut reducer = SessionReducer::default();
        lines.iter().for_each(|line| reducer.observe(line.as_bytes()));
        let mut session = reducer.finish();
        let steps = session.turns.pop().unwrap().steps.into_iter();
        let calls = steps.filter_map(|step| match step {
            Step::ToolCall(call) => Some(*call),
            _ => None,
        });
        let told = |call: ToolCall| {
            let inner = call.nested.iter().map(|call| (&call.call_id, call.facts.exit_code));
            inner.fold(call.call_id.clone(), |text, (id, code)| format!("{text} {id}={}", code.unwrap()))
        };
        calls.map(told).collect()
    }

    #[test]
    fn what_an_earlier_script_left_running_stays_its_own() {
        let lines = [
            script_at(1, "first"),
            script_at(10, "second"),
            command("2026-11-22T10:00:11Z", "exec-b", 0),
            command("2026-11-22T10:00:02Z", "exec-a", 0),
            command("2026-11-22T10:00:00Z", "exec-before-all", 0),
        ];
        assert_eq!(scripts_of(&lines), ["first exec-a=0", "second exec-b=0 exec-before-all=0"]);
    }

    #[test]
    fn a_call_that_is_recorded_twice_is_one_call_as_it_was_recorded_last() {
        let lines = [
            script_at(1, "script"),
            command("2026-11-22T10:00:02Z", "exec-a", 0),
            command("2026-11-22T10:00:02Z", "exec-a", 7),
        ];
        assert_eq!(scripts_of(&lines), ["script exec-a=7"]);
    }
}
