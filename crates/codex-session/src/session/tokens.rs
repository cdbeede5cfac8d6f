//! Codex's own count of a thread's tokens, what each line with a count adds to it, and whether the responses add up to
//! it.
//!
//! Up to 0.15x Codex repeats a count with the next request, and up to 0.7x a resumed session counts from zero. A
//! fork's count begins with its parent's. Since 0.155 a record holds each response's usage, and the count follows.
//! Where Codex resumes an older file, the records' own total begins at zero and the count continues.

use super::model::Session;
use crate::rollout::usage::TokenUsage;

#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    counts: Counter,
    records: Counter,
    /// Of the last record; the next count repeats it.
    recorded: Option<TokenUsage>,
}

#[derive(Clone, Debug, Default)]
struct Counter {
    now: Option<TokenUsage>,
    /// What earlier counters held before they restarted.
    before: TokenUsage,
    /// What the first count held before this thread's first response.
    inherited: TokenUsage,
}

/// Whether a first count may hold tokens that are not of this file's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It comes with the thread's first response, or a parent is known: the rest is inherited.
    MayInherit,
    /// There were responses before it, of unknown usage.
    IsOwn,
}

impl Tokens {
    /// A record has a response's usage, and perhaps the thread's. Returns the former; where it cannot be read, what
    /// the thread's total adds to the one before.
    pub(super) fn record(
        &mut self,
        usage: Option<TokenUsage>,
        total: Option<TokenUsage>,
        first: First,
    ) -> Option<TokenUsage> {
        let is_first = self.records.now.is_none();
        let added = total.and_then(|total| self.records.advance(total, usage, first));
        self.recorded = usage.or(added.filter(|_| !is_first));
        self.recorded
    }

    /// The usage that a count has and no earlier line had. `last` is the usage of the response just over, which Codex
    /// writes with the count.
    pub(super) fn count(
        &mut self,
        total: TokenUsage,
        last: Option<TokenUsage>,
        first: First,
    ) -> Option<TokenUsage> {
        let added = self.counts.advance(total, last, first)?;
        Some(added).filter(|added| self.recorded.take() != Some(*added))
    }

    /// A count in history that was copied from another thread: none of it is this thread's.
    pub(super) fn copy(&mut self, total: TokenUsage) {
        self.counts.copy(total);
    }

    /// Codex's total for the thread, across restarted counters; None when Codex recorded none.
    pub(super) fn total(&self) -> Option<TokenUsage> {
        let total = match (self.counts.now, self.records.now) {
            (Some(_), _) => self.counts.total() + self.recorded.unwrap_or_default(),
            (None, Some(_)) => self.records.total(),
            (None, None) => return None,
        };
        // An overflowing context is counted as no token at all.
        nonzero(total)
    }

    pub(super) fn inherited(&self) -> TokenUsage {
        if self.counts.now.is_some() { self.counts.inherited } else { self.records.inherited }
    }
}

impl Counter {
    /// What a count adds to the one before; None when it adds nothing.
    fn advance(&mut self, total: TokenUsage, last: Option<TokenUsage>, first: First) -> Option<TokenUsage> {
        // With the count of a response that was cut off, Codex writes zeros (0.169).
        let last = last.and_then(nonzero);
        let Some(now) = self.now.replace(total) else {
            let before = last.and_then(|last| total.minus(last)).unwrap_or_default();
            if first == First::MayInherit {
                self.inherited = before;
            }
            return nonzero(last.unwrap_or(total));
        };
        if now == total {
            return None;
        }
        let is_restarted = last == Some(total) && now != TokenUsage::default();
        match total.minus(now).filter(|_| !is_restarted) {
            Some(added) => nonzero(last.unwrap_or(added)),
            None => {
                self.before = self.before + now;
                nonzero(last.unwrap_or(total))
            }
        }
    }

    fn copy(&mut self, total: TokenUsage) {
        *self = Counter { now: Some(total), before: TokenUsage::default(), inherited: total };
    }

    fn total(&self) -> TokenUsage {
        self.before + self.now.unwrap_or_default()
    }
}

/// Where a context overflows, Codex sets its count to figures that are no response's (0.58 to 0.14x).
fn nonzero(usage: TokenUsage) -> Option<TokenUsage> {
    Some(usage).filter(|usage| usage.total() > 0)
}

/// Why the tokens of a session's responses are not the total that Codex counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// Lines of the file are damaged.
    LinesLost,
    /// Codex counted responses whose usage is in no line.
    ResponsesUncounted,
    /// A number that Codex recorded is no count of tokens.
    CountUnreadable,
    /// Codex counted fewer tokens than the responses have.
    CountFellShort,
}

impl Discrepancy {
    pub fn as_str(self) -> &'static str {
        match self {
            Discrepancy::LinesLost => "lines_lost",
            Discrepancy::ResponsesUncounted => "responses_untold",
            Discrepancy::CountUnreadable => "count_unreadable",
            Discrepancy::CountFellShort => "count_fell_short",
        }
    }
}

