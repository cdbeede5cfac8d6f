//! What an import prints in the end.

use super::outcome::{ImportOutcome, ImportedSession};
use super::select::Selection;
use crate::command::progress::FEW;
use crate::command::text_layout::prompt_line;
use crate::queue::target_state::TargetState;
use common::printable::in_one_line;
use mlflow_store::ids::TraceId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How many reasons are shown.
const REASONS: usize = 10;

/// The whole text, and whether every trace reached its target.
pub(super) fn render(outcomes: &[ImportOutcome], selection: &Selection, is_dry_run: bool) -> (String, bool) {
    let mut text = String::new();
    let sessions: Vec<&ImportedSession> = outcomes.iter().filter_map(session_of).collect();
    let failures: Vec<&String> = outcomes.iter().filter_map(failure_of).collect();
    let words = ["new", "updated", "unchanged", "waiting", "unknown"];
    let [new, updated, unchanged, waiting, unknown] =
        words.map(|word| sessions.iter().filter(|session| word_of(session) == word).count());
    let failed = failures.len() + selection.unreadable.len();
    if is_dry_run || outcomes.len() <= FEW {
        text.extend(sessions.iter().map(|session| line_of(session)));
    }
    let would = if is_dry_run { "would be " } else { "" };
    let _ = write!(text, "{would}{new} new, {updated} updated, {unchanged} unchanged, {failed} failed");
    for (count, word) in [(waiting, "waiting"), (unknown, "unknown")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text.push('\n');
    let done = sessions.iter().filter(|session| session.problem.is_none());
    let lost = done.clone().filter(|session| session.state == TargetState::Lost).count();
    if lost > 0 {
        let _ =
            writeln!(text, "  of the new, {lost} had been sent before, and their target has them no more");
    }
    let count = |wanted: &ImportOutcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    for (count, what) in [
        (selection.orphans, "of sub-agents whose session is not there"),
        (count(&ImportOutcome::Empty), "without a prompt"),
        (count(&ImportOutcome::Older), "that nothing was written to since then"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  left out: {count} {what}");
        }
    }
    let targets: BTreeSet<String> = done.map(|session| session.target.to_string()).collect();
    for target in targets {
        let _ = writeln!(text, "  in {}", in_one_line(&target));
    }
    let failures = failures.iter().map(|reason| format!("failed: {reason}"));
    let unread =
        selection.unreadable.iter().map(|(path, error)| format!("failed: {}: {error}", path.display()));
    text.push_str(&reasons(failures.chain(sessions.into_iter().filter_map(problem_of)).chain(unread)));
    if waiting > 0 {
        text.push_str("  hint: what waits is safe on disk; `codex-traced mlflow sync` sends it\n");
    }
    if unknown > 0 {
        text.push_str("  hint: import again when the target answers; `--again` sends all in any case\n");
    }
    let not_reached = count(&ImportOutcome::NotReached);
    if not_reached > 0 {
        let _ = writeln!(
            text,
            "  {not_reached} not reached before you stopped it; the same command goes on from here"
        );
    }
    (text, failed == 0 && waiting == 0 && unknown == 0)
}

fn session_of(outcome: &ImportOutcome) -> Option<&ImportedSession> {
    if let ImportOutcome::Made(session) = outcome { Some(session) } else { None }
}

fn failure_of(outcome: &ImportOutcome) -> Option<&String> {
    if let ImportOutcome::Failed(reason) = outcome { Some(reason) } else { None }
}

fn word_of(session: &ImportedSession) -> &'static str {
    match session.state {
        TargetState::Unasked => "unknown",
        _ if session.problem.is_some() => "waiting",
        TargetState::New | TargetState::Lost => "new",
        TargetState::Updated => "updated",
        TargetState::Unchanged => "unchanged",
    }
}

fn line_of(session: &ImportedSession) -> String {
    let prompt = prompt_line(session.prompt.as_deref().unwrap_or_default());
    // With a trace per turn, the first trace.
    let trace = session.traces.first().copied().unwrap_or(TraceId([0; 16]));
    format!("{:9} {trace}  {prompt}\n", word_of(session))
}

fn problem_of(session: &ImportedSession) -> Option<String> {
    let problem = session.problem.as_ref()?;
    Some(match session.state {
        TargetState::Unasked => {
            format!("unknown: sent before, but their target cannot be asked for them: {problem}")
        }
        _ => format!("waiting: {problem}"),
    })
}

/// Prints equal reasons once, with their count.
fn reasons(all: impl Iterator<Item = String>) -> String {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    all.for_each(|reason| *reasons.entry(reason).or_default() += 1);
    let mut text = String::new();
    for (reason, count) in reasons.iter().take(REASONS) {
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        let _ = writeln!(text, "  {}{times}", in_one_line(reason));
    }
    if reasons.len() > REASONS {
        let _ = writeln!(text, "  and {} more reasons", reasons.len() - REASONS);
    }
    text
}
