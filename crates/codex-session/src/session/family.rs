//! A session of several files, and the sessions that it started: sub-agents and reviews, and what they started in turn.

use super::model::{Session, Step, ToolCall, Turn};
use crate::rollout::usage::TokenUsage;
use common::shared::Shared;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// How far the times of a turn's lines may be from the creation of the threads that it started.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// The tool that starts sub-agents, in every version that has them.
const SPAWN: &str = "spawn_agent";

/// The root first, each other member after its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub session: Session,
    /// The place of the member that started it; None for the root.
    pub parent: Option<usize>,
}

/// What a thread was started by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StartedBy<'a> {
    Call {
        turn: usize,
        call: &'a ToolCall,
    },
    Turn(usize),
    /// The call and the turn are unknown.
    Thread,
}

impl Family {
    /// `children` gives the sessions that one may have started. Each thread is taken once, so that files that name each
    /// other as parents make no circle.
    pub fn gather(root: Session, mut children: impl FnMut(&Session) -> Vec<Session>) -> Family {
        let mut seen = HashSet::from([root.meta.id.clone()]);
        let mut members = vec![Member { session: root, parent: None }];
        let mut at = 0;
        while at < members.len() {
            for child in children(&members[at].session) {
                if is_child(&child, &members[at].session) && seen.insert(child.meta.id.clone()) {
                    members.push(Member { session: child, parent: Some(at) });
                }
            }
            at += 1;
        }
        Family { members }
    }

    pub fn last_line_at(&self) -> Option<Timestamp> {
        self.members.iter().filter_map(|member| member.session.last_line_at).max()
    }
}

impl From<Session> for Family {
    fn from(session: Session) -> Family {
        Family { members: vec![Member { session, parent: None }] }
    }
}

fn is_child(child: &Session, of: &Session) -> bool {
    match child.meta.parent() {
        Some(parent) => parent == of.meta.id,
        None => child.meta.session_id.as_deref() == Some(&of.meta.id),
    }
}

/// When a session may have started others: while its turns ran.
pub fn working_times(session: &Session) -> Vec<(Timestamp, Timestamp)> {
    let times = session.turns.iter().filter_map(|turn| {
        let from = turn.started_at.or(session.first_line_at)?;
        let to = turn.ended_at.or(session.last_line_at)?;
        Some((from.checked_sub(SLACK).ok()?, to.checked_add(SLACK).ok()?))
    });
    times.collect()
}

/// The call that named the child, else the turn that asked for its first one, else the turn it began in.
pub fn started_by<'a>(child: &Session, parent: &'a Session) -> StartedBy<'a> {
    let turns = || parent.turns.iter().enumerate();
    let calls =
        turns().flat_map(|(turn, of)| of.steps.iter().filter_map(move |step| Some((turn, step.call()?))));
    let mut calls =
        calls.flat_map(|(turn, call)| call.with_nested().into_iter().map(move |call| (turn, call)));
    if let Some((turn, call)) = calls.find(|(_, call)| has_started(call, &child.meta.id)) {
        return StartedBy::Call { turn, call };
    }
    let asked = child.turns.iter().find_map(|turn| turn.asked_by.as_deref());
    let by_name = || turns().find(|(_, turn)| asked.is_some() && turn.turn_id.as_deref() == asked);
    let began = child.turns.iter().find_map(|turn| turn.started_at).or(child.first_line_at);
    let by_time = || turns().rev().find(|(_, turn)| turn.started_at.is_some() && turn.started_at <= began);
    by_name().or_else(by_time).map_or(StartedBy::Thread, |(turn, _)| StartedBy::Turn(turn))
}

fn has_started(call: &ToolCall, thread: &str) -> bool {
    // Before Codex recorded it (0.15x), only the text for the model named the thread.
    let is_in_output =
        || call.name == SPAWN && call.output.as_ref().is_some_and(|output| output.contains(thread));
    call.facts.agents.iter().any(|agent| agent == thread) || (!thread.is_empty() && is_in_output())
}

impl Step {
    fn call(&self) -> Option<&ToolCall> {
        if let Step::ToolCall(call) = self { Some(call) } else { None }
    }
}

impl ToolCall {
    fn with_nested(&self) -> Vec<&ToolCall> {
        std::iter::once(self).chain(self.nested.iter().flat_map(ToolCall::with_nested)).collect()
    }
}

/// Joins the sessions of a thread's files, in the order in which Codex began the files: a rewind continues in a new
/// file, and leaves the old one unchanged. None for no file.
///
/// Rolled-back turns stay: they cost tokens and may already be exported.
pub fn join(parts: Vec<Session>) -> Option<Session> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next()?;
    for part in parts {
        append(&mut whole, part);
    }
    Some(whole)
}

fn append(whole: &mut Session, mut part: Session) {
    if let Some(base) = &part.meta.history_base {
        // A file's ordinals continue where its base ends, so they compare with those of all files before it.
        let is_after =
            |turn: &Turn| turn.ordinal.is_some_and(|ordinal| ordinal >= base.end_ordinal_exclusive);
        whole.turns.iter_mut().filter(|turn| is_after(turn)).for_each(|turn| turn.is_taken_back = true);
    }
    whole.codex_total = total(whole, &part);
    let (inferences, compactions) = counts(&whole.turns);
    let is_numbered = |step: &Step| !matches!(step, Step::ToolCall(_));
    let steps = part.turns.iter_mut().flat_map(|turn| &mut turn.steps);
    for step in steps.filter(|step| is_numbered(step)) {
        match &mut **step {
            Step::Inference(inference) => inference.number += inferences,
            Step::Compaction(compaction) => compaction.number += compactions,
            Step::ToolCall(_) => {}
        }
    }
    whole.folders.append(&mut part.folders);
    whole.turns.append(&mut part.turns);
    whole.first_line_at = [whole.first_line_at, part.first_line_at].into_iter().flatten().min();
    whole.last_line_at = whole.last_line_at.max(part.last_line_at);
    for (kind, count) in part.unknown_lines {
        *whole.unknown_lines.entry(kind).or_default() += count;
    }
    whole.bad_lines += part.bad_lines;
}

/// A rewind takes Codex's count back too, so the total is the sum of what each file added.
fn total(whole: &Session, part: &Session) -> Option<TokenUsage> {
    let own = |session: &Session| match session.codex_total {
        Some(total) => total.minus(session.inherited),
        None if session.usage().is_none() => Some(TokenUsage::default()),
        None => None,
    };
    if whole.codex_total.is_none() && part.codex_total.is_none() {
        return None;
    }
    Some(whole.inherited + own(whole)? + own(part)?)
}

fn counts(turns: &[Shared<Turn>]) -> (u32, u32) {
    let steps = || turns.iter().flat_map(|turn| &turn.steps);
    let inferences = steps().filter(|step| matches!(***step, Step::Inference(_))).count();
    let compactions = steps().filter(|step| matches!(***step, Step::Compaction(_))).count();
    (u32::try_from(inferences).unwrap_or(u32::MAX), u32::try_from(compactions).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