impl Session {
    /// Why the sum of the responses is not Codex's total; None where it is, and where Codex recorded no total.
    pub fn discrepancy(&self) -> Option<Discrepancy> {
        if self.tokens_reconcile() != Some(false) {
            return None;
        }
        let own = self.codex_total.and_then(|total| total.minus(self.inherited)).unwrap_or_default();
        Some(match () {
            () if self.bad_lines > 0 => Discrepancy::LinesLost,
            () if self.is_a_count_unread() => Discrepancy::CountUnreadable,
            () if own.total() > self.usage().unwrap_or_default().total() => Discrepancy::ResponsesUncounted,
            () => Discrepancy::CountFellShort,
        })
    }

    /// A sum with an unreadable count cannot be checked.
    fn is_a_count_unread(&self) -> bool {
        self.is_total_unread || self.inferences().any(|it| it.is_usage_unread && it.usage.is_none())
    }

    /// Whether the sum of the responses is Codex's total; None where Codex recorded no total.
    pub fn tokens_reconcile(&self) -> Option<bool> {
        if self.is_a_count_unread() {
            return Some(false);
        }
        let own = self.codex_total?.minus(self.inherited);
        Some(own == Some(self.usage().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64) -> TokenUsage {
        TokenUsage { input, ..TokenUsage::default() }
    }

    /// A name; counts as (total, last), the first of which may be inherited from; what each adds; and what is the
    /// thread's own in the end.
    type CountCase<'a> = (&'a str, &'a [(u64, Option<u64>)], &'a [Option<u64>], u64);

    #[test]
    fn a_count_adds_what_is_new_in_it_and_nothing_twice() {
        let table: [CountCase; 9] = [
            ("cut off", &[(10, Some(0)), (15, Some(0))], &[Some(10), Some(5)], 15),
            ("plain", &[(10, Some(10)), (15, Some(5))], &[Some(10), Some(5)], 15),
            ("repeated", &[(10, Some(10)), (10, Some(10)), (15, Some(5))], &[Some(10), None, Some(5)], 15),
            ("without a usage", &[(10, None), (15, None)], &[Some(10), Some(5)], 15),
            ("from zero", &[(10, Some(10)), (15, Some(5)), (7, Some(7))], &[Some(10), Some(5), Some(7)], 22),
            ("from zero and beyond", &[(10, Some(10)), (30, Some(30))], &[Some(10), Some(30)], 40),
            ("a fork", &[(110, Some(10)), (115, Some(5))], &[Some(10), Some(5)], 15),
            ("more than the last usage", &[(10, Some(10)), (25, Some(5))], &[Some(10), Some(5)], 25),
            ("an overflow", &[(10, Some(10)), (0, Some(0)), (7, Some(7))], &[Some(10), None, Some(7)], 17),
        ];
        for (name, counts, added, own) in table {
            let mut counter = Counter::default();
            let results: Vec<Option<u64>> = counts
                .iter()
                .map(|(total, last)| counter.advance(tokens(*total), last.map(tokens), First::MayInherit))
                .map(|added| added.map(|usage| usage.input))
                .collect();
            assert_eq!(results, added, "{name}");
            assert_eq!(counter.total().minus(counter.inherited), Some(tokens(own)), "{name}");
        }
    }

    #[test]
    fn copied_counts_add_nothing_whether_the_counter_continues_or_restarts() {
        for (total, last) in [(110, 10), (10, 10)] {
            let mut counter = Counter::default();
            counter.copy(tokens(40));
            counter.copy(tokens(100));
            assert_eq!(counter.advance(tokens(total), Some(tokens(last)), First::IsOwn), Some(tokens(10)));
            assert_eq!(counter.total().minus(counter.inherited), Some(tokens(10)));
        }
    }

    #[test]
    fn a_record_and_the_count_after_it_are_one_usage_for_all_starts_of_their_totals() {
        for (counted, recorded) in [(0, 0), (25, 0), (25, 25)] {
            let mut thread = Tokens::default();
            if counted > 0 {
                assert_eq!(
                    thread.count(tokens(counted), Some(tokens(counted)), First::MayInherit),
                    Some(tokens(counted))
                );
            }
            for usage in [10, 10] {
                let so_far = thread.total().map_or(0, |total| total.input) - counted;
                let total = |from: u64| tokens(from + so_far + usage);
                thread.record(Some(tokens(usage)), Some(total(recorded)), First::MayInherit);
                assert_eq!(thread.total(), Some(total(counted)));
                assert_eq!(thread.count(total(counted), Some(tokens(usage)), First::MayInherit), None);
                assert_eq!(thread.total(), Some(total(counted)));
            }
            assert_eq!(thread.inherited(), TokenUsage::default());
        }
    }
}
