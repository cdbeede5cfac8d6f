//! Joins the files of one thread: a rewind continues in a new file, and leaves the old one unchanged.

use super::model::{Session, Step, Turn};
use super::usage::TokenUsage;

/// Joins the sessions of a thread's files, in the order in which Codex began the files. None for no file.
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
        for turn in &mut whole.turns {
            // A file's ordinals continue where its base ends, so they compare with those of all files before it.
            turn.is_taken_back |= turn.ordinal.is_some_and(|ordinal| ordinal >= base.end_ordinal_exclusive);
        }
    }
    whole.codex_total = total(whole, &part);
    let (inferences, compactions) = counts(&whole.turns);
    for step in part.turns.iter_mut().flat_map(|turn| &mut turn.steps) {
        match step {
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
    let mut total = whole.inherited;
    total += own(whole)?;
    total += own(part)?;
    Some(total)
}

fn counts(turns: &[Turn]) -> (u32, u32) {
    let steps = || turns.iter().flat_map(|turn| &turn.steps);
    let inferences = steps().filter(|step| matches!(step, Step::Inference(_))).count();
    let compactions = steps().filter(|step| matches!(step, Step::Compaction(_))).count();
    (u32::try_from(inferences).unwrap_or(u32::MAX), u32::try_from(compactions).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::model::{Compaction, Inference};
    use super::*;
    use crate::rollout::session_meta::HistoryBase;

    fn usage(input: u64) -> TokenUsage {
        TokenUsage { input, ..TokenUsage::default() }
    }

    /// A turn of one response and one compaction for each of these ordinals.
    fn part(base: Option<u64>, ordinals: &[u64], inherited: u64) -> Session {
        let turn = |(number, ordinal): (u32, &u64)| Turn {
            ordinal: Some(*ordinal),
            steps: vec![
                Step::Inference(Inference { number, usage: Some(usage(10)), ..Inference::default() }),
                Step::Compaction(Compaction { number, ..Compaction::default() }),
            ],
            ..Turn::default()
        };
        let mut session = Session { turns: (1..).zip(ordinals).map(turn).collect(), ..Session::default() };
        session.meta.history_base =
            base.map(|end_ordinal_exclusive| HistoryBase { thread_id: "t".into(), end_ordinal_exclusive });
        session.inherited = usage(inherited);
        session.codex_total = Some(usage(inherited + 10 * ordinals.len() as u64));
        session
    }

    fn taken_back(session: &Session) -> Vec<bool> {
        session.turns.iter().map(|turn| turn.is_taken_back).collect()
    }

    #[test]
    fn a_rewind_takes_back_what_its_base_does_not_hold() {
        let whole = join(vec![part(None, &[1, 19], 0), part(Some(19), &[22], 10)]).unwrap();
        assert_eq!(taken_back(&whole), [false, true, false]);
        assert_eq!((whole.codex_total, whole.tokens_reconcile()), (Some(usage(30)), Some(true)));

        let twice = [part(None, &[1, 19], 0), part(Some(19), &[22], 10), part(Some(19), &[20, 30], 10)];
        assert_eq!(taken_back(&join(twice.into()).unwrap()), [false, true, true, false, false]);
        let chain = [part(None, &[1, 19], 0), part(Some(19), &[22, 30], 10), part(Some(30), &[31], 20)];
        assert_eq!(taken_back(&join(chain.into()).unwrap()), [false, true, false, true, false]);
    }

    #[test]
    fn numbers_go_on_from_file_to_file() {
        let whole = join(vec![part(None, &[1, 19], 0), part(Some(19), &[22], 10)]).unwrap();
        let numbers = whole.inferences().map(|inference| inference.number);
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(counts(&whole.turns), (3, 3));
    }

    #[test]
    fn tokens_of_a_file_without_a_count_are_not_taken_for_counted() {
        let mut silent = part(Some(19), &[22], 10);
        silent.codex_total = None;
        assert_eq!(join(vec![part(None, &[1], 0), silent.clone()]).unwrap().tokens_reconcile(), None);
        silent.turns.clear();
        assert_eq!(join(vec![part(None, &[1], 0), silent]).unwrap().tokens_reconcile(), Some(true));
        assert_eq!(join(Vec::new()), None);
    }
}
