//! The summary of an import.

use super::work::{ImportOutcome, Mode};
use crate::queue::sync_state::SyncState;
use common::printable::in_one_line;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// At most this many sessions are listed one by one.
const FEW: usize = 20;

/// How many reasons are shown.
const REASONS: usize = 10;

/// Characters of a prompt in a line.
const CHARACTERS: usize = 60;

/// The whole text, and whether every trace reached its target.
pub(super) fn render(
    outcomes: &[ImportOutcome],
    unreadable: &[(String, String)],
    sub_agents: usize,
    mode: Mode,
) -> (String, bool) {
    let mut text = String::new();
    let count = |is: &dyn Fn(&ImportOutcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let done =
        |wanted| count(&|outcome| matches!(outcome, ImportOutcome::Done { state, .. } if *state == wanted));
    let lost = done(SyncState::Lost);
    let (new, updated, unchanged) =
        (done(SyncState::New) + lost, done(SyncState::Updated), done(SyncState::Unchanged));
    let unasked = count(&|outcome| matches!(outcome, ImportOutcome::Unasked { .. }));
    let waiting = count(&|outcome| matches!(outcome, ImportOutcome::Waiting { .. }));
    let not_reached = count(&|outcome| *outcome == ImportOutcome::NotReached);
    let failed = count(&|outcome| matches!(outcome, ImportOutcome::Failed(_))) + unreadable.len();
    if mode == Mode::DryRun || outcomes.len() <= FEW {
        outcomes.iter().for_each(|outcome| text.push_str(&line_of(outcome)));
    }
    let would = if mode == Mode::DryRun { "would be " } else { "" };
    let _ = write!(text, "{would}{new} new, {updated} updated, {unchanged} unchanged, {failed} failed");
    if waiting > 0 {
        let _ = write!(text, ", {waiting} waiting");
    }
    if unasked > 0 {
        let _ = write!(text, ", {unasked} unknown");
    }
    text.push('\n');
    if lost > 0 {
        let _ =
            writeln!(text, "  of the new, {lost} had been sent before, and their target has them no more");
    }
    text.push_str(&left_out(outcomes, sub_agents));
    for destination in destinations(outcomes) {
        let _ = writeln!(text, "  in {}", in_one_line(&destination));
    }
    text.push_str(&reasons(outcomes, unreadable));
    if not_reached > 0 {
        let _ = writeln!(
            text,
            "  {not_reached} not reached before you stopped it; the same command goes on from here"
        );
    }
    (text, failed == 0 && waiting == 0 && unasked == 0)
}

fn line_of(outcome: &ImportOutcome) -> String {
    let (word, session) = match outcome {
        ImportOutcome::Done { state: SyncState::New | SyncState::Lost, session } => ("new", session),
        ImportOutcome::Done { state: SyncState::Updated, session } => ("updated", session),
        ImportOutcome::Done { state: SyncState::Unchanged, session } => ("unchanged", session),
        ImportOutcome::Done { state: SyncState::Unasked, session }
        | ImportOutcome::Unasked { session, .. } => ("unknown", session),
        ImportOutcome::Waiting { session, .. } => ("waiting", session),
        ImportOutcome::Failed(_)
        | ImportOutcome::Empty
        | ImportOutcome::Older
        | ImportOutcome::NotReached => return String::new(),
    };
    let prompt = in_one_line(session.prompt.as_deref().unwrap_or_default());
    let prompt: String = prompt.chars().take(CHARACTERS).collect();
    format!("{word:9} {}  {prompt}\n", session.trace)
}

fn left_out(outcomes: &[ImportOutcome], sub_agents: usize) -> String {
    let count = |wanted: &ImportOutcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    let all = [
        (sub_agents, "of sub-agents whose session is not there"),
        (count(&ImportOutcome::Empty), "without a prompt"),
        (count(&ImportOutcome::Older), "that nothing was written to since then"),
    ];
    all.iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("  left out: {count} {what}\n"))
        .collect()
}

fn destinations(outcomes: &[ImportOutcome]) -> BTreeSet<String> {
    let target = |outcome: &ImportOutcome| match outcome {
        ImportOutcome::Done { session, .. } => Some(session.destination.target.to_string()),
        _ => None,
    };
    outcomes.iter().filter_map(target).collect()
}

/// Prints equal reasons once, with their count.
fn reasons(outcomes: &[ImportOutcome], unreadable: &[(String, String)]) -> String {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        match outcome {
            ImportOutcome::Failed(reason) => *reasons.entry(format!("failed: {reason}")).or_default() += 1,
            ImportOutcome::Waiting { reason, .. } => {
                *reasons.entry(format!("waiting: {reason}")).or_default() += 1
            }
            ImportOutcome::Unasked { reason, .. } => {
                let why =
                    format!("unknown: sent before, but their target cannot be asked for them: {reason}");
                *reasons.entry(why).or_default() += 1;
            }
            _ => {}
        }
    }
    for (path, reason) in unreadable {
        *reasons.entry(format!("failed: {path}: {reason}")).or_default() += 1;
    }
    let mut text = String::new();
    for (reason, count) in reasons.iter().take(REASONS) {
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        let _ = writeln!(text, "  {}{times}", in_one_line(reason));
    }
    if reasons.len() > REASONS {
        let _ = writeln!(text, "  and {} more reasons", reasons.len() - REASONS);
    }
    if outcomes.iter().any(|outcome| matches!(outcome, ImportOutcome::Waiting { .. })) {
        text.push_str("  hint: what waits is safe on disk; `codex-traced mlflow sync` sends it\n");
    }
    if outcomes.iter().any(|outcome| matches!(outcome, ImportOutcome::Unasked { .. })) {
        text.push_str("  hint: import again when the target answers; `--again` sends all in any case\n");
    }
    text
}
