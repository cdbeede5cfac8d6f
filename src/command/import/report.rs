//! What an import prints: its progress, then its summary.

use super::select::Selection;
use super::work::{ImportOutcome, ImportedSession};
use crate::base::notice;
use crate::base::world::World;
use crate::command::text_layout::prompt_line;
use crate::queue::target_state::TargetState;
use common::printable::in_one_line;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// An import of at most this many sessions shows no progress, and lists them one by one.
const FEW: usize = 20;

/// How many reasons are shown.
const REASONS: usize = 10;

/// Lines of progress in a log.
const LINES: usize = 10;

/// The bar moves at this interval also during a long delivery.
const TICK: Duration = Duration::from_millis(100);

/// A bar on a terminal, or ten lines for a log.
pub(super) enum Progress {
    Silent,
    Bar(ProgressBar),
    Lines { done: Cell<usize>, of: usize },
}

impl Progress {
    pub(super) fn choose(world: &World, sessions: usize) -> Progress {
        if sessions <= FEW {
            return Progress::Silent;
        }
        if !world.stderr_is_terminal {
            return Progress::Lines { done: Cell::new(0), of: sessions };
        }
        let bar = ProgressBar::new(sessions as u64);
        let style =
            ProgressStyle::with_template("{bar:30} {pos} of {len} sessions, {elapsed} so far, {eta} to go");
        bar.set_style(style.expect("the template is one of ours"));
        bar.enable_steady_tick(TICK);
        Progress::Bar(bar)
    }

    pub(super) fn one_more(&self) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines { done, of } => {
                let before = done.replace(done.get() + 1);
                if is_logged(before, *of) {
                    notice::print(&format!("{} of {of} sessions", done.get()));
                }
            }
        }
    }

    /// Clears the bar before the summary is printed.
    pub(super) fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether the session after `before` completes a tenth of all.
fn is_logged(before: usize, of: usize) -> bool {
    before * LINES / of < (before + 1) * LINES / of
}

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
    format!("{:9} {}  {prompt}\n", word_of(session), session.trace)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_ten_lines_the_last_of_them_at_the_end() {
        for of in [21, 100, 1_000, 1_003] {
            let logged: Vec<usize> = (0..of).filter(|before| is_logged(*before, of)).collect();
            assert_eq!((logged.len(), logged.last()), (LINES, Some(&(of - 1))), "{of}");
        }
    }
}
